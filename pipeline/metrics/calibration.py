"""Measure calibration: how often (video, label) pairs of each confidence are correct."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

BINS = 10
"""The number of bins of confidence, all of equal width."""
THRESHOLDS = 1000


class Reliability(NamedTuple):
    """The (video, label) pairs by their confidence, in bins of equal width."""

    pairs: NDArray[np.int64]
    confidence: NDArray[np.float64]
    """The mean confidence of each bin's pairs; NaN in an empty bin."""
    correct: NDArray[np.float64]
    """The share of each bin's pairs that are correct; NaN in an empty bin."""

    @property
    def error(self) -> float:
        """The expected calibration error: the mean of |confidence - correct| weighted by pairs (Guo et al. 2017)."""
        distance = np.abs(self.confidence - self.correct)
        return float(np.nansum(distance * self.pairs) / max(int(self.pairs.sum()), 1))

    def interval(self) -> tuple[NDArray, NDArray]:
        """Return the 95 % interval of each bin's share, for a binomial (Wilson 1927): lower and upper end, [bins]."""
        z, n = 1.96, np.maximum(self.pairs, 1)
        center = (self.correct + z**2 / (2 * n)) / (1 + z**2 / n)
        half = z / (1 + z**2 / n) * np.sqrt(self.correct * (1 - self.correct) / n + z**2 / (4 * n**2))
        return center - half, center + half


class Calibration:
    """Counts pairs by confidence, given part by part; scores outside 0..1 count in the first or last bin."""

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
        """Return thresholds, precisions and recalls, each float64 [THRESHOLDS].

        A precision is the share of the pairs from the threshold on that are correct, NaN if they are fewer than
        `least`. A recall is the share of all `positives` that these pairs find.
        """
        pairs, correct = np.cumsum(self._fine[:, ::-1], axis=1)[:, ::-1]
        precision = np.where(pairs >= least, correct / np.maximum(pairs, 1), np.nan)
        return np.arange(THRESHOLDS) / THRESHOLDS, precision, correct / max(positives, 1)
