"""Bundles as .onnx: every family gives its scores in ONNX Runtime, alone and through the pipeline's inference."""

import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import onnxruntime
import pytest
from fixtures.made_runs import drawn_model
from fixtures.support import SMALL

from pipeline.config import (
    POOLING,
    ClassifierConfig,
    DatasetConfig,
    FeatureConfig,
    InferenceConfig,
    ModelConfig,
    SamplingConfig,
    ThresholdConfig,
)
from pipeline.config.errors import StageError
from pipeline.ensembling.recipe import Member, Recipe
from pipeline.inference.bundle import onnx_writing, writing
from pipeline.inference.bundle.header import read_header, read_scores
from pipeline.inference.bundle.ingredients import Ingredients
from pipeline.inference.bundle.loading import load_bundle
from pipeline.inference.bundle.onnx_model import OnnxModel
from pipeline.inference.predictor import Predictor
from pipeline.inference.runs import TrainedRun
from pipeline.inference.thresholds import Thresholds
from pipeline.inference.windows.models import WindowModel
from pipeline.inputs.reading.batches import batch_videos, sample_video
from pipeline.models import FAMILIES

RNG = np.random.default_rng(0)
RGB = dataclasses.replace(SMALL, features=(FeatureConfig("rgb", 8),))
SETTINGS = {"clusters": 4, "groups": 4, "heads": 4, "hidden": 6, "latents": 3, "projection": 5, "units": 6}
"""Small values of settings, taken by the families that have them."""
SAMPLINGS = (SamplingConfig(evaluation="all"), SamplingConfig(frames=5), SamplingConfig(frames=9))
CLASSIFIERS = (
    ClassifierConfig(hidden=64),
    ClassifierConfig(hidden=16, gating="squeeze_excite", output_gating="context", head="logistic"),
    ClassifierConfig(hidden=0, gating="none", head_hidden=(12,), descriptor_batch_norm=True),
)
LENGTHS = (1, 4, 12, 18, 7)
"""Frames of videos; the dataset declares 12 at most."""


def config(family: str, classifier: ClassifierConfig, features: int = 1) -> ModelConfig:
    known = {field.name for field in dataclasses.fields(POOLING[family])}
    settings = {name: (value,) * features for name, value in SETTINGS.items() if name in known}
    return ModelConfig(family, POOLING[family](**settings), classifier)


def write(folder: Path, runs: list[TrainedRun], recipe: Recipe, weights="float32", thresholds=None) -> Path:
    path = folder / "written.onnx"
    path.unlink(missing_ok=True)
    names = [f"class {number}" for number in range(runs[0].dataset.num_classes)]
    made_of = Ingredients(recipe, runs, names, weights, InferenceConfig(top_k=9), {"a": "1"}, thresholds)
    onnx_writing.write_onnx(path, made_of)
    return path


@pytest.fixture(scope="module", autouse=True)
def models():
    """The models by path: what is trained is not stored, and not read and built anew."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TF2ONNX_CATCH_ERRORS", "FALSE")  # half of its time goes into copies for what fails
        made = {}
        for module in (writing, onnx_writing):
            patch.setattr(module, "trained_model", lambda run, path: made[path])
        yield made


def run_of(models, name: str, model: ModelConfig, sampling: SamplingConfig, dataset: DatasetConfig, seeds=(3,)):
    """A run, its models among `models`."""
    paths = [Path(name) / str(seed) for seed in seeds]
    models |= {path: drawn_model(model, dataset, seed) for path, seed in zip(paths, seeds)}
    return TrainedRun(Path(name), dataset, sampling, model, "float32", "", tuple(paths), ())


def called(model, inputs: dict[str, np.ndarray]) -> np.ndarray:
    return np.asarray(model(inputs, training=False))  # nothing to trace


def videos_of(dataset: DatasetConfig, lengths=LENGTHS) -> list[np.ndarray]:
    if dataset.quantized:
        return [RNG.integers(0, 256, (length, dataset.width), dtype=np.uint8) for length in lengths]
    return [RNG.normal(size=(length, dataset.width)).astype(dataset.dtype) for length in lengths]


def padded(videos: list[np.ndarray], longer: int = 2) -> dict[str, np.ndarray]:
    """The input of a file by itself: all frames, and what is to be ignored after them."""
    counts = np.array([len(video) for video in videos], np.int32)
    frames = np.full((len(videos), counts.max() + longer, videos[0].shape[1]), 77, videos[0].dtype)
    for row, video in zip(frames, videos):
        row[: len(video)] = video
    return {"frames": frames, "num_frames": counts}


def shown(videos: list[np.ndarray], sampling: SamplingConfig, dataset: DatasetConfig) -> dict[str, np.ndarray]:
    ((_, inputs),) = batch_videos(
        [sample_video(video, [sampling], dataset) for video in videos], dataset, [sampling], len(videos)
    )
    return inputs


def session(path: Path) -> Callable[[dict[str, np.ndarray]], np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    opened = onnxruntime.InferenceSession(path, options)
    return lambda inputs: opened.run(["probabilities"], inputs)[0]


class Committee:
    """All families in one file: one conversion each."""

    def __init__(self, models, folder: Path):
        self.runs = [
            run_of(models, family, config(family, CLASSIFIERS[number % 3]), SAMPLINGS[number % 3], RGB)
            for number, family in enumerate(FAMILIES)
        ]
        members = tuple(Member(family, "", 1.0 + number) for number, family in enumerate(FAMILIES))
        self.path = write(folder, self.runs, Recipe(members, "logits", 9))
        self.loaded = load_bundle(self.path)


@pytest.mark.wide
@pytest.mark.first
def test_every_family_and_all_of_them_in_one_file(models, tmp_path):
    """One test: a file that two processes make takes each of them half a minute."""
    committee = Committee(models, tmp_path)
    families_give_their_scores(committee, models)
    the_file_by_itself_samples_and_blends_as_the_pipeline_does(committee)
    windows_are_scored_one_by_one(committee, models)


def families_give_their_scores(committee, models):
    for place, family in enumerate(FAMILIES):
        (model,) = committee.loaded.members[place].models
        assert isinstance(model, OnnxModel)
        sampling = committee.loaded.members[place].sampling
        assert sampling == SAMPLINGS[place % 3]
        for lengths in (LENGTHS, (1,), (3, 2)):
            inputs = shown(videos_of(RGB, lengths), sampling, RGB)
            found, wanted = model.predict_on_batch(inputs), called(models[Path(family) / "3"], inputs)
            np.testing.assert_allclose(found, wanted, atol=1e-5, err_msg=f"{family}, videos of {lengths}")
            assert found.dtype == np.float32 and found.std() > 0.01


def the_file_by_itself_samples_and_blends_as_the_pipeline_does(committee):
    videos = videos_of(RGB)
    answer = session(committee.path)
    found = answer(padded(videos))
    predictor = Predictor(committee.loaded, 256)
    own = [sample_video(video, predictor.samplings, RGB) for video in videos]
    ((labels, scores),) = predictor.predict(batch_videos(own, RGB, predictor.samplings, 8))
    np.testing.assert_allclose(np.take_along_axis(found, labels.astype(int), axis=1), scores, atol=1e-5)
    np.testing.assert_array_equal(labels, np.argsort(-found, axis=1, kind="stable"))
    for video, known in zip(videos, found):
        np.testing.assert_allclose(answer(padded([video], longer=0))[0], known, atol=1e-5)


def windows_are_scored_one_by_one(committee, models):
    """What frames share is made once by Keras alone; the scores are the same."""
    (frames,) = videos_of(RGB, (18,))
    starts, chosen = np.array([0, 4, 12]), np.array([0, 1, 3, 3, 5])
    both = committee.loaded.members[0].models[0], models[Path("average/3")]
    found, wanted = (WindowModel(each, 2).probabilities(frames, starts, chosen) for each in both)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_folds_are_averaged(models, tmp_path):
    """Models of one run share a conversion; of another they have their own sampling and features."""
    runs = [
        run_of(models, "a", config("average", CLASSIFIERS[0], 2), SAMPLINGS[0], SMALL, (3, 4)),
        run_of(models, "b", config("average", CLASSIFIERS[1], 2), SAMPLINGS[1], SMALL, (5,)),
    ]
    recipe = Recipe((Member("a", "", 1.0), Member("b", "", 3.0)))
    path, videos = write(tmp_path, runs, recipe), videos_of(SMALL)
    wanted = sum(
        share * np.mean([called(models[each], shown(videos, run.sampling, SMALL)) for each in run.models], axis=0)
        for run, share in zip(runs, (0.25, 0.75))
    )
    np.testing.assert_allclose(session(path)(padded(videos)), wanted, atol=1e-5)
    assert [len(member.models) for member in load_bundle(path).members] == [2, 1]


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_floats_of_one_label_each(models, tmp_path, dtype):
    dataset = dataclasses.replace(SMALL, features=(FeatureConfig("rgb", 8, dtype=dtype),), task="single_label")
    run = run_of(models, dtype, config("average", ClassifierConfig(hidden=64, head="softmax")), SAMPLINGS[1], dataset)
    path, videos = write(tmp_path, [run], run.alone(9)), videos_of(dataset)
    inputs = shown(videos, run.sampling, dataset)
    wanted = called(models[run.models[0]], inputs)
    np.testing.assert_allclose(session(path)(padded(videos)), wanted, atol=1e-5)
    ((labels, _),) = Predictor(load_bundle(path), 4).predict([(5, inputs)])
    np.testing.assert_array_equal(labels[:, 0], wanted.argmax(axis=1))


def test_it_is_stored_as_a_zip_would_be(models, tmp_path):
    """The same weights, the same header; and the metadata say what another program needs to know."""
    model = config("netvlad", ClassifierConfig(hidden=64, head="logistic"))
    dataset = dataclasses.replace(RGB, features=(FeatureConfig("rgb", 64),))
    run = run_of(models, "zip", model, SAMPLINGS[1], dataset)
    thresholds = Thresholds(ThresholdConfig(), tuple(np.linspace(0.1, 0.9, 9).tolist()))
    sizes, inputs = {}, shown(videos_of(dataset), run.sampling, dataset)
    for weights in ("float32", "float16", "int8"):
        path = write(tmp_path, [run], run.alone(9), weights, thresholds=thresholds)
        zipped = tmp_path / f"{weights}.zip"
        names = [f"class {number}" for number in range(9)]
        settings = (weights, InferenceConfig(top_k=9), {"a": "1"}, thresholds)
        writing.write_bundle(zipped, Ingredients(run.alone(9), [run], names, *settings))
        here, there = read_header(path), read_header(zipped)
        assert {"onnx", "tf2onnx"} < here.versions.keys()
        assert dataclasses.replace(here, versions=there.versions) == there and here.thresholds == thresholds
        found, wanted = (load_bundle(each).members[0].models[0].predict_on_batch(inputs) for each in (path, zipped))
        np.testing.assert_allclose(found, wanted, atol=1e-5)
        sizes[weights] = path.stat().st_size
        assert 0 < sizes[weights] - zipped.stat().st_size < 40_000  # the graph
    assert sizes["float32"] > sizes["float16"] > sizes["int8"]
    before = read_header(path)
    writing.add_scores(path, {"bytes": 7})
    assert read_scores(path) == {"bytes": 7} and read_header(path) == before
    kept = onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map
    assert json.loads(kept["bundle.json"])["names"][3] == "class 3" and json.loads(kept["scores.json"]) == {"bytes": 7}
    opened = onnxruntime.InferenceSession(path)
    assert [(each.name, each.type, each.shape) for each in (*opened.get_inputs(), *opened.get_outputs())] == [
        ("frames", "tensor(uint8)", ["batch", "frames", 64]),
        ("num_frames", "tensor(int32)", ["batch"]),
        ("probabilities", "tensor(float)", ["batch", 9]),
    ]


def test_what_it_cannot_be_written_with(models, tmp_path, monkeypatch):
    run = run_of(models, "refused", config("average", CLASSIFIERS[0]), SAMPLINGS[1], RGB)
    before = write(tmp_path, [run], run.alone(9)).read_bytes()
    assert write(tmp_path, [run], run.alone(9)).read_bytes() == before  # though a converter goes on numbering
    with monkeypatch.context() as patch, pytest.raises(StageError, match="cannot be written on jax: set KERAS_BACKEND"):
        patch.setattr(keras.backend, "backend", lambda: "jax")
        write(tmp_path, [run], run.alone(9))
    with monkeypatch.context() as patch, pytest.raises(StageError, match=r"tf2onnx .* the extra onnx"):
        patch.setitem(sys.modules, "tf2onnx", None)
        write(tmp_path, [run], run.alone(9))
    with (
        monkeypatch.context() as patch,
        pytest.raises(StageError, match=r"the 1,000 bytes .* --weights int8"),
    ):
        patch.setattr(onnx_writing, "MOST_BYTES", 1000)
        write(tmp_path, [run], run.alone(9))
    with monkeypatch.context() as patch, pytest.raises(StageError, match="TensorFlow's MatMul"):
        patch.setattr("onnx.defs.has", lambda operation, domain: operation != "MatMul")
        write(tmp_path, [run], run.alone(9))
    assert not (tmp_path / "written.onnx").exists()
