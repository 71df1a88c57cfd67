"""Bundles written from runs and loaded again: what they predict, and what a stranger's may not do."""

import json
import pickle
import zipfile
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from fixtures.made_runs import ALL, AVERAGE, NETVLAD, RUNS, make_run, weights_json
from fixtures.support import SMALL

from pipeline.artifacts.done import Done
from pipeline.artifacts.files import write_json
from pipeline.artifacts.models import digest_model
from pipeline.config import (
    POOLING,
    ClassifierConfig,
    DatasetConfig,
    FeatureConfig,
    InferenceConfig,
    ModelConfig,
    SecondOrderConfig,
    ThresholdConfig,
    to_dict,
)
from pipeline.config.errors import StageError
from pipeline.inference.bundle import writing
from pipeline.inference.bundle.container import BundleError
from pipeline.inference.bundle.header import read_header
from pipeline.inference.bundle.ingredients import Ingredients
from pipeline.inference.bundle.loading import load_bundle
from pipeline.inference.predictor import Predictor
from pipeline.inference.runs import read_blend
from pipeline.inference.thresholds import Thresholds
from pipeline.metrics import global_average_precision
from pipeline.models import FAMILIES, load_model
from pipeline.presets import audioset

NAMES = ["Katze", "猫", "кошка", "قطة", "🐈", "chat, noir", 'the "cat"', "c", "d"]


def frames(videos: int, dataset: DatasetConfig = SMALL, length: int = 7):
    rng = np.random.default_rng(5)
    values = rng.integers(0, 256, (videos, length, dataset.width), dtype=np.uint8)
    return {"frames": values, "num_frames": rng.integers(1, length + 1, videos, dtype=np.int32)}


@pytest.fixture(scope="module")
def blend(tmp_path_factory) -> Path:
    """The folder of an ensemble of two runs."""
    root = tmp_path_factory.mktemp("runs")
    for seed, (name, (model, sampling)) in enumerate(RUNS.items()):
        make_run(root / "runs" / "small" / name, model, sampling, SMALL, seed)
    folder = root / "runs" / "small" / "ensemble"
    write_json(folder / "weights.json", weights_json(root))
    return folder


def export(path: Path, folder: Path, weights="float32", names=NAMES, inputs=None, **more) -> Path:
    recipe, runs = read_blend(folder, 9)
    made_of = Ingredients(recipe, runs, names, weights, InferenceConfig(top_k=9), inputs or {"a": "1"}, **more)
    writing.write_bundle(path, made_of)
    return path


@pytest.fixture(scope="module")
def bundle(blend, tmp_path_factory) -> Path:
    return export(tmp_path_factory.mktemp("bundles") / "bundle.zip", blend, "int8")


def changed(source: Path, target: Path, change) -> Path:
    """A bundle whose entries, name -> content, went through `change`; the header is given as JSON values."""
    with zipfile.ZipFile(source) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    entries["bundle.json"] = json.loads(entries["bundle.json"])
    change(entries)
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, json.dumps(content) if name == "bundle.json" else content)
    return target


def test_a_float32_bundle_predicts_what_its_runs_do(blend, tmp_path):
    ensemble = load_bundle(export(tmp_path / "a", blend))
    assert ensemble.class_names == tuple(NAMES)
    assert ensemble.member_top_k == 9
    assert [member.run for member in ensemble.recipe.used] == list(RUNS)
    for ((model,), sampling), (name, (_, wanted)) in zip(ensemble.members, RUNS.items()):
        stored = load_model(blend.parent / name / "model.keras")
        np.testing.assert_array_equal(model.predict_on_batch(frames(5)), stored.predict_on_batch(frames(5)))
        assert sampling == wanted


def test_the_same_runs_give_the_same_bytes_and_tell_no_paths(blend, tmp_path):
    first, second = export(tmp_path / "a", blend).read_bytes(), export(tmp_path / "b", blend).read_bytes()
    assert first == second
    assert str(blend.parent).encode() not in first


def test_thresholds_come_out_as_they_went_in_and_fit_the_classes(blend, tmp_path):
    thresholds = Thresholds(ThresholdConfig("precision", 0.9), (0.5, 2.0, *(float(np.float32(0.1)),) * 7))
    assert read_header(export(tmp_path / "a", blend, thresholds=thresholds)).thresholds == thresholds
    assert read_header(export(tmp_path / "b", blend)).thresholds is None
    for values, message in (
        ([0.5] * 8, "it has 8 thresholds for 9 classes"),
        ([0.5] * 8 + [3], "thresholds must be numbers from 0 to 2"),
        ("0.5", "does not say what the bundle holds"),
        ([None] * 9, "does not say what the bundle holds"),
    ):

        def change(entries, values=values):
            entries["bundle.json"]["thresholds"]["by_class"] = values

        with pytest.raises(BundleError, match=message):
            read_header(changed(tmp_path / "a", tmp_path / "c", change))


def test_a_run_alone_is_a_blend_of_one(blend, tmp_path):
    ensemble = load_bundle(export(tmp_path / "a", blend.parent / "netvlad"))
    (best,) = Predictor(ensemble, 256).predict([(5, frames(5))])
    probabilities = load_model(blend.parent / "netvlad" / "model.keras").predict_on_batch(frames(5))
    order = np.argsort(-probabilities, axis=1, kind="stable")
    np.testing.assert_array_equal(best[0], order)
    np.testing.assert_array_equal(best[1], np.take_along_axis(probabilities, order, axis=1))


@pytest.mark.long
def test_every_family_comes_out_as_it_went_in(tmp_path):
    for family in FAMILIES:
        experiment = audioset.experiment(family)
        folder = make_run(tmp_path / family, experiment.model, ALL, experiment.dataset, 1)
        names = ["x"] * experiment.dataset.num_classes
        ensemble = load_bundle(export(tmp_path / f"{family}.zip", folder, names=names))
        for there, here in zip(load_model(folder / "model.keras").weights, ensemble.members[0].models[0].weights):
            np.testing.assert_array_equal(there, here)


@pytest.mark.parametrize("weights", ["float16", "int8"])
def test_coarse_weights_cost_little_gap(tmp_path, weights):
    """Labels are drawn from the model's own probabilities: it is as good as a model of them can be."""
    dataset = DatasetConfig("larger", (FeatureConfig("rgb", 64),), num_classes=40, max_frames=12)
    model = replace(NETVLAD, classifier=ClassifierConfig(hidden=64, gating="squeeze_excite"))
    folder = make_run(tmp_path / "run", model, ALL, dataset, 2)
    inputs = frames(2000, dataset)
    before = load_model(folder / "model.keras").predict_on_batch(inputs)
    path = export(tmp_path / weights, folder, weights, [f"class {n}" for n in range(40)])
    after = load_bundle(path).members[0].models[0].predict_on_batch(inputs)
    labels = np.random.default_rng(0).random(before.shape) < before**3
    lost = global_average_precision(before, labels) - global_average_precision(after, labels)
    assert np.abs(after - before).max() > 1e-5, "nothing was rounded"
    assert abs(lost) <= 0.002
    assert path.stat().st_size < {"float16": 0.6, "int8": 0.4}[weights] * (folder / "model.keras").stat().st_size


def test_weights_that_are_not_those_of_the_config_are_not_bundled(tmp_path):
    folder = make_run(tmp_path / "run", AVERAGE, ALL, SMALL, 0)
    config = json.loads((folder / "config.json").read_text())
    config["model"]["classifier"]["hidden"] = 127
    write_json(folder / "config.json", config)
    with pytest.raises(StageError, match=r"model.keras is not of the model in its config"):
        export(tmp_path / "a", folder)


def test_damaged_weights_are_not_bundled(tmp_path):
    folder = make_run(tmp_path / "run", AVERAGE, ALL, SMALL, 0)
    model = load_model(folder / "model.keras")
    model.weights[0].assign(np.full(model.weights[0].shape, np.nan))
    model.save(folder / "model.keras")
    replace(Done.read(folder), output=digest_model(folder / "model.keras")).write(folder)
    with pytest.raises(StageError, match="not finite"):
        export(tmp_path / "a", folder)


# ------------------------------------------------------------------------------------------------------- from strangers


def put(*path_and_value):
    *path, last, value = path_and_value

    def change(entries):
        place = entries["bundle.json"]
        for key in path:
            place = place[key]
        place[last] = value

    return change


def drop(*path):
    def change(entries):
        place = entries["bundle.json"]
        for key in path[:-1]:
            place = place[key]
        del place[path[-1]]

    return change


def many_features(entries) -> None:
    feature = entries["bundle.json"]["dataset"]["features"][0]
    entries["bundle.json"]["dataset"]["features"] = [{**feature, "name": f"f{number}"} for number in range(300)]


def long_and_wide(entries) -> None:
    dataset = entries["bundle.json"]["dataset"]
    dataset["features"], dataset["max_frames"] = [dataset["features"][0] | {"size": 1 << 20}], 1 << 20


def of_long_videos(family: str, **pooling):
    """A model that sees 2^20 frames of a video, and may make many more of them with few weights."""

    def change(entries) -> None:
        stored = entries["bundle.json"]["models"][1]
        settings = to_dict(POOLING[family]()) | pooling
        stored["model"] |= {"family": family, "pooling": settings}
        stored["sampling"] |= {"evaluation": "uniform", "frames": 1 << 20}

    return change


def two_samplings_of_one_member(entries) -> None:
    put("recipe", "members", 0, "weight", 0.0)(entries)
    put("folds", [2])(entries)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (put("format", 2), "not of format 1"),
        (put("command", "rm -rf /"), "command"),
        (put("models", 0, "model", "lambda", "x"), "lambda"),
        (put("models", 0, "model", "classifier", "initializer", "x"), "initializer"),
        (put("models", 0, "model", "family", "os:system"), "unknown pooling family 'os:system'"),
        (put("models", 0, "model", "classifier", "hidden", 1 << 40), "classifier.hidden must be from 0 to 1,048,576"),
        (put("models", 0, "model", "classifier", "hidden", -5), "classifier.hidden must be from 0 to 1,048,576"),
        (put("models", 0, "precision", "float8"), "precision"),
        (put("models", 0, "encodings", 3, "pickle"), "encodings"),
        (put("dataset", "num_classes", 1 << 20), "dataset.num-classes must be from 1 to 100,000 classes, not 1048576"),
        (put("dataset", "max_frames", 1 << 30), "dataset.max-frames must be from 1 to 1,048,576 frames"),
        (put("dataset", "max_frames", 1 << 24), "dataset.max-frames must be from 1 to 1,048,576 frames"),
        (long_and_wide, "a video has up to 1,0.* values; the most is 33,554,432"),
        (put("models", 0, "sampling", {"evaluation": "uniform", "frames": 1 << 24}), "sampling.frames must be from 1"),
        (put("models", 0, "sampling", "frames", 10**400), "64 bits"),
        (put("recipe", "members", 0, "weight", float("nan")), "NaN is not valid JSON"),
        (many_features, "300 features; the most is 256"),
        (put("dataset", "features", 0, "size", 0), "dataset.features.size must be from 1"),
        (put("dataset", "features", []), "dataset.features must be a tuple of 1 or more values"),
        (put("names", 2, "\x1b]0;owned\x07"), "unprintable"),
        (put("names", ["a"]), "1 name for 9 classes"),
        (put("kept", 0), "0 labels"),
        (put("recipe", "members", 0, "weight", -1.0), "not negative"),
        (put("recipe", "members", 0, "weight", 0.0), "2 models for a recipe of 1"),
        (put("folds", [2]), "1 member for a recipe of 2"),
        (put("folds", [2, 1]), "2 models for members of 2, 1"),
        (put("folds", [3, -1]), "2 models for members of 3, -1"),
        (put("folds", ["1", None]), "folds"),
        (two_samplings_of_one_member, "the models of one member are shown different frames"),
        (put("recipe", "combine", "eval"), "combine"),
        (drop("names"), "names"),
        (drop("models", 0, "model", "pooling"), "does not say"),
        (put("models", 7), "does not say"),
        (put("models", [None]), "does not say"),
        (lambda entries: entries.pop("weights/0001.bin"), "weights/0001.bin is missing"),
        (lambda entries: entries.update({"weights/0002.bin": b""}), "belongs to no member"),
        (lambda entries: entries.update({"bundle.json": [1]}), "not of format"),
    ],
)
def test_a_header_that_is_not_as_it_should_be(bundle, tmp_path, change, match):
    path = changed(bundle, tmp_path / "bad", change)
    for opener in (read_header, load_bundle):
        with pytest.raises(BundleError, match=match) as error:
            opener(path)
        assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (put("models", 0, "model", "classifier", "hidden", 127), "bytes where its model's weights take"),
        (put("models", 0, "model", "classifier", "hidden", 1 << 20), "a larger model than it holds"),
        (put("models", 1, "model", "pooling", "clusters", [1 << 20]), "a larger model than it holds"),
        (put("models", 0, "model", "classifier", "head_hidden", [1] * 100_000), "a larger model than it holds"),
        (put("models", 0, "model", "classifier", "descriptor_batch_norm", True), "a larger model than it holds"),
        (put("models", 0, "model", "classifier", "gating", "none"), "weights, its model"),
        (put("models", 1, "model", "pooling", "clusters", [8, 8, 8]), "3 values for 2 features"),
        (put("models", 0, "encodings", 0, "int8"), "no channels"),
        (of_long_videos("netvlad", clusters=[1 << 12]), "netvlad makes up to 4,294,967,296 values of each video"),
        (of_long_videos("attention_enhanced_netvlad", heads=[4]), "makes up to 4,398,046,511,104 values of each"),
        (put("models", 0, "encodings", 0, "float16"), "bytes where"),
    ],
)
def test_settings_of_another_model_than_the_weights(bundle, tmp_path, change, match):
    original = keras.layers.Layer.add_weight
    with pytest.raises(BundleError, match=match):
        load_bundle(changed(bundle, tmp_path / "bad", change))
    assert keras.layers.Layer.add_weight is original


def test_a_large_matrix_is_not_laid_out_for_a_model_that_is_refused(tmp_path):
    model = ModelConfig("second_order", SecondOrderConfig((2,), (3,)), ClassifierConfig(hidden=4))
    bundle = export(tmp_path / "bundle.zip", make_run(tmp_path / "run", model, ALL, SMALL, 0))
    path = changed(bundle, tmp_path / "bad", put("models", 0, "model", "pooling", "projection", [1 << 20]))
    with pytest.raises(BundleError, match="a larger model than it holds"):
        load_bundle(path)


class Opened:
    """A pickle of it makes a file where it is opened."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_pickles_are_never_opened(bundle, tmp_path):
    content = pickle.dumps(Opened(tmp_path / "owned"))

    def change(entries):
        entries["weights/0000.bin"] = content.ljust(len(entries["weights/0000.bin"]), b"\0")

    try:
        load_bundle(changed(bundle, tmp_path / "bad", change))
    except BundleError as error:
        assert "not finite" in str(error)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite(bundle, tmp_path, value):
    def change(entries):
        weights = entries["weights/0000.bin"]
        entries["weights/0000.bin"] = np.float32(value).tobytes() + weights[4:]

    with pytest.raises(BundleError, match="not finite"):
        load_bundle(changed(bundle, tmp_path / "bad", change))


def test_a_weight_that_was_altered_on_the_way(bundle, tmp_path):
    content = bytearray(bundle.read_bytes())
    content[200] ^= 1
    (tmp_path / "bad").write_bytes(content)
    with pytest.raises(BundleError, match="CRC"):
        load_bundle(tmp_path / "bad")
