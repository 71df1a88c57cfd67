"""Diagnostics, against the same numbers video by video and pair by pair."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.metrics import LabelLists, global_average_precision, top_k
from pipeline.metrics.diagnostics import PARTS, Diagnostics, group_bounds

VIDEOS, CLASSES, KEPT = 700, 40, 25


@pytest.fixture(scope="module")
def scored():
    """Dense scores and labels, numbers of frames; some videos without labels."""
    rng = np.random.default_rng(0)
    hot = rng.random((VIDEOS, CLASSES)) < np.linspace(0.2, 0.005, CLASSES)
    hot[:, -1] = False
    frames = rng.choice([1, 2, 3, 4, 10], VIDEOS, p=[0.01, 0.3, 0.3, 0.01, 0.38])
    dense = (0.3 * hot + 0.7 * rng.random((VIDEOS, CLASSES))).astype(np.float32)
    return dense, hot, frames


def diagnosed(scored, parts: int) -> Diagnostics:
    dense, hot, frames = scored
    found = Diagnostics(CLASSES, frames, hot.sum(axis=1))
    labels, scores = top_k(dense, KEPT)
    for part in np.array_split(np.arange(VIDEOS), parts):
        found.accumulate(
            labels[part], scores[part], LabelLists.of([np.flatnonzero(row) for row in hot[part]]), frames[part]
        )
    return found


@pytest.fixture(scope="module")
def diagnostics(scored):
    return diagnosed(scored, 5)


def average_precision(pairs, positives) -> float:
    """Pairs of (score, correct), none of which have the same score."""
    ranked = [right for _, right in sorted(pairs, key=lambda pair: -pair[0])]
    return sum(np.mean(ranked[: place + 1]) for place in np.flatnonzero(ranked)) / positives


def best_pairs(scored, videos):
    """(class, score, correct) of the 20 best of some videos."""
    dense, hot, _ = scored
    return [(c, dense[v, c], hot[v, c]) for v in videos for c in np.argsort(-dense[v])[:20]]


def test_gap_of_all_and_of_parts(diagnostics, scored):
    dense, hot, _ = scored
    assert diagnostics.gap() == pytest.approx(global_average_precision(dense, hot))
    gaps = [global_average_precision(dense[part::PARTS], hot[part::PARTS]) for part in range(PARTS)]
    assert diagnostics.gap_error() == pytest.approx(np.std(gaps, ddof=1) / PARTS**0.5)
    assert diagnostics.videos == VIDEOS and diagnostics.positives.tolist() == hot.sum(axis=0).tolist()


def test_the_error_is_that_of_drawing_other_videos(scored):
    """Of 200 draws of as many videos, with replacement; it is told from 20 parts: to a third."""
    dense, hot, _ = scored
    rng = np.random.default_rng(0)
    draws = [rng.integers(0, VIDEOS, VIDEOS) for _ in range(200)]
    spread = np.std([global_average_precision(dense[draw], hot[draw]) for draw in draws])
    assert diagnosed(scored, 1).gap_error() == pytest.approx(spread, rel=0.4)


def test_average_precision_of_each_class(diagnostics, scored):
    pairs = best_pairs(scored, range(VIDEOS))
    for label, value in enumerate(diagnostics.class_precisions()):
        positives = scored[1][:, label].sum()
        if positives:
            own = [(score, right) for other, score, right in pairs if other == label]
            assert value == pytest.approx(average_precision(own, positives))
        else:
            assert np.isnan(value)


@pytest.mark.parametrize("by", ["frames", "labels"])
def test_gap_by_group(diagnostics, scored, by):
    dense, hot, frames = scored
    numbers = frames if by == "frames" else hot.sum(axis=1)
    groups = diagnostics.by_frames() if by == "frames" else diagnostics.by_labels()
    assert sum(group.videos for group in groups) == VIDEOS
    for group in groups:
        inside = (group.low <= numbers) & (numbers <= group.high)
        assert group.videos == inside.sum()
        if hot[inside].any():
            assert group.gap == pytest.approx(global_average_precision(dense[inside], hot[inside]))
        else:
            assert np.isnan(group.gap)
    if by == "frames":  # 1 and 4 are too few
        assert [(group.low, group.high) for group in groups] == [(1, 2), (3, 3), (4, 10)]


def test_calibration_is_of_the_best_twenty_and_of_the_best_one(diagnostics, scored):
    assert diagnostics.all.reliability().pairs.sum() == 20 * VIDEOS
    best = diagnostics.best.reliability()
    assert best.pairs.sum() == VIDEOS
    assert np.nansum(best.correct * best.pairs) == sum(scored[1][v, np.argmax(scored[0][v])] for v in range(VIDEOS))


def test_parts_change_nothing(diagnostics, scored):
    whole = diagnosed(scored, 1)
    assert whole.gap() == diagnostics.gap() and whole.gap_error() == diagnostics.gap_error()
    np.testing.assert_array_equal(whole.class_precisions(), diagnostics.class_precisions())
    assert whole.by_labels()[1:] == diagnostics.by_labels()[1:] and whole.by_frames() == diagnostics.by_frames()
    assert whole.confusions.most(9) == diagnostics.confusions.most(9)
    assert whole.all.reliability().error == pytest.approx(diagnostics.all.reliability().error)


def test_missing_predictions_are_none(scored):
    _, hot, frames = scored
    found = Diagnostics(CLASSES, frames, hot.sum(axis=1))
    truth = LabelLists.of([np.flatnonzero(row) for row in hot])
    found.accumulate(np.full((VIDEOS, 3), -1), np.zeros((VIDEOS, 3), np.float32), truth, frames)
    assert found.gap() == 0 and found.all.reliability().pairs.sum() == 0 and found.confusions.most(3) == []


def test_no_videos():
    found = Diagnostics(CLASSES, np.zeros(0, int), np.zeros(0, int))
    assert np.isnan(found.gap()) and np.isnan(found.gap_error()) and np.isnan(found.class_precisions()).all()
    assert [group.videos for group in found.by_labels()] == [0]


@given(st.lists(st.integers(0, 60), min_size=1, max_size=400), st.integers(1, 12), st.integers(1, 40))
def test_bounds(values, most, least):
    values = np.array(values)
    low = group_bounds(values, most, least)
    assert low[0] == values.min() and (np.diff(low) > 0).all() and len(low) <= most
    group = np.searchsorted(low, values, "right")
    sizes = np.bincount(group)[1:]
    assert len(low) == 1 or sizes.min() >= least


def test_each_frequent_value_has_a_group_of_its_own():
    assert group_bounds(np.repeat([1, 2, 3, 7], [30, 45, 29, 1])).tolist() == [1, 2, 3]
    assert group_bounds(np.repeat([1, 2, 3, 7], [30, 45, 29, 0])).tolist() == [1, 2]
