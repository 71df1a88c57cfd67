"""The (video, class) pairs that some blend may rank high, and the GAP that any weights give: all that tuning needs."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.metrics import LabelLists

REACH = 20
"""GAP@20 looks at this many classes of each video."""
_CHUNK = 1 << 22  # values that are aligned at a time


class Candidates(NamedTuple):
    """The candidate (video, class) pairs of N videos and M models, laid out as `pipeline.ensembling.loops.align` says.

    These are fewer pairs than the models list. A pair is left out if `REACH` other pairs of its video are ahead of it
    in every model, since then no weights can bring it back.
    """

    offsets: NDArray[np.int64]  # N+1
    values: NDArray[np.float32]  # pairs * M
    classes: NDArray[np.int32]  # pairs
    keepers: NDArray[np.uint64]  # pairs, words
    correct: NDArray[np.bool_]  # pairs
    positives: int

    @classmethod
    def align(
        cls, labels: Sequence[ArrayLike], values: Sequence[ArrayLike], truth: LabelLists, num_classes: int
    ) -> "Candidates":
        """Build the candidates from M models' lists, int [N,K_m] and float [N,K_m], and the true labels of N videos.

        Raises ValueError if a value is not a finite float32.
        """
        from pipeline.ensembling import loops

        for model, given in enumerate(values):
            if not (np.abs(np.asarray(given)) <= np.finfo(np.float32).max).all():
                raise ValueError(f"model {model}: a score is not a finite float32; look for where the model diverged")
        starts = np.cumsum([0, *(np.shape(kept)[1] for kept in labels)])
        num_videos, step = len(labels[0]), max(1, _CHUNK // int(starts[-1]) // len(labels))
        parts = []
        for low in range(0, max(num_videos, 1), step):
            rows = slice(low, low + step)
            bounds = np.asarray(truth.offsets[low : low + step + 1], np.int64)
            named = np.concatenate([np.asarray(kept[rows], np.int32) for kept in labels], axis=1)
            sizes, *arrays = loops.align(
                named,
                np.sort(named, axis=1),
                np.concatenate([np.asarray(given[rows], np.float32) for given in values], axis=1),
                starts,
                np.asarray(truth.values[bounds[0] : bounds[-1]], np.int64),
                bounds - bounds[0],
                num_classes,
                REACH,
            )
            parts.append(cls(np.concatenate([[0], np.cumsum(sizes)]), *arrays, int(bounds[-1] - bounds[0])))
        return cls.joined(parts)

    @classmethod
    def joined(cls, parts: Sequence["Candidates"]) -> "Candidates":
        """Concatenate the candidates of several sets of videos."""
        sizes = np.concatenate([np.diff(part.offsets) for part in parts])
        arrays = (np.concatenate(arrays) for arrays in zip(*(part[1:5] for part in parts)))
        return cls(np.concatenate([[0], np.cumsum(sizes)]), *arrays, sum(part.positives for part in parts))

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self[:5])

    @property
    def videos(self) -> int:
        return len(self.offsets) - 1

    def score(self, weights: ArrayLike) -> float:
        """Return the GAP of the blend with these weights [M]; up to rounding, what `blend` and `pipeline.metrics` give.

        Raises ValueError if a weight is negative or not finite, or if all are 0.
        """
        from pipeline.ensembling import loops

        weights = np.asarray(weights, np.float64)
        if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.any()):
            raise ValueError(f"weights must be finite, not negative and not all 0: {weights.tolist()}")
        means, hits = loops.best_pairs(*self[:5], weights / weights.sum(), REACH)
        return loops.precision_sum(np.sort(means), np.sort(means[hits])) / max(self.positives, 1)
