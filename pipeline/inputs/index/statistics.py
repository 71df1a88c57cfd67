"""Count what a dataset's card shows: how often labels, lengths and values occur, and why records are left out."""

import re
from collections import Counter
from typing import Any

import numpy as np

from pipeline.config import DatasetConfig
from pipeline.inputs.index.check import ShardReport

KINDS = 100
"""How many kinds of reasons are counted separately; further kinds count as OTHERS."""
OTHERS = "other reasons"


class Statistics:
    """Counts over the rows of an index as its shards come in; only a few numbers per split and class are in memory."""

    def __init__(self, dataset: DatasetConfig, splits: list[str]):
        self.dataset, self.splits = dataset, splits
        self._videos, self._labeled = np.zeros((2, len(splits)), np.int64)
        self._labels = np.zeros((len(splits), dataset.num_classes), np.int64)
        self._labels_a_video: list[Counter[int]] = [Counter() for _ in splits]
        self._frames_a_video: list[Counter[int]] = [Counter() for _ in splits]
        self._values = np.zeros((len(dataset.features), 256), np.int64)
        self._lowest = np.full(len(dataset.features), np.inf)
        self._highest = np.zeros(len(dataset.features))
        self._read = self._cut = self._longest = 0
        self._reasons: Counter[str] = Counter()

    def add(self, report: ShardReport, kept: np.ndarray, codes: np.ndarray, reasons: list[str]) -> None:
        """Add a shard to the counts.

        Args:
            report: the report of the shard.
            kept: int64 [m], the records that are in the index.
            codes: int32 [m], the number of each one's split.
            reasons: why each of the quarantined records is left out.
        """
        numbers = np.diff(report.label_offsets)
        for code in np.unique(codes):
            rows = kept[codes == code]
            self._videos[code] += len(rows)
            self._labeled[code] += np.count_nonzero(report.labeled[rows])
            self._labels_a_video[code].update(numbers[rows][report.labeled[rows]].tolist())
            self._frames_a_video[code].update(report.num_frames[rows].tolist())
        split = np.full(len(report.ids), len(self.splits))  # records not kept get the number after the last split
        split[kept] = codes
        places = np.repeat(split, numbers) * self.dataset.num_classes + report.labels
        self._labels += np.bincount(places[places < self._labels.size], minlength=self._labels.size).reshape(
            self._labels.shape
        )
        self._values += report.values
        self._lowest = report.peaks.min(axis=0, initial=np.inf).clip(max=self._lowest)
        self._highest = report.peaks.max(axis=0, initial=0).clip(min=self._highest)
        self._read += len(report.ids)
        self._cut += report.cut
        self._longest = max(self._longest, int(report.num_frames.max(initial=0)))
        for reason in reasons:
            kind = kind_of_reason(reason)
            self._reasons[kind if kind in self._reasons or len(self._reasons) < KINDS else OTHERS] += 1

    @property
    def videos(self) -> dict[str, int]:
        """The number of rows in each split."""
        return dict(zip(self.splits, self._videos.tolist()))

    @property
    def labeled(self) -> dict[str, int]:
        """The number of rows in each split whose labels are known, be it that there are none; 0 if no label occurs."""
        return dict(zip(self.splits, np.where(self._labels.any(axis=1), self._labeled, 0).tolist()))

    @property
    def cut(self) -> dict[str, int]:
        """How many videos have more than max_frames frames, of how many, and the most frames; duplicates count too."""
        return {"count": self._cut, "of": self._read, "longest": self._longest}

    @property
    def constant(self) -> dict[str, float]:
        """The features that have only one value where they were sampled, and this value (for floats, its size)."""
        found = {}
        for number, feature in enumerate(self.dataset.features):
            values = np.flatnonzero(self._values[number])
            if len(values) == 1 and self._lowest[number] == self._highest[number]:
                found[feature.name] = float(values[0] if self.dataset.quantized else self._highest[number])
        return found

    def summary(self) -> dict[str, Any]:
        """Return every histogram as {value: count}, by split or by feature, without values that never occur."""
        return {
            "videos_a_label": {split: _nonzero(counts) for split, counts in zip(self.splits, self._labels)},
            "labels_a_video": {split: _ordered(counts) for split, counts in zip(self.splits, self._labels_a_video)},
            "frames_a_video": {split: _ordered(counts) for split, counts in zip(self.splits, self._frames_a_video)},
            "values": {f.name: _nonzero(counts) for f, counts in zip(self.dataset.features, self._values)},
            "reasons": dict(sorted(self._reasons.items(), key=lambda pair: (-pair[1], pair[0]))),
        }


def value_histograms(statistics: dict[str, Any], dataset: DatasetConfig) -> np.ndarray:
    """Return the value histograms of a summary, int64 [features,256]."""
    values = np.zeros((len(dataset.features), 256), np.int64)
    for row, feature in zip(values, dataset.features):
        for value, count in statistics["values"][feature.name].items():
            row[int(value)] = count
    return values


def kind_of_reason(reason: str) -> str:
    """Return a reason without what differs between records: ids, numbers, quoted text, and lists of what is there."""
    reason = re.sub(r"^video (['\"]).*?\1: ", "", reason).partition("; there are:")[0]
    return re.sub(r"(?:(?<=\s)-)?\d+", "#", re.sub(r"(?<!\w)b?(['\"]).*?\1(?!\w)", "'...'", reason))[:160]


def _nonzero(counts: np.ndarray) -> dict[str, int]:
    return {str(value): int(counts[value]) for value in np.flatnonzero(counts)}


def _ordered(counts: Counter[int]) -> dict[str, int]:
    return {str(value): counts[value] for value in sorted(counts)}
