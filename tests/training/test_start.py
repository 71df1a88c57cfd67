"""The run to begin with: its features must fit the index, its classes may be others."""

import dataclasses
import re
import shutil

import numpy as np
import pytest
from fixtures.made_runs import ALL, AVERAGE, NETVLAD, make_index, make_run
from fixtures.support import SMALL, name_classes

from pipeline.artifacts.models import digest_model
from pipeline.artifacts.places import Places
from pipeline.config import FeatureConfig
from pipeline.config.errors import StageError
from pipeline.inputs.index import Index
from pipeline.models import build_model, load_model
from pipeline.training.start import Start

OTHER = dataclasses.replace(SMALL, name="other")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run of the dataset `small`, and its index."""
    folder = tmp_path_factory.mktemp("made")
    make_index(folder / "data" / "small" / "index", SMALL)
    make_run(folder / "runs" / "small" / "average", AVERAGE, ALL, SMALL, 0)
    return folder


def start_of(folder, index: Index, known: str | None = None) -> Start:
    places = Places(folder / "data", folder / "runs")
    return Start(places, "small", "average", folder / "runs" / "other" / "new", index, known)


@pytest.mark.parametrize(
    ("dataset", "theirs", "ours", "taken"),
    [
        (SMALL, None, None, True),
        (dataclasses.replace(SMALL, num_classes=12), None, None, False),
        (OTHER, None, None, False),
        (OTHER, "abcdefghi", None, False),
        (OTHER, "abcdefghi", "abcdefghi", True),
        (OTHER, "abcdefghi", "bacdefghi", False),
    ],
    ids=["one dataset", "more classes", "nothing known", "half known", "equal names", "another order"],
)
def test_a_head_is_taken_where_the_classes_are_the_same(made, tmp_path, capsys, dataset, theirs, ours, taken):
    shutil.copytree(made, tmp_path / "made")
    folder = tmp_path / "made"
    name_classes(folder / "data" / "small" / "index", list(theirs) if theirs else None)
    index = make_index(tmp_path / "index", dataset)
    name_classes(tmp_path / "index", list(ours) if ours else None)
    start = start_of(folder, Index.open(index.folder))
    assert start.digest == digest_model(folder / "runs" / "small" / "average" / "model.keras")
    model = build_model(AVERAGE, dataset)
    start.give_to(model)
    told = capsys.readouterr().out
    assert ("not head" not in told) is taken
    source = load_model(folder / "runs" / "small" / "average" / "model.keras")
    same = [
        np.array_equal(model.get_layer("head").get_weights()[0], source.get_layer("head").get_weights()[0]),
        np.array_equal(model.get_layer("hidden").get_weights()[0], source.get_layer("hidden").get_weights()[0]),
    ]
    assert same == [taken, True]


def test_features_may_have_other_names_and_no_other_sizes(made, tmp_path, capsys):
    features = [dataclasses.replace(feature, name=f"my {feature.name}") for feature in SMALL.features]
    index = Index.open(made / "data" / "small" / "index")
    index.dataset = dataclasses.replace(OTHER, features=tuple(features))
    model = build_model(AVERAGE, index.dataset)
    start_of(made, index).give_to(model)
    assert "feature_0_norm 6 6, feature_1_norm 2 2, hidden" in capsys.readouterr().out
    for other in ((FeatureConfig("rgb", 7), SMALL.features[1]), SMALL.features[:1], SMALL.features[::-1]):
        index.dataset = dataclasses.replace(OTHER, features=other)
        with pytest.raises(StageError, match=r"trained on rgb of 6 values, audio of 2 values, and .*index has "):
            start_of(made, index)


def test_weights_of_features_that_were_made_otherwise_are_not_taken(made):
    index = Index.open(made / "data" / "small" / "index")
    one, other = (
        (dataclasses.replace(SMALL.features[0], made_by=f'{{"name": "{name}"}}'), SMALL.features[1]) for name in "ab"
    )
    make_run(made / "runs" / "small" / "recipe", AVERAGE, ALL, dataclasses.replace(SMALL, features=one), 0)

    def start(features) -> Start:
        index.dataset = dataclasses.replace(SMALL, features=features)
        return Start(Places(made / "data", made / "runs"), "small", "recipe", made / "new", index, None)

    start(one)
    start(SMALL.features)
    with pytest.raises(StageError, match=r'trained on rgb of 6 values made by \{"name": "a"\}'):
        start(other)


def test_names_that_changed_places_are_not_taken_for_each_other(made):
    """Though their sizes are equal: the weights of one would get the values of the other."""
    one, other = (FeatureConfig(name, 6) for name in ("rgb", "flow"))
    make_run(made / "runs" / "small" / "two", AVERAGE, ALL, dataclasses.replace(SMALL, features=(one, other)), 0)
    index = Index.open(made / "data" / "small" / "index")
    index.dataset = dataclasses.replace(SMALL, features=(other, one))
    with pytest.raises(
        StageError, match=r"trained on rgb of 6 values, flow .* has flow of 6 values, rgb of 6 values; "
    ):
        Start(Places(made / "data", made / "runs"), "small", "two", made / "new", index, None)


def test_a_run_of_which_no_layer_fits_is_refused_with_what_is_there(made):
    """Floats are normalized by another layer than bytes."""
    features = tuple(dataclasses.replace(feature, dtype="float16") for feature in SMALL.features)
    index = Index.open(made / "data" / "small" / "index")
    index.dataset = dataclasses.replace(OTHER, features=features)
    start = start_of(made, index)
    with pytest.raises(
        StageError, match=r"no layer of .*average fits this model: rgb_norm 6 6 6: its kind is FrameNorm"
    ):
        start.give_to(build_model(NETVLAD, index.dataset))


def test_a_run_that_is_gone_is_asked_for_only_where_nothing_is_trained(made, tmp_path):
    index = Index.open(made / "data" / "small" / "index")
    with pytest.raises(StageError, match="average is not a run"):
        start_of(tmp_path, index)
    start = start_of(tmp_path, index, "1234")
    assert start.digest == "1234"
    with pytest.raises(StageError, match=re.escape("--from average: the run is gone, and nothing is trained yet")):
        start.give_to(build_model(AVERAGE, SMALL))
