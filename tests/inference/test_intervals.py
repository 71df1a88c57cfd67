"""Intervals of classes from scores of windows: where they begin and end, which classes, in which order."""

import numpy as np

from pipeline.inference.intervals import Interval, find_intervals, interval_values
from pipeline.inference.windows import WindowSettings

WINDOWS = WindowSettings(10, 5).of(40)  # middles 5, 10, .. 35
SCORES = np.array(
    [
        [0.9, 0.1, 0.5],
        [0.8, 0.7, 0.2],
        [0.1, 0.6, 0.2],
        [0.2, 0.75, 0.2],
        [0.2, 0.1, 0.2],
        [0.6, 0.2, 0.2],
        [0.7, 0.2, 0.5],
    ]
)


def test_neighbors_merge_and_what_is_apart_stays_apart():
    assert find_intervals(SCORES, WINDOWS, np.array([0.5, 0.5, 0.5])) == [
        Interval(0, 0, 12.5, 5, 0.9),
        Interval(2, 0, 7.5, 5, 0.5),
        Interval(1, 7.5, 22.5, 20, 0.75),
        Interval(0, 27.5, 40, 35, 0.7),
        Interval(2, 32.5, 40, 35, 0.5),
    ]


def test_each_class_has_its_threshold():
    assert find_intervals(SCORES, WINDOWS, np.array([0.85, 0.7, 1.1])) == [
        Interval(0, 0, 7.5, 5, 0.9),
        Interval(1, 7.5, 12.5, 10, 0.7),
        Interval(1, 17.5, 22.5, 20, 0.75),
    ]


def test_the_best_classes_are_kept_with_all_their_intervals():
    assert {each.label for each in find_intervals(SCORES, WINDOWS, np.full(3, 0.5), top=1)} == {0}
    assert len(find_intervals(SCORES, WINDOWS, np.full(3, 0.5), top=2)) == 3
    assert find_intervals(SCORES, WINDOWS, np.full(3, 0.99)) == []


def test_what_is_told_of_an_interval():
    told = interval_values(Interval(1, 1 / 3, 2.0, 1.16667, 0.12345678), ["a", "b"])
    assert told == {"label": 1, "name": "b", "start": 0.333, "end": 2.0, "peak": 1.167, "score": 0.123457}


def test_scenes_are_found_within_a_window():
    """Windows that score the share of their frames that lie in the scene, as a model would at its best."""
    rng = np.random.default_rng(0)
    right = 0
    for _ in range(200):
        num_frames = int(rng.integers(60, 300))
        start, end = np.sort(rng.choice(np.arange(num_frames + 1), 2, replace=False))
        end = max(end, min(start + 12, num_frames))
        windows = WindowSettings(10, 5).of(num_frames)
        seen = windows.starts[:, None] + np.arange(10)
        share = ((seen >= start) & (seen < end)).mean(axis=1, keepdims=True)
        (found,) = find_intervals(share, windows, np.array([0.5])) or [None]
        right += found is not None and abs(found.start - start) <= 10 and abs(found.end - end) <= 10
    assert right >= 0.98 * 200
