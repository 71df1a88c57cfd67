"""Confusions, against loops over the videos."""

from collections import Counter
from itertools import product

import numpy as np
import pytest

from pipeline.metrics import LabelLists, confusion
from pipeline.metrics.confusion import Confusions
from pipeline.metrics.matching import matches

CLASSES = 9


@pytest.fixture
def videos():
    rng = np.random.default_rng(0)
    labels = np.stack([rng.permutation(CLASSES)[:4] for _ in range(400)])
    labels[rng.random(400) < 0.2, -1:] = -1
    return labels, [rng.permutation(CLASSES)[: rng.integers(6)] for _ in range(400)]


def counted(labels, lists) -> Counter:
    counts = Counter()
    for row, true in zip(labels.tolist(), lists):
        true = true.tolist()
        first = [label for label in row[: len(true)] if label >= 0]
        missed = [label for label in true if label not in first]
        counts.update(product(missed, [label for label in first if label not in true]))
    return counts


def confusions(labels, lists, parts: int) -> Confusions:
    found = Confusions(CLASSES)
    for part in np.array_split(np.arange(len(lists)), parts):
        truth = LabelLists.of([lists[i] for i in part])
        found.add(labels[part], *matches(labels[part], truth, CLASSES), truth)
    return found


@pytest.mark.parametrize("kept", [confusion._KEYS, 10])
def test_counts_whatever_the_parts(videos, kept, monkeypatch):
    monkeypatch.setattr(confusion, "_KEYS", kept)
    counts = counted(*videos)
    found = confusions(*videos, parts=9).most(CLASSES**2)
    assert {(each.missed, each.predicted): each.videos for each in found} == counts
    assert [each.videos for each in found] == sorted(counts.values(), reverse=True)
    assert confusions(*videos, parts=1).most(5) == found[:5]


def test_beyond_chance(videos):
    counts = counted(*videos)
    missed, predicted = Counter(), Counter()
    for (one, other), number in counts.items():
        missed[one] += number
        predicted[other] += number
    beyond = {}
    for (one, other), number in counts.items():
        expected = missed[one] * predicted[other] / counts.total()
        if number >= 3 and number > expected:
            beyond[one, other] = (number - expected) / expected**0.5
    found = confusions(*videos, parts=3).closest(7, least=3)
    assert [(each.missed, each.predicted) for each in found] == sorted(beyond, key=beyond.get, reverse=True)[:7]


def test_a_label_predicted_everywhere_is_not_the_closest():
    """0 is predicted for each of 1..4; 5 and 6 are taken for each other, in fewer videos."""
    lists = [np.array([1 + i % 4]) for i in range(40)] + [np.array([5 + i % 2]) for i in range(8)]
    labels = np.array([[0]] * 40 + [[6 - i % 2] for i in range(8)])
    found = confusions(labels, lists, parts=2)
    assert [(each.missed, each.predicted) for each in found.most(4)] == [(1, 0), (2, 0), (3, 0), (4, 0)]
    assert [(each.missed, each.predicted) for each in found.closest(2)] == [(5, 6), (6, 5)]


def test_nothing_is_confused():
    assert Confusions(CLASSES).most(3) == Confusions(CLASSES).closest(3) == []
