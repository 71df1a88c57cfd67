"""Find outliers: videos with float values so large, though finite, that they spoil a model's running statistics."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.config import DatasetConfig
from pipeline.inputs.index.check import ShardReport


@dataclass(frozen=True)
class OutlierLimits:
    """How large the values of a video may be, relative to the median video."""

    names: tuple[str, ...]
    """The names of the features."""
    medians: np.ndarray
    """float64 [features], over the videos that are not silent; 0, which means no limit, if all videos are silent."""
    ratio: float

    def exceeded(self, peaks: np.ndarray) -> np.ndarray:
        """Return which features of which videos exceed the limits, bool [n,features], from their peaks [n,features]."""
        return (peaks > self.ratio * self.medians) & (self.medians > 0)

    def reasons(self, report: ShardReport) -> dict[int, str]:
        """Return why records are left out, by their number in the report."""
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
    """Collects the peaks of all videos as their reports pass; four bytes for each video and feature stay in memory."""

    def __init__(self, dataset: DatasetConfig):
        self._names = tuple(feature.name for feature in dataset.features)
        self._noted: list[np.ndarray] = []

    def noted(self, reports: Iterable[ShardReport]) -> Iterator[ShardReport]:
        """Yield the same reports one by one, and collect their peaks."""
        for report in reports:
            if report.peaks.any():
                self._noted.append(report.peaks)
            yield report

    def limits(self, ratio: float) -> OutlierLimits | None:
        """Return the limits that follow from all collected videos; None if no video exceeds them or the ratio is 0."""
        if not ratio or not self._noted:
            return None
        peaks = np.concatenate(self._noted)
        medians = np.array([np.median(column[column > 0]) if column.any() else 0 for column in peaks.T], np.float64)
        limits = OutlierLimits(self._names, medians, ratio)
        return limits if limits.exceeded(peaks).any() else None
