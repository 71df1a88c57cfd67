"""Trained runs on disk: those that a blend uses, wherever they were moved, and what is no ensemble."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from fixtures.made_runs import ALL, AVERAGE, RUNS, make_run, weights_json
from fixtures.support import SMALL

from pipeline.artifacts.files import write_json
from pipeline.artifacts.models import digest_model
from pipeline.config import DatasetConfig, FeatureConfig
from pipeline.config.errors import StageError
from pipeline.inference.runs import TrainedRun, check_run_fits_index, read_blend


@pytest.fixture(scope="module")
def blend(tmp_path_factory) -> Path:
    """The folder of an ensemble of two runs."""
    root = tmp_path_factory.mktemp("runs")
    for seed, (name, (model, sampling)) in enumerate(RUNS.items()):
        make_run(root / "runs" / "small" / name, model, sampling, SMALL, seed)
    write_json(root / "runs" / "small" / "ensemble" / "weights.json", weights_json(root))
    return root / "runs" / "small" / "ensemble"


def test_a_run_is_what_its_config_says(blend):
    run = TrainedRun.read(blend.parent / "netvlad")
    assert (run.model, run.sampling, run.dataset) == (*RUNS["netvlad"], SMALL)
    assert run.precision == "mixed_bfloat16" and run.digest == digest_model(run.models[0])
    (blend.parent / "unfinished").mkdir()
    with pytest.raises(StageError, match="not trained to its end"):
        TrainedRun.read(blend.parent / "unfinished")


def test_a_blend_and_a_run_that_is_a_blend_of_one(blend):
    recipe, runs = read_blend(blend, 5)
    assert [run.folder.name for run in runs] == [member.run for member in recipe.used] == list(RUNS)
    assert recipe.top_k == 9
    recipe, runs = read_blend(blend.parent / "average", 5)
    assert [run.folder.name for run in runs] == ["average"] and recipe.top_k == 5


def test_moved_runs_are_found_beside_their_blend(blend):
    values = weights_json(Path("/elsewhere"))
    write_json(blend.parent / "other" / "weights.json", values)
    assert [run.folder.name for run in read_blend(blend.parent / "other", 9)[1]] == list(RUNS)
    values["members"][0]["run"] = "gone"
    write_json(blend.parent / "other" / "weights.json", values)
    with pytest.raises(StageError, match="uses the run gone, which is neither at /elsewhere"):
        read_blend(blend.parent / "other", 9)


def test_runs_of_different_datasets_are_no_committee(blend, tmp_path):
    values = weights_json(blend.parent.parent.parent)
    other = make_run(tmp_path / "other", AVERAGE, ALL, replace(SMALL, num_classes=8), 3)
    values["members"][0]["path"] = str(other)
    write_json(tmp_path / "ensemble" / "weights.json", values)
    with pytest.raises(StageError, match=r"rgb 6 uint8, audio 2 uint8; 9 classes; .* 8 classes; up to 12 frames"):
        read_blend(tmp_path / "ensemble", 9)


def test_a_model_takes_the_same_values_from_under_another_key(tmp_path):
    dataset = DatasetConfig("clips", (FeatureConfig("audio", 4, source="audio_embedding"),), num_classes=3)
    index = SimpleNamespace(dataset=replace(dataset, features=(FeatureConfig("audio", 4),)), folder=tmp_path)
    check_run_fits_index(dataset, tmp_path, index)
    index.dataset = replace(dataset, features=(FeatureConfig("audio", 4, maximum=3.0),))
    with pytest.raises(StageError, match=r"trained on audio 4 uint8; .* has audio 4 uint8 from -2 to 3;"):
        check_run_fits_index(dataset, tmp_path, index)
