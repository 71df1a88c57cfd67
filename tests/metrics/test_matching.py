"""Predictions beside the truth, against sets and loops."""

import numpy as np
import pytest

from pipeline.metrics import LabelLists, matching
from pipeline.metrics.matching import correct_pairs, hash_label_sets, matches, telling_videos, video_precisions

CLASSES = 12


@pytest.fixture
def given():
    """50 videos: 7 predictions each, some of which are missing, and from 0 to 5 labels."""
    rng = np.random.default_rng(0)
    labels = np.stack([rng.permutation(CLASSES)[:7] for _ in range(50)])
    labels[rng.random(50) < 0.3, -2:] = -1
    lists = [rng.permutation(CLASSES)[: rng.integers(6)] for _ in range(50)]
    return labels, lists, LabelLists.of(lists)


def test_matches_are_those_of_sets(given):
    labels, lists, truth = given
    correct, found = matches(labels, truth, CLASSES)
    assert correct.tolist() == [[label in set(true) for label in row] for row, true in zip(labels.tolist(), lists)]
    places = [row.index(label) if label in row else 7 for row, true in zip(labels.tolist(), lists) for label in true]
    assert found.tolist() == places


@pytest.mark.parametrize("at_once", [1, 7, 50, 512])
def test_any_number_of_videos_is_compared(given, at_once, monkeypatch):
    labels, _, truth = given
    monkeypatch.setattr(matching, "videos_at_a_time", lambda classes: at_once)
    np.testing.assert_array_equal(correct_pairs(labels, truth, CLASSES), matches(labels, truth, CLASSES)[0])
    assert correct_pairs(labels[:0], LabelLists.of([]), CLASSES).shape == (0, 7)


def test_a_video_s_average_precision(given):
    labels, lists, truth = given
    correct, _ = matches(labels, truth, CLASSES)
    for value, row, true in zip(video_precisions(correct, np.diff(truth.offsets)), correct, lists):
        if len(true):
            precisions = [row[: place + 1].mean() for place in np.flatnonzero(row)]
            assert value == pytest.approx(sum(precisions) / len(true))
        else:
            assert np.isnan(value)


def test_the_same_labels_in_any_order_are_one_set():
    lists = [[3, 1, 2], [2, 3, 1], [], [1, 2], [3], [], [0]]
    sets = hash_label_sets(LabelLists.of(lists), CLASSES).tolist()
    for a, one in zip(sets, lists):
        for b, other in zip(sets, lists):
            assert (a == b) == (sorted(one) == sorted(other))


def test_telling_videos_are_the_ends_and_the_middle():
    precisions = np.array([1.0, 1.0, 1.0, 0.5, 0.75, 0.0, 0.0, np.nan, 0.5])
    num_labels = np.array([1, 3, 3, 2, 1, 1, 1, 0, 5])
    confidence = np.array([0.9, 0.8, 0.95, 0.3, 0.4, 0.7, 0.9, 1.0, 0.2])
    sets = np.arange(9)
    # The median is 0.625: of those as near to it, that with the most labels.
    assert telling_videos(precisions, num_labels, confidence, sets, each=1) == {
        "best": [2],
        "middle": [8],
        "worst": [6],
    }
    sets[1] = sets[2]
    found = telling_videos(precisions, num_labels, confidence, sets, each=2)
    assert found["best"] == [2, 0] and found["worst"] == [6, 5]
    assert len({place for places in found.values() for place in places}) == 6
    nothing = telling_videos(np.array([np.nan]), np.array([0]), np.array([0.5]), np.array([0]))
    assert nothing == {"best": [], "middle": [], "worst": []} == telling_videos(*(np.zeros(0) for _ in range(4)))
