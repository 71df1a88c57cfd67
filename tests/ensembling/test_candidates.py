"""The fast GAP of any weights against the metrics' own of the blend, dense and sparse."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.blends import ensembles, slow_blend

from pipeline.ensembling.candidates import REACH, Candidates
from pipeline.ensembling.combining import blend
from pipeline.metrics import LabelLists, StreamingMetrics, global_average_precision


def truth_of(rng: np.random.Generator, videos: int, num_classes: int) -> LabelLists:
    return LabelLists.of(
        [rng.permutation(num_classes)[: rng.integers(0, min(num_classes, 5) + 1)] for _ in range(videos)]
    )


def similar_models(rng, videos: int, num_classes: int, lengths: list[int], levels: int):
    """Models that agree roughly, their scores multiples of 1/levels, so that means are exact and ties many."""
    common = rng.random((videos, num_classes))
    labels, scores = [], []
    for k in lengths:
        dense = np.round(levels * np.clip(common + rng.normal(0, 0.15, common.shape), 0, 1)) / levels
        labels.append(np.argsort(-dense, axis=1, kind="stable")[:, :k])
        scores.append(np.take_along_axis(dense, labels[-1], axis=1).astype(np.float32))
    return labels, scores


@given(st.integers(0, 2**32), st.lists(st.integers(REACH, 45), min_size=1, max_size=4), st.sampled_from([4, 64, 4096]))
@settings(max_examples=60, deadline=None)
def test_equals_the_metric_of_the_dense_blend(seed, lengths, levels):
    rng = np.random.default_rng(seed)
    videos, num_classes = int(rng.integers(1, 9)), 45
    labels, scores = similar_models(rng, videos, num_classes, lengths, levels)
    truth = truth_of(rng, videos, num_classes)
    weights = rng.choice([0.0, 1.0, 2.0, 5.0], len(lengths))
    weights[rng.integers(len(lengths))] = 8 - weights[1:].sum() if len(lengths) == 1 else 4.0
    found = Candidates.align(labels, scores, truth, num_classes)
    dense, correct = np.full((videos, num_classes), -1.0, np.float32), np.zeros((videos, num_classes), int)
    for video in range(videos):
        models = [(dict(zip(kept[video], given[video])), w) for kept, given, w in zip(labels, scores, weights) if w]
        for label in {label for model, _ in models for label in model}:
            means = [weight * float(model.get(label, min(model.values()))) for model, weight in models]
            dense[video, label] = sum(means) / weights.sum()
        correct[video, truth.values[truth.offsets[video] : truth.offsets[video + 1]]] = 1
    assert found.score(weights) == pytest.approx(global_average_precision(dense, correct, REACH), abs=1e-12)


def slow_gap(labels, scores, weights, truth: LabelLists, num_classes: int) -> float:
    metrics = StreamingMetrics(num_classes)
    for video, (best, means) in enumerate(zip(*slow_blend(labels, scores, weights, REACH, num_classes))):
        bounds = truth.offsets[video : video + 2]
        metrics.accumulate([best], np.array([means], np.float32), [truth.values[bounds[0] : bounds[1]]])
    return metrics.gap()


@given(ensembles(), st.integers(0, 2**32))
@settings(max_examples=120, deadline=None)
def test_equals_the_metric_of_short_lists(ensemble, seed):
    labels, scores, weights, _, num_classes = ensemble
    rng = np.random.default_rng(seed)
    truth = truth_of(rng, len(labels[0]), num_classes)
    found = Candidates.align(labels, scores, truth, num_classes)
    for chosen in (weights, *np.eye(len(weights))):
        assert found.score(chosen) == pytest.approx(slow_gap(labels, scores, chosen, truth, num_classes), abs=1e-12)


def test_equals_the_metric_of_a_hundred_kept_and_leaves_out_what_cannot_count(monkeypatch):
    rng = np.random.default_rng(5)
    labels, scores = similar_models(rng, 150, 400, [100, 100, 60], 2**20)
    truth = truth_of(rng, 150, 400)
    found = Candidates.align(labels, scores, truth, 400)
    unions = [len(np.unique(np.concatenate([kept[video] for kept in labels]))) for video in range(150)]
    assert found.offsets[-1] < 0.8 * sum(unions) and (np.diff(found.offsets) >= REACH).all()
    for weights in ([1, 1, 1], [0.2, 0.5, 0.3], [0, 1, 0], [1, 0, 1e-3]):
        metrics = StreamingMetrics(400)
        metrics.accumulate(*blend(labels, scores, weights, 60, 400), truth)
        assert found.score(weights) == pytest.approx(metrics.gap(), abs=1e-7)
    monkeypatch.setattr("pipeline.ensembling.candidates._CHUNK", 5000)
    for ours, whole in zip(Candidates.align(labels, scores, truth, 400), found):
        np.testing.assert_array_equal(ours, whole)


def test_more_models_than_bits_in_a_word():
    rng = np.random.default_rng(6)
    labels, scores = similar_models(rng, 5, 30, [7] * 70, 64)
    truth = truth_of(rng, 5, 30)
    found = Candidates.align(labels, scores, truth, 30)
    for weights in (np.eye(70)[3], np.eye(70)[67], np.arange(70) >= 6):
        assert found.score(weights) == pytest.approx(slow_gap(labels, scores, weights, truth, 30), abs=1e-12)


def test_no_videos_score_nothing():
    nothing = Candidates.align([np.empty((0, 3), int)], [np.empty((0, 3))], LabelLists.of([]), 5)
    assert nothing.score([1]) == 0 and nothing.positives == 0
    one = Candidates.align([np.array([[0, 2]])], [np.array([[0.5, 0.25]])], LabelLists.of([[2, 4]]), 5)
    assert (
        Candidates.joined([nothing, one]).score([1]) == one.score([1]) == pytest.approx(1 / 4)
    )  # second of two; one missed


@pytest.mark.parametrize("weights", [[0, 0], [1, -1], [1, np.nan], [np.inf, 1]])
def test_weights_that_are_none_are_refused(weights):
    found = Candidates.align([np.array([[0]])] * 2, [np.array([[0.5]])] * 2, LabelLists.of([[0]]), 5)
    with pytest.raises(ValueError, match="finite, not negative and not all 0"):
        found.score(weights)


@pytest.mark.parametrize("score", [np.nan, np.inf, 1e300])
def test_scores_that_are_no_numbers_are_refused(score):
    with pytest.raises(ValueError, match="model 1: a score is not a finite float32"):
        Candidates.align([np.array([[0]])] * 2, [np.array([[0.5]]), np.array([[score]])], LabelLists.of([[0]]), 5)
