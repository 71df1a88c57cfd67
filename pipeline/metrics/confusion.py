"""Count which label is confused with which: a label of the video is missed, and another is predicted in its place."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics import LabelLists

_KEYS = 1 << 20  # how many are collected before they are merged


class Confusion(NamedTuple):
    """How many videos have a label that is missed, and lack another that is predicted."""

    missed: int
    predicted: int
    videos: int


class Confusions:
    """Counts all pairs of labels, for videos given part by part; only pairs that occur take memory."""

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self._merged = np.empty(0, np.int64), np.empty(0, np.int64)  # missed * V + predicted, ascending; videos
        self._waiting: list[NDArray[np.int64]] = []

    def add(self, labels: NDArray, correct: NDArray, found: NDArray, truth: LabelLists) -> None:
        """Add videos: labels int [n,K], best first, -1 for none; the two results of `matches`; and the true labels.

        As in PERR, a video with k labels has k predictions. Each wrong one counts as confused with each missed label.
        """
        sizes = np.diff(truth.offsets)
        wrong = (np.arange(labels.shape[1]) < sizes[:, None]) & ~correct & (labels >= 0)
        numbers = np.count_nonzero(wrong, axis=1)
        begins = np.cumsum(numbers) - numbers
        video = np.repeat(np.arange(len(labels)), sizes)
        missed = np.flatnonzero(found >= np.minimum(sizes, labels.shape[1])[video])
        times = numbers[video[missed]]
        place = np.arange(times.sum()) - np.repeat(np.cumsum(times) - times - begins[video[missed]], times)
        keys = np.repeat(truth.values[missed].astype(np.int64), times) * self.num_classes + labels[wrong][place]
        self._waiting.append(keys)
        if sum(map(len, self._waiting)) > max(_KEYS, len(self._merged[0])):
            self._merge()

    def most(self, number: int) -> list[Confusion]:
        """Return the pairs that occur in the most videos; among equals the smaller labels come first."""
        self._merge()
        keys, counts = self._merged
        return self._listed(np.lexsort((keys, -counts))[:number])

    def closest(self, number: int, least: int = 3) -> list[Confusion]:
        """Return the pairs that occur most beyond chance, and in at least `least` videos.

        Pairs are ranked by (observed - expected) / sqrt(expected). The expected number assumes that a missed label
        meets each wrong prediction as often as that prediction occurs overall. So a label that is predicted everywhere
        does not count as confused with everything.
        """
        self._merge()
        keys, counts = self._merged
        missed, wrong = keys // self.num_classes, keys % self.num_classes
        of_missed, of_wrong = (np.bincount(labels, counts, self.num_classes) for labels in (missed, wrong))
        expected = of_missed[missed] * of_wrong[wrong] / max(int(counts.sum()), 1)
        beyond = (counts - expected) / np.sqrt(expected)
        order = np.lexsort((keys, -beyond))
        return self._listed(order[(counts[order] >= least) & (beyond[order] > 0)][:number])

    def _listed(self, places: NDArray[np.integer]) -> list[Confusion]:
        keys, counts = (array[places].tolist() for array in self._merged)
        pairs = (divmod(key, self.num_classes) for key in keys)
        return [Confusion(missed, wrong, videos) for (missed, wrong), videos in zip(pairs, counts)]

    def _merge(self) -> None:
        if self._waiting:
            keys, counts = self._merged
            new, times = np.unique(np.concatenate(self._waiting), return_counts=True)
            every, place = np.unique(np.concatenate([keys, new]), return_inverse=True)
            self._merged = every, np.bincount(place, np.concatenate([counts, times]), len(every)).astype(np.int64)
            self._waiting = []
