"""SavedModels: the scores of the pipeline's own prediction, from raw frames of any number."""

from pathlib import Path

import keras
import numpy as np
import pytest
from fixtures.made_runs import RUNS, drawn_model
from fixtures.support import SMALL

from pipeline.config.errors import StageError
from pipeline.ensembling.recipe import Member, Recipe
from pipeline.ensembling.scales import quantiles_of, to_values
from pipeline.inference.ensemble import Ensemble, EnsembleMember
from pipeline.inference.predictor import Predictor
from pipeline.inference.saved_model import values_of, write_saved_model
from pipeline.inputs.reading.batches import batch_videos, sample_video

RNG = np.random.default_rng(0)
VIDEOS = [RNG.integers(0, 256, (count, 8), dtype=np.uint8) for count in (1, 4, 12, 18, 7)]


@pytest.fixture(scope="module")
def models() -> tuple[EnsembleMember, ...]:
    """A run in two folds, and one without."""
    drawn = [
        tuple(drawn_model(model, SMALL, seed) for seed in seeds)
        for (model, _), seeds in zip(RUNS.values(), ((3, 4), (3,)))
    ]
    return tuple(EnsembleMember(each, sampling) for each, (_, sampling) in zip(drawn, RUNS.values()))


def ensemble(models) -> Ensemble:
    members = tuple(Member(name, "", weight) for name, weight in zip(RUNS, (0.5, 1.5)))
    return Ensemble(SMALL, models, Recipe(members, "logits", 9), 9, ("",) * 9)


@pytest.mark.wide
def test_it_answers_as_the_pipeline_does(models, tmp_path):
    import tensorflow as tf

    whole = ensemble(models)
    write_saved_model(whole, tmp_path / "model")
    serve = tf.saved_model.load(tmp_path / "model").signatures["serving_default"]
    frames = np.full((5, 20, 8), 200, np.uint8)  # longer than what is read of a video, and not zeros
    for row, video in zip(frames, VIDEOS):
        row[: len(video)] = video
    counts = np.array([len(video) for video in VIDEOS], np.int32)
    answers = serve(frames=tf.constant(frames), num_frames=tf.constant(counts))["probabilities"].numpy()
    predictor = Predictor(whole, 256)
    videos = [sample_video(video, predictor.samplings, SMALL) for video in VIDEOS]
    ((labels, scores),) = predictor.predict(batch_videos(videos, SMALL, predictor.samplings, 8))
    np.testing.assert_allclose(np.take_along_axis(answers, labels.astype(int), axis=1), scores, atol=1e-6)
    few = serve(frames=tf.constant(frames[:2, :4]), num_frames=tf.constant(counts[:2]))["probabilities"].numpy()
    np.testing.assert_allclose(few, answers[:2], atol=1e-6)


@pytest.mark.parametrize("scale", ["probabilities", "logits", "ranks"])
def test_scales_are_those_of_the_blend(scale):
    scores = np.concatenate([RNG.random((9, 30)) ** 4, [[0, 1e-12, 1e-7, 1 - 1e-7, 1] * 6]]).astype(np.float32)
    seen = np.round(RNG.random(3000) ** 3, 2)  # rounded: many quantiles are equal
    member = Member("a", "", 1.0, quantiles_of(seen) if scale == "ranks" else ())
    found = np.asarray(values_of(scores, Recipe((member,), scale), member.quantiles))
    np.testing.assert_allclose(found, to_values(scores, scale, member.quantiles), atol=1e-5)


def test_nothing_else_is_replaced(models, tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(StageError, match="is no SavedModel; it would be replaced"):
        write_saved_model(ensemble(models), tmp_path)
    with pytest.raises(StageError, match="no SavedModel"):
        write_saved_model(ensemble(models), tmp_path / "thesis.tex")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("name", ["jax", "torch"])
def test_other_backends_are_told_so(models, tmp_path, monkeypatch, name):
    monkeypatch.setattr(keras.backend, "backend", lambda: name)
    with pytest.raises(StageError, match=f"cannot be written on {name}: set KERAS_BACKEND=tensorflow"):
        write_saved_model(ensemble(models), tmp_path / "model")
    assert not Path(tmp_path / "model").exists()
