"""Whether a confidence means what it says: how often pairs of each confidence are correct."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

BINS = 10
"""Of equal width."""
THRESHOLDS = 1000


class Reliability(NamedTuple):
    """Pairs of video and label by their confidence, in bins of equal width."""

    pairs: NDArray[np.int64]
    confidence: NDArray[np.float64]
    """Their mean; NaN in an empty bin."""
    correct: NDArray[np.float64]
    """The share that is; NaN in an empty bin."""

    @property
    def error(self) -> float:
        """Expected calibration error: the mean distance of the two, each bin weighed by its pairs (Guo et al. 2017)."""
        distance = np.abs(self.confidence - self.correct)
        return float(np.nansum(distance * self.pairs) / max(int(self.pairs.sum()), 1))

    def interval(self) -> tuple[NDArray, NDArray]:
        """The 95 % interval of each share, that of a binomial (Wilson 1927): lowest and highest [bins]."""
        z, n = 1.96, np.maximum(self.pairs, 1)
        center = (self.correct + z**2 / (2 * n)) / (1 + z**2 / n)
        half = z / (1 + z**2 / n) * np.sqrt(self.correct * (1 - self.correct) / n + z**2 / (4 * n**2))
        return center - half, center + half


class Calibration:
    """Counts by confidence, of pairs given part by part; a score outside 0..1 counts with those at the end."""

    def __init__(self) -> None:
        self._bins = np.zeros((3, BINS))  # pairs, sum of their scores, correct ones
        self._fine = np.zeros((2, THRESHOLDS), np.int64)  # pairs, correct ones

    def add(self, scores: NDArray[np.floating], correct: NDArray[np.bool_]) -> None:
        """Add pairs: scores float [n], correct bool [n]."""
        scores = scores.astype(np.float64)
        place, fine = (np.clip((scores * bins).astype(np.int64), 0, bins - 1) for bins in (BINS, THRESHOLDS))
        self._bins += [np.bincount(place, weights, BINS) for weights in (None, scores, correct)]
        self._fine += [np.bincount(chosen, minlength=THRESHOLDS) for chosen in (fine, fine[correct])]

    def reliability(self) -> Reliability:
        pairs, scores, correct = self._bins
        with np.errstate(invalid="ignore"):
            return Reliability(pairs.astype(np.int64), scores / pairs, correct / pairs)

    def by_threshold(self, positives: int, least: int = 1) -> tuple[NDArray, NDArray, NDArray]:
        """Thresholds; the share of the pairs from there on that is correct, NaN of fewer than `least`; the share of all
        `positives` that they find. float64 [THRESHOLDS] each."""
        pairs, correct = np.cumsum(self._fine[:, ::-1], axis=1)[:, ::-1]
        precision = np.where(pairs >= least, correct / np.maximum(pairs, 1), np.nan)
        return np.arange(THRESHOLDS) / THRESHOLDS, precision, correct / max(positives, 1)
