"""From a model to the best labels: order, ties to a dense form, memory that runs out, damaged weights."""

import numpy as np
import pytest
from support import labels_of

from pipeline.artifacts import StageError
from pipeline.config import InferenceConfig, SamplingConfig
from pipeline.inputs.reader import FrameReader
from pipeline.metrics import global_average_precision, hit_at_one
from pipeline.prediction import Predictor

ALL = SamplingConfig(train="all", evaluation="all")


class Counting:
    """Stands for a model: scores that follow from the frames, and memory for so many videos only."""

    def __init__(self, room: int = 1000, error: Exception | None = None):
        self.room = room
        self.error = error or MemoryError()
        self.batches: list[int] = []

    def predict_on_batch(self, inputs):
        videos = len(inputs["num_frames"])
        if videos > self.room:
            raise self.error
        self.batches.append(videos)
        sums = inputs["frames"].astype(np.float64).sum(axis=(1, 2)) + inputs["num_frames"]
        return (np.sin(sums[:, None] * np.arange(1, 10)) / 2 + 0.5).astype(np.float32)


def dense(index, rows) -> np.ndarray:
    frames, num_frames = FrameReader(index).read(rows, 12, lambda _, n: np.arange(n))
    return Counting().predict_on_batch({"frames": frames, "num_frames": num_frames})


def predictor(index, model, batch_size=8, top_k=4):
    return Predictor(model, FrameReader(index), ALL, InferenceConfig(batch_size=batch_size, top_k=top_k))


@pytest.mark.parametrize("batch_size", [1, 7, 8, 64])
def test_the_best_labels_of_each_video_in_order(small_index, batch_size):
    rows = np.random.default_rng(0).permutation(small_index.rows("train"))[:30]
    heard = []
    labels, scores = predictor(small_index, Counting(), batch_size).predict(rows, heard.append)
    expected = dense(small_index, rows)
    order = np.argsort(-expected, axis=1, kind="stable")[:, :4]
    np.testing.assert_array_equal(labels, order)
    np.testing.assert_array_equal(scores, np.take_along_axis(expected, order, axis=1))
    assert labels.dtype == np.int16 and scores.dtype == np.float32
    assert sum(heard) == 30


def test_no_more_labels_than_there_are_classes(small_index):
    labels, _ = predictor(small_index, Counting(), top_k=100).predict(small_index.rows("train")[:3])
    assert labels.shape == (3, 9)


def test_no_videos(small_index):
    labels, scores = predictor(small_index, Counting()).predict(np.zeros(0, np.int64))
    assert labels.shape == scores.shape == (0, 4)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 byte")])
def test_the_batch_halves_when_memory_runs_out(small_index, error, capsys):
    model = Counting(room=3, error=error)
    rows = small_index.rows("train")
    labels, _ = predictor(small_index, model, batch_size=16).predict(rows)
    np.testing.assert_array_equal(labels, np.argsort(-dense(small_index, rows), axis=1, kind="stable")[:, :4])
    assert set(model.batches) == {2}
    assert "going on with 2 videos" in capsys.readouterr().out


def test_other_errors_and_a_single_video_too_many_are_raised(small_index):
    with pytest.raises(MemoryError):
        predictor(small_index, Counting(room=0)).predict(small_index.rows("train"))
    with pytest.raises(RuntimeError, match="something else"):
        predictor(small_index, Counting(0, RuntimeError("something else"))).predict(small_index.rows("train"))


def test_scores_that_are_not_finite_are_refused(small_index):
    class Damaged(Counting):
        def predict_on_batch(self, inputs):
            scores = super().predict_on_batch(inputs)
            scores[-1, 3] = np.nan
            return scores

    with pytest.raises(StageError, match="not finite"):
        predictor(small_index, Damaged(), batch_size=5).predict(small_index.rows("train"))


def test_evaluation_is_the_metrics_of_the_predictions(small_index):
    rows = small_index.rows("train")
    hot = np.zeros((len(rows), 9))
    for row, identity in enumerate(small_index.ids_of(rows)):
        hot[row, labels_of(int(identity[1:]))] = 1
    expected = dense(small_index, rows)
    metrics = predictor(small_index, Counting(), top_k=9).evaluate(rows)
    assert metrics["videos"] == 40
    assert metrics["gap"] == pytest.approx(global_average_precision(expected, hot))
    assert metrics["hit_at_one"] == pytest.approx(hit_at_one(expected, hot))
