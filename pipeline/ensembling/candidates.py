"""What tuning looks at: the pairs of video and class that some blend may rank high, and the GAP of any weights."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.metrics import LabelLists

REACH = 20
"""GAP looks at so many classes of a video."""
_CHUNK = 1 << 22  # values aligned at once


class Candidates(NamedTuple):
    """Pairs of N videos by M models, laid out as `pipeline.ensembling.loops.align` says.

    Not the whole of the models' lists: pairs that `REACH` others are ahead of in every model are left out, since no
    weights bring them back.
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
        """From M models' lists of N videos, int [N,K_m] and float [N,K_m], and the true labels of each video.

        Raises ValueError where a value is not a finite float32.
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
        """Those of several lots of videos, one after the other."""
        sizes = np.concatenate([np.diff(part.offsets) for part in parts])
        arrays = (np.concatenate(arrays) for arrays in zip(*(part[1:5] for part in parts)))
        return cls(np.concatenate([[0], np.cumsum(sizes)]), *arrays, sum(part.positives for part in parts))

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self[:5])

    def gap(self, weights: ArrayLike) -> float:
        """GAP of the blend of these weights [M], as `blend` and `pipeline.metrics` give it, but for rounding.

        Raises ValueError where the weights are not finite, are negative or all 0.
        """
        from pipeline.ensembling import loops

        weights = np.asarray(weights, np.float64)
        if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.any()):
            raise ValueError(f"weights must be finite, not negative and not all 0: {weights.tolist()}")
        means, hits = loops.best_pairs(*self[:5], weights / weights.sum(), REACH)
        return loops.precision_sum(np.sort(means), np.sort(means[hits])) / max(self.positives, 1)
