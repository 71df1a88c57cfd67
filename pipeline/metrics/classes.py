"""Rank all videos by each class: its average precision and the area under its ROC curve, exact, in two passes."""

import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.precision import block_sums, codes_like, scores_like

_AT_ONCE = 1 << 22
"""Pairs that are sorted at a time, 8 bytes each."""


class Cuts(NamedTuple):
    """Where the rankings of all videos by each class may be cut: below each different score of a correct pair.

    By class, and within a class by descending score. A cut below any other score only adds wrong pairs to these.
    """

    classes: NDArray[np.int64]
    """[C]"""
    scores: NDArray[np.floating]
    """[C], the lowest score above the cut, of the type that was given."""
    correct: NDArray[np.int64]
    """[C], the correct pairs above the cut, those of equal scores included."""
    pairs: NDArray[np.int64]
    """[C], all pairs above the cut, likewise."""


class ClassRankings:
    """The rankings of all videos by each of V classes, as (video, class) pairs with a score, given twice in parts.

    First `find` is given every correct pair, then `count` every pair, in any parts and order. What is kept is some 40
    bytes for each correct pair, however many others there are: for each score of one, how many pairs of its class are
    ahead of it, and how many have the same score. Average precision and ROC curve follow from these alone.
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self._found: list[tuple[NDArray, NDArray]] = []
        self._keys: NDArray[np.int64] | None = None

    def find(self, classes: NDArray[np.integer], scores: NDArray[np.floating]) -> None:
        """Add correct pairs: their classes, int [M], and scores, float [M] of one type throughout."""
        self._found.append((classes, scores))

    def count(self, classes: NDArray[np.integer], scores: NDArray[np.floating]) -> None:
        """Count pairs, correct or not: their classes, int [M], and scores, float [M] of the type given to `find`."""
        if self._keys is None:
            self._begin()
        assert self._keys is not None
        for low in range(0, len(scores), _AT_ONCE):
            part = slice(low, low + _AT_ONCE)
            keys = classes[part].astype(np.int64) << 32 | codes_like(scores[part], self._levels)
            keys.sort()
            first = np.searchsorted(keys, self._keys)
            self._ahead += first - np.searchsorted(keys, self._keys >> 32 << 32)
            self._size += np.searchsorted(keys, self._keys, "right") - first

    def precision_sums(self) -> NDArray[np.float64]:
        """Return the sum of precision over the correct pairs of each class, [V], as `precision.precision_sums`."""
        if self._keys is None:
            self._begin()
        assert self._keys is not None
        return block_sums(self._keys >> 32, self._right, self._size, self._ahead, self.num_classes)

    def average_precisions(self, positives: NDArray[np.integer]) -> NDArray[np.float64]:
        """Return the average precision of each class, [V]; NaN for a class without a positive, of which there are [V].

        It is scikit-learn's: the precision above each cut, weighted by the recall that the cut's score adds. A block of
        equal scores is one cut; `precision_sums` takes the mean over its orders, as MAP does. They are equal without.
        """
        cuts, sums = self.cuts(), np.zeros(self.num_classes)
        np.add.at(sums, cuts.classes, self._right * cuts.correct / cuts.pairs)
        return np.divide(sums, positives, out=np.full(self.num_classes, np.nan), where=positives > 0)

    def cuts(self) -> Cuts:
        """Return where the rankings may be cut."""
        if self._keys is None:
            self._begin()
        assert self._keys is not None
        group, above = self._keys >> 32, np.cumsum(self._right)
        above -= (above - self._right)[np.searchsorted(group, group)]
        scores = scores_like(self._keys & 0xFFFFFFFF, self._levels)
        return Cuts(group, scores, above, self._ahead + self._size)

    def areas(self, positives: NDArray[np.integer], videos: int) -> NDArray[np.float64]:
        """Return the area under the ROC curve of each class, [V]; NaN for a class that all videos have, or none.

        It is the share of pairs of a video with the class and one without that are ranked rightly; equal scores count
        half (Hanley, McNeil 1982). Every video must have been given with every class.
        """
        if self._keys is None:
            self._begin()
        assert self._keys is not None
        group = self._keys >> 32
        hits = np.cumsum(self._right) - self._right
        hits -= hits[np.searchsorted(group, group)]  # correct pairs ahead
        wrong = 2 * (self._ahead - hits) + self._size - self._right  # twice the pairs without the class that are ahead
        lost = np.zeros(self.num_classes, np.int64)
        np.add.at(lost, group, self._right * wrong)
        pairs = positives.astype(np.int64) * (videos - positives.astype(np.int64))
        return np.divide(2 * pairs - lost, 2 * pairs, out=np.full(self.num_classes, np.nan), where=pairs > 0)

    def _begin(self) -> None:
        empty = np.zeros(0, np.int64), np.zeros(0, np.float32)
        classes, scores = map(np.concatenate, zip(*(self._found or [empty])))
        self._found = []
        self._levels = None if scores.dtype == np.float32 else np.unique(scores)
        keys = classes.astype(np.int64) << 32 | codes_like(scores, self._levels)
        self._keys, self._right = np.unique(keys, return_counts=True)
        self._ahead, self._size = np.zeros((2, len(self._keys)), np.int64)


def sensitivities(areas: NDArray[np.float64], positives: NDArray[np.integer], videos: int) -> NDArray[np.float64]:
    """Return d' of each class, [V]: sqrt(2) times the standard normal quantile of its area; NaN where that is NaN.

    An area of 0 or 1 has no finite quantile: it counts as half a pair of videos short of that.
    """
    half = 1 / np.maximum(2 * positives.astype(np.float64) * (videos - positives), 2)
    bounded = np.clip(areas, half, 1 - half)
    quantile = NormalDist().inv_cdf
    return np.array([math.sqrt(2) * quantile(area) if area == area else math.nan for area in bounded.tolist()])


def mean_of_known(values: NDArray[np.float64]) -> float | None:
    """Return the mean over the classes that have a value; None if none has."""
    known = values[~np.isnan(values)]
    return float(np.mean(known)) if len(known) else None
