"""From models to the best labels: order, ties to a dense form, memory that runs out, damaged weights, blends."""

import numpy as np
import pytest
from fixtures.support import SMALL, labels_of

from pipeline.config import SamplingConfig
from pipeline.config.errors import StageError
from pipeline.ensembling.recipe import Member, Recipe
from pipeline.inference.ensemble import Ensemble, EnsembleMember
from pipeline.inference.predictor import Predictor
from pipeline.inputs.reading.reader import FrameReader
from pipeline.inputs.reading.sampling import choose_frames
from pipeline.metrics import global_average_precision, hit_at_one

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
    chosen, num_frames = choose_frames("all", index.num_frames[rows], 12)
    frames = FrameReader(index).read(rows, chosen, num_frames)
    return Counting().predict_on_batch({"frames": frames, "num_frames": num_frames})


def predictor(model, batch_size=8, top_k=4, sampling=ALL):
    return Predictor(Ensemble.of_model(model, sampling, SMALL, top_k), batch_size)


def predict(index, model, rows=None, progress=lambda done: None, **settings):
    rows = index.rows("train") if rows is None else rows
    return predictor(model, **settings).predict_rows(FrameReader(index), rows, progress)


@pytest.mark.parametrize("batch_size", [1, 7, 8, 64])
def test_the_best_labels_of_each_video_in_order(small_index, batch_size):
    rows = np.random.default_rng(0).permutation(small_index.rows("train"))[:30]
    heard = []
    labels, scores = predictor(Counting(), batch_size).predict_rows(FrameReader(small_index), rows, heard.append)
    expected = dense(small_index, rows)
    order = np.argsort(-expected, axis=1, kind="stable")[:, :4]
    np.testing.assert_array_equal(labels, order)
    np.testing.assert_array_equal(scores, np.take_along_axis(expected, order, axis=1))
    assert labels.dtype == np.int16 and scores.dtype == np.float32
    assert sum(heard) == 30


def test_no_more_labels_than_there_are_classes(small_index):
    labels, _ = predictor(Counting(), top_k=100).predict_rows(FrameReader(small_index), small_index.rows("train")[:3])
    assert labels.shape == (3, 9)


def test_no_videos(small_index):
    labels, scores = predict(small_index, Counting(), rows=np.zeros(0, np.int64))
    assert labels.shape == scores.shape == (0, 4)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 byte")])
def test_the_batch_halves_when_memory_runs_out(small_index, error, capsys):
    model = Counting(room=3, error=error)
    rows = small_index.rows("train")
    labels, _ = predict(small_index, model, batch_size=16, rows=rows)
    np.testing.assert_array_equal(labels, np.argsort(-dense(small_index, rows), axis=1, kind="stable")[:, :4])
    assert set(model.batches) == {2}
    assert "continuing with 2 videos" in capsys.readouterr().out


def test_other_errors_and_a_single_video_too_many_are_raised(small_index):
    with pytest.raises(MemoryError):
        predict(small_index, Counting(room=0))
    with pytest.raises(RuntimeError, match="something else"):
        predictor(Counting(0, RuntimeError("something else"))).predict_rows(
            FrameReader(small_index), small_index.rows("train")
        )


def test_scores_that_are_not_finite_are_refused(small_index):
    class Damaged(Counting):
        def predict_on_batch(self, inputs):
            scores = super().predict_on_batch(inputs)
            scores[-1, 3] = np.nan
            return scores

    with pytest.raises(StageError, match="not finite"):
        predictor(Damaged(), batch_size=5).predict_rows(FrameReader(small_index), small_index.rows("train"))


def test_evaluation_is_the_metrics_of_the_predictions(small_index):
    rows = small_index.rows("train")
    hot = np.zeros((len(rows), 9))
    for row, identity in enumerate(small_index.ids_of(rows)):
        hot[row, labels_of(int(identity[1:]))] = 1
    expected = dense(small_index, rows)
    metrics = predictor(Counting(), top_k=9).evaluate_rows(FrameReader(small_index), rows)
    assert metrics["videos"] == 40
    assert metrics["gap"] == pytest.approx(global_average_precision(expected, hot))
    assert metrics["hit_at_one"] == pytest.approx(hit_at_one(expected, hot))


def test_lists_of_rows_one_after_the_other(small_index):
    rows = small_index.rows("train")
    parts = [rows[:13], rows[:0], rows[13:14], rows[14:]]
    model, heard = Counting(), []
    answers = list(predictor(model, batch_size=8).predict_parts(FrameReader(small_index), parts, heard.append))
    expected = np.argsort(-dense(small_index, rows), axis=1, kind="stable")[:, :4]
    assert [len(labels) for labels, _ in answers] == [13, 0, 1, 26]
    np.testing.assert_array_equal(np.concatenate([labels for labels, _ in answers]), expected)
    assert model.batches == [8, 8, 1, 8, 8, 8, 8]  # a part does not depend on its neighbors
    assert sum(heard) == 40


class Other(Counting):
    """Answers that have little in common with those of Counting."""

    def predict_on_batch(self, inputs):
        return 1 - super().predict_on_batch({**inputs, "frames": inputs["frames"][:, ::2]}) ** 2


RECIPE = Recipe((Member("a", "", 1.0), Member("unused", "", 0.0), Member("b", "", 3.0), Member("c", "", 2.0)), top_k=5)
UNIFORM = SamplingConfig(frames=6)


def ensemble_of(*members: tuple[object, SamplingConfig], top_k: int = 100) -> Ensemble:
    return Ensemble(SMALL, tuple(EnsembleMember((model,), sampling) for model, sampling in members), RECIPE, top_k)


@pytest.mark.parametrize("batch_size", [7, 64])
def test_models_predict_together_as_they_would_alone(small_index, batch_size):
    """Three models, two samplings: each alone over the whole index, then blended."""
    rows, reader = small_index.rows("train"), FrameReader(small_index)
    models = [(Counting(), ALL), (Other(), UNIFORM), (Other(), ALL)]
    alone = [predictor(model, batch_size, 4, sampling).predict_rows(reader, rows) for model, sampling in models]
    expected = RECIPE.apply(*zip(*alone), 9)
    together = Predictor(ensemble_of(*models, top_k=4), batch_size)
    labels, scores = together.predict_rows(reader, rows)
    np.testing.assert_array_equal(labels, expected[0])
    np.testing.assert_array_equal(scores, expected[1])
    assert together.predict_rows(reader, rows[:0])[0].shape == (0, 4)


def test_an_ensemble_of_one_predicts_what_its_model_does(small_index):
    """Not what the blend of one list would be: its logits and back are rounded."""
    rows, reader = small_index.rows("train"), FrameReader(small_index)
    labels, scores = predictor(Counting(), top_k=9).predict_rows(reader, rows)
    np.testing.assert_array_equal(scores, -np.sort(-dense(small_index, rows), axis=1))
    recipe = Recipe((Member("a", "", 0.7),), top_k=4)
    alone = Ensemble(SMALL, (EnsembleMember((Counting(),), ALL),), recipe, 9)
    fewer = Predictor(alone, 8).predict_rows(reader, rows)
    np.testing.assert_array_equal(fewer[0], labels[:, :4])
    np.testing.assert_array_equal(fewer[1], scores[:, :4])
    blended = recipe.apply([labels], [scores], 9)
    np.testing.assert_array_equal(blended[0], fewer[0])
    np.testing.assert_array_equal(blended[1], fewer[1])


def test_each_record_is_read_once_for_all_models(small_index, monkeypatch):
    reader, asked = FrameReader(small_index), []
    read = reader.read
    monkeypatch.setattr(reader, "read", lambda rows, *more: asked.extend(rows) or read(rows, *more))
    ensemble = ensemble_of(*((Counting(), sampling) for sampling in (ALL, UNIFORM, UNIFORM)))
    Predictor(ensemble, 8).predict_rows(reader, small_index.rows("train"))
    assert asked == list(small_index.rows("train"))


def test_an_ensemble_has_as_many_models_as_its_recipe_uses():
    with pytest.raises(ValueError, match="1 models for a recipe of 3"):
        ensemble_of((Counting(), ALL))


def test_memory_that_runs_out_for_one_of_the_models_halves_the_batches_of_all(small_index, capsys):
    models = [Counting(), Counting(room=5), Counting()]
    ensemble = ensemble_of(*((model, ALL) for model in models), top_k=9)
    _, scores = Predictor(ensemble, 16).predict_rows(FrameReader(small_index), small_index.rows("train"))
    expected = dense(small_index, small_index.rows("train"))
    np.testing.assert_allclose(scores, -np.sort(-expected, axis=1)[:, :5], rtol=1e-6)
    assert set(models[1].batches) == {4} and models[0].batches[0] == 16
    assert capsys.readouterr().out.count("out of memory") == 2


@pytest.mark.parametrize("batch_size", [2, 8, 9])
@pytest.mark.parametrize("room", [3, 1000])
def test_devices_get_equal_shares_of_every_batch(small_index, monkeypatch, batch_size, room):
    """Of the last one too, and where memory ran out."""
    rows = small_index.rows("train")[:10]
    expected = predict(small_index, Counting(), rows)
    monkeypatch.setattr("pipeline.inference.predictor.shares", lambda: 3)
    model = Counting(room)
    for found, values in zip(predict(small_index, model, rows, batch_size=batch_size), expected):
        np.testing.assert_array_equal(found, values)
    assert all(size % 3 == 0 for size in model.batches)
