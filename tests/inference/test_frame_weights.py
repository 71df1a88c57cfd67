"""What a model looks at: the weights of a stored run on the frames it predicts with, and numbers made of them."""

import dataclasses
import shutil

import numpy as np
import pytest
from fixtures.support import SMALL

from pipeline.artifacts.done import Done
from pipeline.artifacts.files import write_json
from pipeline.artifacts.models import MODEL, digest_model
from pipeline.config import ClassifierConfig, Experiment, ModelConfig, NetVLADConfig, SamplingConfig, to_dict
from pipeline.config.errors import StageError
from pipeline.inference.frame_weights import (
    BATCH_SIZE,
    cluster_similarity,
    cluster_usage,
    frame_shares,
    frame_weights,
    frame_weights_of_run,
)
from pipeline.inputs.reading.reader import FrameReader
from pipeline.inputs.reading.sampling import choose_frames
from pipeline.models import build_model

CLUSTERS = 3
EXPERIMENT = Experiment(
    SMALL,
    ModelConfig("netvlad", NetVLADConfig((CLUSTERS,)), ClassifierConfig(hidden=4)),
    SamplingConfig(evaluation="all"),
)


@pytest.fixture(scope="module")
def model():
    import keras

    keras.utils.set_random_seed(0)
    return build_model(EXPERIMENT.model, SMALL)


def _config(experiment):
    """As train writes it."""
    config = to_dict(experiment)
    return {name: config[name] for name in ("dataset", "sampling", "model", "training")} | {"inputs": {"index": "0"}}


@pytest.fixture
def run(tmp_path, model):
    """A run's folder as train leaves it, with weights as they begin."""
    folder = tmp_path / "run"
    folder.mkdir()
    model.save(folder / MODEL)
    config = _config(EXPERIMENT)
    write_json(folder / "config.json", config)
    Done({}, {}, digest_model(folder / MODEL)).write(folder)
    return folder


def frames_of_rows(index, rows):
    """The frames of some videos, at most max_frames spread over each, one video at a time."""
    reader = FrameReader(index)
    for row in rows:
        count = np.minimum(index.num_frames[row : row + 1], SMALL.max_frames)
        chosen, count = choose_frames("all", index.num_frames[row : row + 1], count[0])
        yield {"frames": reader.read(np.array([row]), chosen, count), "num_frames": count}


def test_a_run_is_inspected_with_the_frames_it_predicts_with(small_index, run, model):
    rows = np.random.default_rng(0).permutation(small_index.rows("train"))[: BATCH_SIZE + 5]
    weights, valid = frame_weights_of_run(run, small_index, rows)
    assert set(weights) == {"rgb", "audio"}
    np.testing.assert_array_equal(valid, np.minimum(small_index.num_frames[rows], SMALL.max_frames))
    for number, inputs in enumerate(frames_of_rows(small_index, rows)):
        count = valid[number]
        for feature, expected in frame_weights(model, inputs).items():
            found = weights[feature][number]
            assert found.shape == (SMALL.max_frames, CLUSTERS)
            np.testing.assert_allclose(found[:count], expected[0], atol=1e-6)
            assert (found[count:] == 0).all()


def test_uniform_sampling_spreads_a_run_over_the_video(small_index, run):
    write_json(run / "config.json", _config(EXPERIMENT) | {"sampling": to_dict(SamplingConfig(frames=40))})
    weights, valid = frame_weights_of_run(run, small_index, small_index.rows("train")[:3])
    assert weights["rgb"].shape == (3, 40, CLUSTERS)
    assert (valid == 40).all()
    np.testing.assert_allclose(weights["rgb"].sum(axis=2), 1, rtol=1e-5)


def test_a_run_of_another_dataset_or_unfinished_is_refused(small_index, run):
    config = _config(dataclasses.replace(EXPERIMENT, dataset=dataclasses.replace(SMALL, num_classes=10)))
    other = shutil.copytree(run, run.parent / "other")
    write_json(other / "config.json", config)
    with pytest.raises(
        StageError, match=r"trained on .*; 10 classes; .* the index .* has .*; 9 classes; up to 12 frames"
    ):
        frame_weights_of_run(other, small_index, small_index.rows("train"))
    (run / "done.json").unlink()
    with pytest.raises(StageError, match="not trained to its end"):
        frame_weights_of_run(run, small_index, small_index.rows("train"))


def test_no_model_is_asked_for_what_it_does_not_have(model):
    from pipeline.config import RecurrentConfig

    recurrent = build_model(ModelConfig("recurrent", RecurrentConfig(units=(2,)), ClassifierConfig(hidden=4)), SMALL)
    inputs = {"frames": np.zeros((2, 3, SMALL.width), np.uint8), "num_frames": np.array([3, 1], np.int32)}
    assert frame_weights(recurrent, inputs) == {}


def test_usage_is_each_clusters_share_of_a_video():
    weights = np.array([[[1, 0, -1], [3, 0, -3]], [[0, 2, 0], [0, 0, 0]], [[0, 0, 0], [0, 0, 0]]], np.float32)
    np.testing.assert_allclose(cluster_usage(weights), [[0.5, 0, 0.5], [0, 1, 0], [0, 0, 0]])
    attention = np.array([[[1, 0.5], [0, 0.5]]], np.float32)  # the first looks at one frame, the second at none
    np.testing.assert_allclose(cluster_usage(attention), [[2 / 3, 1 / 3]])


def test_similar_clusters_are_those_of_the_same_frames():
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(4, 5, 3)).astype(np.float32)
    weights[..., 2] = -2 * weights[..., 0]
    padded = np.concatenate([weights, np.zeros((4, 2, 3), np.float32)], axis=1)
    found = cluster_similarity(padded)
    expected = np.eye(3)
    for i in range(3):
        for j in range(3):
            one, other = weights[..., i].ravel(), weights[..., j].ravel()
            expected[i, j] = one @ other / np.sqrt((one @ one) * (other @ other))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found[0, 2] == pytest.approx(-1)
    assert (cluster_similarity(np.zeros((1, 2, 3), np.float32)) == 0).all()


def test_a_frame_counts_by_its_shares_of_the_clusters():
    """The third cluster, of another feature, belongs to no frame; negative weights count as much as positive ones."""
    one = np.array([[[3.0, 0.0], [1.0, 0.0], [0.0, -2.0], [0.0, 0.0]]])
    shares = frame_shares({"rgb": one, "audio": np.zeros((1, 4, 1))})
    np.testing.assert_allclose(shares, [[0.375, 0.125, 0.5, 0]])
    assert frame_shares({}) is None
