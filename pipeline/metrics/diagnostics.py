"""Diagnose predictions: GAP by groups of videos, precision by class, and calibration, computed part by part."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics import LabelLists, average_precisions, label_dtype
from pipeline.metrics.calibration import Calibration
from pipeline.metrics.confusion import Confusions
from pipeline.metrics.matching import matches, videos_at_a_time

PARTS = 20
"""The number of parts that a split is cut into to estimate how much its GAP varies."""


class VideoGroup(NamedTuple):
    """The videos that have from `low` to `high` of something, and the GAP when only they are ranked."""

    low: int
    high: int
    videos: int
    gap: float
    """NaN if none of them has a label."""


class Diagnostics:
    """Diagnostics of the `top_k` best labels of each video of a split, given part by part in any order.

    Keeps 10 bytes for each pair, 200 MB for a million videos. Metrics are of the kept pairs, over all true labels.

    Args:
        num_frames: int [N], the frame counts of all videos that will be given, from which groups of similar length are
            made.
        num_labels: int [N], their label counts, likewise.
    """

    def __init__(self, num_classes: int, num_frames: NDArray, num_labels: NDArray, top_k: int = 20):
        self.num_classes, self.top_k = num_classes, top_k
        self.videos = 0
        self.positives = np.zeros(num_classes, np.int64)
        """The number of videos that have each label."""
        self.all, self.best = Calibration(), Calibration()
        """The calibration of all pairs, and of the best pair of each video."""
        self.confusions = Confusions(num_classes)
        self._groups = {"frames": _Groups(num_frames), "labels": _Groups(num_labels)}
        self._parts = np.zeros(PARTS, np.int64)  # the number of labels in each part
        none, code = np.zeros(0, label_dtype(num_classes)), np.zeros(0, np.uint8)
        # label, score, correct; and of the pair's video: its group by frames, its group by labels, its part
        self._pairs: list[tuple[NDArray, ...]] = [(none, np.zeros(0, np.float32), np.zeros(0, bool), code, code, code)]

    def accumulate(self, labels: NDArray, scores: NDArray, truth: LabelLists, num_frames: NDArray) -> None:
        """Add n videos: labels int [n,K], -1 where there are fewer, scores float [n,K] descending, num_frames [n]."""
        step = videos_at_a_time(self.num_classes)
        for low in range(0, len(labels), step):
            rows = slice(low, low + step)
            offsets = truth.offsets[low : low + step + 1]
            own = LabelLists(truth.values[offsets[0] : offsets[-1]], offsets - offsets[0])
            self._add(labels[rows], scores[rows], own, num_frames[rows])

    def _add(self, labels: NDArray, scores: NDArray, truth: LabelLists, num_frames: NDArray) -> None:
        correct, found = matches(labels, truth, self.num_classes)
        self.confusions.add(labels, correct, found, truth)
        labels, scores, correct = labels[:, : self.top_k], scores[:, : self.top_k], correct[:, : self.top_k]
        kept = labels >= 0
        self.all.add(scores[kept], correct[kept])
        self.best.add(scores[:, :1][kept[:, :1]], correct[:, :1][kept[:, :1]])
        sizes = np.diff(truth.offsets)
        part = (self.videos + np.arange(len(labels))) % PARTS
        codes = self._groups["frames"].add(num_frames, sizes), self._groups["labels"].add(sizes, sizes), part
        spread = [np.repeat(code.astype(np.uint8), np.count_nonzero(kept, axis=1)) for code in codes]
        chosen = labels[kept].astype(label_dtype(self.num_classes)), scores[kept].astype(np.float32), correct[kept]
        self._pairs.append((*chosen, *spread))
        self._parts += np.bincount(part, sizes, PARTS).astype(np.int64)
        self.positives += np.bincount(truth.values, minlength=self.num_classes)
        self.videos += len(labels)

    def gap(self) -> float:
        """Return GAP; NaN if no video has a label."""
        _, scores, correct, *_ = self._all()
        return float(average_precisions(0, scores, correct, self.positives.sum(keepdims=True))[0])

    def gap_error(self) -> float:
        """Return the standard error of GAP: the standard deviation of the parts' GAP, divided by sqrt(PARTS).

        It is NaN if some part has no label.
        """
        _, scores, correct, _, _, part = self._all()
        return float(np.std(average_precisions(part, scores, correct, self._parts), ddof=1) / PARTS**0.5)

    def class_precisions(self) -> NDArray[np.float64]:
        """Return the average precision of each class, [V]; NaN for a class that no video has."""
        labels, scores, correct, *_ = self._all()
        return average_precisions(labels, scores, correct, self.positives)

    def by_frames(self) -> list[VideoGroup]:
        """Return GAP by the number of frames of the videos."""
        _, scores, correct, group, _, _ = self._all()
        return self._groups["frames"].result(group, scores, correct)

    def by_labels(self) -> list[VideoGroup]:
        """Return GAP by the number of labels of the videos."""
        _, scores, correct, _, group, _ = self._all()
        return self._groups["labels"].result(group, scores, correct)

    def _all(self) -> tuple[NDArray, ...]:
        if len(self._pairs) > 1:
            self._pairs = [tuple(map(np.concatenate, zip(*self._pairs)))]
        return self._pairs[0]


class _Groups:
    """Groups of videos by a number that each has."""

    def __init__(self, values: NDArray[np.integer]):
        self.low = group_bounds(values)
        self.high = np.append(self.low[1:] - 1, np.max(values, initial=int(self.low[-1])))
        self.videos, self.positives = np.zeros((2, len(self.low)), np.int64)

    def add(self, values: NDArray[np.integer], num_labels: NDArray[np.integer]) -> NDArray[np.int64]:
        """Add videos, and return the group of each."""
        group = np.searchsorted(self.low, values, "right") - 1
        self.videos += np.bincount(group, minlength=len(self.low))
        self.positives += np.bincount(group, num_labels, len(self.low)).astype(np.int64)
        return group

    def result(self, group: NDArray, scores: NDArray, correct: NDArray) -> list[VideoGroup]:
        gaps = average_precisions(group, scores, correct, self.positives)
        columns = self.low.tolist(), self.high.tolist(), self.videos.tolist(), gaps.tolist()
        return [VideoGroup(*row) for row in zip(*columns)]


def group_bounds(values: NDArray[np.integer], most: int = 10, least: int = 30) -> NDArray[np.int64]:
    """Return where groups of similar values begin, ascending; the first group begins at the smallest value.

    A value that at least `least` videos have gets its own group. Otherwise the next values join it until the group has
    that many videos. `least` is doubled until there are at most `most` groups.
    """
    found, counts = np.unique(np.asarray(values, np.int64), return_counts=True)
    while True:
        low, size = [], least
        for value, count in zip(found.tolist(), counts.tolist()):
            if size >= least:
                low.append(value)
                size = 0
            size += count
        if size < least and len(low) > 1:  # too few are left for a group: they join the previous one
            low.pop()
        if len(low) <= most:
            return np.array(low or [0], np.int64)
        least *= 2
