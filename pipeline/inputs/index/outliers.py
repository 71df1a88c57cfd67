"""Videos whose float values are far beyond those of the others: finite, yet they spoil a model's running statistics."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.config import DatasetConfig
from pipeline.inputs.index.check import ShardReport


@dataclass(frozen=True)
class OutlierLimits:
    """How large the values of a video may be, compared with those of the median video."""

    names: tuple[str, ...]
    """Of the features."""
    medians: np.ndarray
    """float64 [features], over the videos that are not silent; 0 where all are: then anything goes."""
    ratio: float

    def exceeded(self, peaks: np.ndarray) -> np.ndarray:
        """Whether videos, by their peaks [n,features], are beyond them in each of their features: bool [n,features]."""
        return (peaks > self.ratio * self.medians) & (self.medians > 0)

    def reasons(self, report: ShardReport) -> dict[int, str]:
        """Why records are left out, by their number in a report."""
        beyond = self.exceeded(report.peaks)
        found = {}
        for row in np.flatnonzero(beyond.any(axis=1)).tolist():
            feature = int(beyond[row].argmax())
            peak = float(report.peaks[row, feature])
            times = peak / self.medians[feature]
            found[row] = (
                f"video {report.ids[row]!r}: feature {self.names[feature]} reaches {peak:.1e}, {times:.1e} times the "
                "median video's largest value (--outlier-ratio)"
            )
        return found


class OutlierDetector:
    """Notes the peaks of all videos as their reports pass: four bytes a video and feature stay in memory."""

    def __init__(self, dataset: DatasetConfig):
        self._names = tuple(feature.name for feature in dataset.features)
        self._noted: list[np.ndarray] = []

    def noted(self, reports: Iterable[ShardReport]) -> Iterator[ShardReport]:
        """The same reports, one by one."""
        for report in reports:
            if report.peaks.any():
                self._noted.append(report.peaks)
            yield report

    def limits(self, ratio: float) -> OutlierLimits | None:
        """The limits that all videos noted give; None where none exceeds them, or the ratio is 0."""
        if not ratio or not self._noted:
            return None
        peaks = np.concatenate(self._noted)
        medians = np.array([np.median(column[column > 0]) if column.any() else 0 for column in peaks.T], np.float64)
        limits = OutlierLimits(self._names, medians, ratio)
        return limits if limits.exceeded(peaks).any() else None
