"""What ranks all videos by each class, and accuracy, against scikit-learn's: in any parts, with ties, with nothing."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import average_precision_score, roc_auc_score, top_k_accuracy_score

from pipeline import metrics
from pipeline.metrics import StreamingMetrics, classes
from pipeline.metrics.classes import mean_of_known, sensitivities

close = {"rel": 0, "abs": 1e-9}


def measured(scores, hot, parts: int = 1, top_k: int | None = None, order=None) -> StreamingMetrics:
    """Given twice, in as many parts, the second time in another order."""
    found = StreamingMetrics(scores.shape[1])
    best = metrics.top_k(scores, top_k or scores.shape[1])
    for rows in np.array_split(np.arange(len(scores)), parts):
        found.accumulate(*(array[rows] for array in best), [np.flatnonzero(hot[row]) for row in rows])
    order = np.arange(len(scores)) if order is None else order
    for rows in np.array_split(order, parts + 1):
        found.rank(*(array[rows] for array in best))
    return found


@st.composite
def cases(draw):
    """Scores of few levels or of many, of either type; labels that are rare, frequent or none, for 1 video or more."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    videos, number = draw(st.integers(1, 40)), draw(st.integers(1, 7))
    levels = draw(st.sampled_from([1, 2, 3, 1_000_000]))
    scores = (rng.integers(0, levels, (videos, number)) / levels).astype(draw(st.sampled_from(["f4", "f8"])))
    share = rng.choice([0, 0.1, 0.5, 1], number)  # some classes are in no video, some in all
    hot = rng.random((videos, number)) < share
    hot[rng.random(videos) < 0.2] = False  # labelled, with none
    return scores, hot, draw(st.integers(1, 3)), rng.permutation(videos)


@settings(max_examples=150, deadline=None)
@given(cases())
def test_areas_are_those_of_scikit_learn(case):
    scores, hot, parts, order = case
    found = measured(scores, hot, parts, order=order)
    areas, positives = found.areas(), hot.sum(axis=0)
    wanted = [
        roc_auc_score(hot[:, label], scores[:, label]) if 0 < positives[label] < len(hot) else math.nan
        for label in range(hot.shape[1])
    ]
    np.testing.assert_allclose(areas, wanted, rtol=0, atol=1e-9)
    known = [area for area in wanted if not math.isnan(area)]
    means = found.by_class()
    assert means["auc"] == (pytest.approx(np.mean(known), **close) if known else None)
    if known and all(0 < area < 1 for area in known):
        assert means["d_prime"] == pytest.approx(np.mean(np.sqrt(2) * norm.ppf(known)), **close)
    assert (means["d_prime"] is None) == (not known) and (not known or math.isfinite(means["d_prime"]))


@settings(max_examples=100, deadline=None)
@given(cases())
def test_average_precisions_are_those_of_scikit_learn(case):
    """With ties too; MAP takes their mean over all orders, as the slow form does."""
    scores, hot, parts, order = case
    found = measured(scores, hot, parts, order=order)
    precisions = found.average_precisions()
    present = hot.any(axis=0)
    np.testing.assert_array_equal(np.isnan(precisions), ~present)
    wanted = [average_precision_score(hot[:, label], scores[:, label]) for label in np.flatnonzero(present)]
    np.testing.assert_allclose(precisions[present], wanted, rtol=0, atol=1e-9)
    whole = metrics.mean_average_precision(scores, hot)
    assert found.by_class()["map_all_kept"] == pytest.approx(whole, **close)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(3, 9), st.integers(1, 30))
def test_accuracy_is_that_of_scikit_learn(seed, number, videos):
    rng = np.random.default_rng(seed)
    scores, labels = rng.random((videos, number)), rng.integers(0, number, videos)
    found = measured(scores, np.eye(number, dtype=bool)[labels], 2).accuracy()
    for key, k in (("top_1", 1), ("top_5", 5)):
        wanted = top_k_accuracy_score(labels, scores, k=k, labels=range(number)) if k < number else 1
        assert found[key] == pytest.approx(wanted, **close)


def test_what_is_not_kept_is_never_guessed():
    rng = np.random.default_rng(0)
    scores, hot = rng.random((30, 8)).astype(np.float32), rng.random((30, 8)) < 0.3
    found = measured(scores, hot, top_k=7)
    assert np.isnan(found.areas()).all() and found.by_class()["auc"] is found.by_class()["d_prime"] is None
    assert found.by_class()["map_all_kept"] == pytest.approx(metrics.mean_average_precision(scores, hot, 7), **close)
    assert found.accuracy()["top_5"] is not None and measured(scores, hot, top_k=4).accuracy()["top_5"] is None
    one = StreamingMetrics(3)
    one.accumulate([[0, 1, 2], [2, -1, -1]], [[0.5, 0.3, 0.2], [0.9, 0, 0]], [[0], [1]])
    one.rank([[0, 1, 2], [2, -1, -1]], [[0.5, 0.3, 0.2], [0.9, 0, 0]])
    assert np.isnan(one.areas()).all() and one.accuracy()["top_5"] is None


def test_what_was_not_given_twice_is_refused():
    found = StreamingMetrics(2)
    found.accumulate([[0, 1]], [[0.5, 0.4]], [[0]])
    for ask in (found.areas, found.average_precisions, found.by_class):
        with pytest.raises(ValueError, match="0 of 1 videos were given to rank, the second pass"):
            ask()


def test_chunks_do_not_matter(monkeypatch):
    rng = np.random.default_rng(1)
    scores, hot = (rng.integers(0, 9, (200, 5)) / 9).astype(np.float32), rng.random((200, 5)) < 0.2
    whole = measured(scores, hot)
    monkeypatch.setattr(classes, "_AT_ONCE", 7)
    parts = measured(scores, hot, 3)
    np.testing.assert_array_equal(whole.areas(), parts.areas())
    np.testing.assert_array_equal(whole.average_precisions(), parts.average_precisions())


def test_memory_is_that_of_the_correct_pairs_alone():
    found, labels = StreamingMetrics(1000, top_k=1), np.tile(np.arange(1000), (50, 1))
    for seed in (0, 0, 1):
        found.accumulate(labels, np.random.default_rng(seed).random(labels.shape, np.float32), [[seed]] * 50)
    for seed in (0, 0, 1):
        found.rank(labels, np.random.default_rng(seed).random(labels.shape, np.float32))
    kept = vars(found._classes).values()
    assert sum(each.nbytes for each in kept if isinstance(each, np.ndarray)) <= 40 * 150


def test_a_perfect_class_counts_half_a_pair_short():
    """Its quantile would be infinite, and so would the mean over all classes."""
    found = sensitivities(np.array([1.0, 0.0, 0.5, math.nan]), np.array([2, 2, 2, 0]), 5)
    bound = np.sqrt(2) * norm.ppf(1 - 1 / 12)
    np.testing.assert_allclose(found, [bound, -bound, 0, math.nan], atol=1e-12)
    assert mean_of_known(found) == pytest.approx(0, abs=1e-12) and mean_of_known(found[3:]) is None


def test_nothing():
    found = StreamingMetrics(3)
    assert found.by_class() == {"map_all_kept": 0.0, "auc": None, "d_prime": None}
    assert found.accuracy() == {"top_1": 0.0, "top_5": 0.0}
