"""Thresholds against a slow form and scikit-learn's: ties, any parts, classes that are rare or never kept."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_curve, precision_recall_fscore_support

from pipeline import metrics
from pipeline.metrics import LabelLists
from pipeline.metrics.thresholds import NEVER, Choice, Kept, ThresholdSearch, reach

GOALS = st.sampled_from(["f1", "precision", "recall"])
VALUES = st.sampled_from([0.2, 0.5, 2 / 3, 0.9, 1.0])


@st.composite
def cases(draw):
    """Scores of few levels or of many, of either type, of all classes or the best; rare, frequent and absent labels."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    videos, number = draw(st.integers(1, 40)), draw(st.integers(1, 6))
    levels = draw(st.sampled_from([1, 2, 3, 1_000_000]))
    hot = rng.random((videos, number)) < rng.choice([0, 0.1, 0.5, 1], number)
    noise = draw(st.sampled_from([0, 0.5, 1]))
    known = (1 - noise) * hot + noise * rng.random((videos, number))
    scores = (np.floor(known * levels) / levels).astype(draw(st.sampled_from(["f4", "f8"])))
    return scores, hot, draw(st.integers(1, number))


def lists(hot) -> LabelLists:
    return LabelLists.of([np.flatnonzero(row) for row in hot])


def searched(scores, hot, kept: int, parts: int = 1) -> ThresholdSearch:
    """Given twice, in as many parts, the second time backwards."""
    search = ThresholdSearch(scores.shape[1])
    labels, best = metrics.top_k(scores, kept)
    pieces = np.array_split(np.arange(len(scores)), parts)
    for rows in pieces:
        search.find(labels[rows], best[rows], lists(hot[rows]))
    for rows in pieces[::-1]:
        search.count(labels[rows], best[rows])
    return search


def slowly(pairs: list[tuple[float, bool]], positives: int, goal: str, value: float) -> tuple[float, bool]:
    """Try every score as the threshold, the highest first."""
    tried = []
    for threshold in sorted({score for score, _ in pairs}, reverse=True):
        said = [right for score, right in pairs if score >= threshold]
        tried.append((threshold, sum(said), len(said)))
    if not any(right for _, right in pairs):
        return NEVER, False
    if goal == "f1":
        best = max(2 * right / (said + positives) for _, right, said in tried)
        return next(threshold for threshold, right, said in tried if 2 * right / (said + positives) == best), True
    if goal == "precision":
        good = [(right, threshold) for threshold, right, said in tried if right and right / said >= value]
        most = max((right for right, _ in good), default=0)
        return (max(threshold for right, threshold in good if right == most), True) if good else (NEVER, False)
    for threshold, right, _ in tried:
        if right / positives >= value:
            return threshold, True
    most = max(right for _, right, _ in tried)
    return next(threshold for threshold, right, _ in tried if right == most), False


@settings(max_examples=200, deadline=None)
@given(cases(), GOALS, VALUES, st.integers(1, 5), st.booleans(), st.integers(1, 3))
def test_thresholds_are_those_of_the_slow_form(case, goal, value, least, shared, parts):
    scores, hot, kept = case
    found = searched(scores, hot, kept, parts).choose(goal, value, shared, least)
    labels, best = metrics.top_k(scores, kept)
    pairs = [
        (int(label), float(score), bool(hot[video, label]))
        for video in range(len(scores))
        for label, score in zip(labels[video], best[video])
    ]
    together, reached = slowly([(score, right) for _, score, right in pairs], int(hot.sum()), goal, value)
    assert found.shared == together
    for label, positives in enumerate(hot.sum(axis=0).tolist()):
        own = positives >= least and not shared
        mine = [(score, right) for other, score, right in pairs if other == label]
        wanted, good = slowly(mine, positives, goal, value) if own else (together, reached)
        assert (found.by_class[label], bool(found.own[label]), bool(found.missed[label])) == (wanted, own, not good)


@settings(max_examples=100, deadline=None)
@given(cases(), VALUES)
def test_they_are_the_best_points_of_scikit_learns_curve(case, value):
    scores, hot, _ = case
    search = searched(scores, hot, scores.shape[1])
    for label in np.flatnonzero(hot.any(axis=0)):
        precision, recall, thresholds = precision_recall_curve(hot[:, label], scores[:, label])
        precision, recall = precision[:-1], recall[:-1]  # the last point is of no threshold
        with np.errstate(invalid="ignore"):
            f1 = np.nan_to_num(2 * precision * recall / (precision + recall))
        at = {goal: search.choose(goal, value, False, 1).by_class[label] for goal in ("f1", "precision", "recall")}
        assert f1[thresholds == at["f1"]] == pytest.approx(f1.max(), abs=1e-12)
        assert at["recall"] == thresholds[recall >= value].max()
        good = (precision >= value) & (recall > 0)
        if good.any():
            (place,) = np.flatnonzero(thresholds == at["precision"])
            assert good[place] and recall[place] == recall[good].max()
        else:
            assert at["precision"] == NEVER


@settings(max_examples=100, deadline=None)
@given(cases(), GOALS, st.integers(1, 3))
def test_what_they_keep_is_counted_as_scikit_learn_does(case, goal, parts):
    scores, hot, kept = case
    labels, best = metrics.top_k(scores, kept)
    by_class = searched(scores, hot, kept).choose(goal, 0.5, False, 2).by_class
    counted = Kept(scores.shape[1])
    for rows in np.array_split(np.arange(len(scores)), parts):
        counted.add(labels[rows], best[rows], lists(hot[rows]), by_class)
    said = np.zeros_like(hot)
    np.put_along_axis(said, labels.astype(int), best.astype(float) >= by_class[labels], axis=1)
    found = counted.figures()
    assert (found["videos"], found["without"]) == (len(hot), np.count_nonzero(~said.any(axis=1)))
    assert found["labels"] == pytest.approx(said.sum() / len(hot))
    there = np.flatnonzero(hot.any(axis=0))
    for prefix, average, columns in (("", "micro", slice(None)), ("macro_", "macro", there)):
        wanted = (0, 0, 0)
        if average == "micro" or len(there):
            wanted = precision_recall_fscore_support(
                *(np.atleast_2d(each[:, columns]) if each.shape[1] > 1 else each for each in (hot, said)),
                average=average if hot[:, columns].shape[1] > 1 else "binary",
                zero_division=0,
            )[:3]
        got = [found[f"{prefix}{name}"] for name in ("precision", "recall", "f1")]
        assert got == pytest.approx(wanted, abs=1e-12)


def test_equal_scores_stand_or_fall_together():
    """The first two are right, and a wrong one has the score of the second: it is said too, or the right one is not."""
    scores, hot = np.array([[0.9], [0.5], [0.5], [0.1]], np.float32), np.array([[1], [1], [0], [0]], bool)
    search = searched(scores, hot, 1)
    assert search.choose("precision", 1.0, False, 1).by_class == [np.float32(0.9)]
    assert search.choose("precision", 2 / 3, False, 1).by_class == [0.5]
    assert search.choose("recall", 1.0, False, 1).by_class == [0.5]
    assert search.choose("recall", 0.5, False, 1).by_class == [np.float32(0.9)]


def test_of_equal_f1_the_highest_threshold_says_fewest():
    """One of two, alone, is as good as both with two wrong ones: 2 / 3."""
    scores, hot = np.array([[0.9], [0.8], [0.7], [0.6]], np.float32), np.array([[1], [0], [0], [1]], bool)
    assert searched(scores, hot, 1).choose("f1", 0, False, 1).by_class == [np.float32(0.9)]


def test_classes_that_cannot_reach_it():
    """Class 0 is found, 1 too, behind a wrong one; 2 is labeled and never kept; 3 has no video."""
    labels = np.array([[0, 1, -1], [1, 0, -1], [0, 3, -1]])
    scores = np.array([[0.9, 0.8, 0], [0.7, 0.2, 0], [0.6, 0.3, 0]], np.float32)
    truth = LabelLists.of([[0, 2], [1, 2], [0]])
    search = ThresholdSearch(4)
    search.find(labels, scores, truth)
    search.count(labels, scores)
    found = search.choose("precision", 0.9, False, 1)
    assert found.by_class[:3].tolist() == [np.float32(0.6), NEVER, NEVER] and found.missed.tolist()[:3] == [
        False,
        True,
        True,
    ]
    assert found.own.tolist() == [True, True, True, False]
    assert found.by_class[3] == found.shared == np.float32(0.9)  # of all pairs, the first alone is 0.9 right
    found = search.choose("recall", 0.9, False, 1)
    assert found.by_class[:3].tolist() == [np.float32(0.6), np.float32(0.7), NEVER]
    assert found.shared == np.float32(0.6) and found.missed.tolist() == [False, False, True, True]  # 3 of 5 are there
    assert search.choose("f1", 0, True, 1).by_class.tolist() == [np.float32(0.6)] * 4


def test_scores_and_thresholds_are_compared_as_numbers():
    """0.3 as float32 is larger than 0.3, and 0.7 smaller; padding is never assigned."""
    labels = np.array([[0, 1, -1]])
    scores = np.array([[0.7, 0.3, 1]], np.float32)
    assert reach(labels, scores, np.array([0.7, 0.3])).tolist() == [[False, True, False]]
    assert reach(labels, scores, np.float32([0.7, 0.3]).astype(float)).tolist() == [[True, True, False]]
    assert not reach(labels, np.ones_like(scores), np.full(2, NEVER)).any()


def test_nothing():
    search = ThresholdSearch(2)
    for goal in ("f1", "precision", "recall"):
        by_class, shared, own, missed = search.choose(goal, 0.5, False, 1)
        assert Choice(by_class.tolist(), shared, own.tolist(), missed.tolist()) == ([2, 2], 2, [False] * 2, [True] * 2)
    assert not any(Kept(2).figures().values()) and math.isfinite(Kept(2).figures()["macro_f1"])
