"""Compute the metrics of any number of videos, given in batches."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.metrics import ranking
from pipeline.metrics.classes import ClassRankings, mean_of_known, sensitivities
from pipeline.metrics.precision import mean_over_classes, precision_sums
from pipeline.metrics.ranking import LabelLists, as_floats, label_dtype, sort_rows


class StreamingMetrics:
    """The metrics of `pipeline.metrics` over any number of videos, given in batches in any order.

    `map` is that of each video's `top_k` best labels. For each video `top_k` pairs are kept: label, score and whether
    it is correct, 7 bytes for an int16 label and a float32 score. What ranks all videos by each class needs a second
    pass: after the last `accumulate`, `rank` is given every video again. That takes 40 bytes for each true label, and
    none for the other classes, however many there are.
    """

    def __init__(self, num_classes: int, top_k: int = 20) -> None:
        if num_classes < 1 or top_k < 1:
            raise ValueError(f"num_classes and top_k must be at least 1, not {num_classes} and {top_k}")
        self.num_classes = num_classes
        self.top_k = top_k
        nothing = np.empty(0, label_dtype(num_classes)), np.empty(0, np.float32), np.empty(0, bool)
        self._pairs: list[tuple[NDArray, NDArray, NDArray]] = [nothing]  # labels, scores, correct
        self._positives = np.zeros(num_classes, np.int64)
        self._hits_by_size = np.zeros(num_classes + 1, np.int64)
        self._hits = self._hits_in_5 = 0
        self._videos = self._ranked = 0
        self._least = num_classes  # labels of the video that has the fewest
        self._classes = ClassRankings(num_classes)

    def accumulate(
        self, top_labels: ArrayLike, top_scores: ArrayLike, true_labels: LabelLists | Sequence[Sequence[int] | NDArray]
    ) -> None:
        """Add N videos; if it raises ValueError, none of them is added.

        `top_labels`, int [N,K], are each video's best labels in any order, with -1 where a video has fewer;
        `top_scores`, float [N,K], are their scores. K may exceed `top_k`, since PERR uses all. `true_labels` are N
        lists, or `LabelLists`, which is faster.
        """
        labels, scores = np.asarray(top_labels), as_floats(top_scores)
        truth = true_labels if isinstance(true_labels, LabelLists) else LabelLists.of(true_labels)
        values, offsets = map(np.asarray, truth)
        if labels.ndim != 2 or labels.shape != scores.shape or len(offsets) != len(labels) + 1:
            shapes = f"{list(labels.shape)}, {list(scores.shape)} and {len(offsets) - 1} videos"
            raise ValueError(f"labels and scores must be [videos, k], true labels of as many videos, not {shapes}")
        if offsets[0] != 0 or offsets[-1] != len(values) or (np.diff(offsets) < 0).any():
            raise ValueError(f"offsets of the true labels must ascend from 0 to {len(values)}")
        self._check_range(labels, -1, "predicted")
        self._check_range(values, 0, "true")
        values = values.astype(np.int64, copy=False)
        pairs, found, hits, hits_by_size = [], [], np.zeros(2, np.int64), np.zeros_like(self._hits_by_size)
        step = max(1, ranking.CHUNK // self.num_classes)
        for low in range(0, len(labels), step):
            bounds = offsets[low : low + step + 1]
            best, scored = sort_rows(labels[low : low + step], scores[low : low + step])
            correct = self._correct(best, values[bounds[0] : bounds[-1]], np.diff(bounds), low)
            hits += [np.count_nonzero(correct[:, :1]), np.count_nonzero(correct[:, :5].any(axis=1))]
            found.append((best[correct].astype(label_dtype(self.num_classes)), scored[correct]))
            hits_by_size += _hits_by_size(scored, correct, np.diff(bounds), self.num_classes)
            kept = best[:, : self.top_k] >= 0
            chosen = [array[:, : self.top_k][kept] for array in (best, scored, correct)]
            pairs.append((chosen[0].astype(label_dtype(self.num_classes)), chosen[1], chosen[2]))
        self._pairs += pairs
        for each in found:
            self._classes.find(*each)
        self._hits += int(hits[0])
        self._hits_in_5 += int(hits[1])
        self._least = min(self._least, int(np.count_nonzero(labels >= 0, axis=1).min(initial=self._least)))
        self._hits_by_size += hits_by_size
        self._positives += np.bincount(values, minlength=self.num_classes)
        self._videos += len(labels)

    def rank(self, top_labels: ArrayLike, top_scores: ArrayLike) -> None:
        """Rank N videos by each class, in the second pass; the arguments are those that `accumulate` was given."""
        labels, scores = np.asarray(top_labels), as_floats(top_scores)
        listed = labels >= 0
        self._classes.count(labels[listed], scores[listed])
        self._ranked += len(labels)

    def average_precisions(self) -> NDArray[np.float64]:
        """Return that of each class over the labels given, [V], as `ClassRankings.average_precisions`."""
        self._check_ranked()
        return self._classes.average_precisions(self._positives)

    def areas(self) -> NDArray[np.float64]:
        """Return the area under each class's ROC curve, [V], as `ClassRankings.areas`; NaN if a label is not given."""
        self._check_ranked()
        if self._least < self.num_classes:
            return np.full(self.num_classes, np.nan)
        return self._classes.areas(self._positives, self._videos)

    def by_class(self) -> dict[str, float | None]:
        """Return `map_all_kept`, `auc` and `d_prime`, the means over classes; None where no class has a value.

        MAP is over all labels given; without any true label it is 0.
        """
        areas = self.areas()
        return {
            "map_all_kept": mean_over_classes(self._classes.precision_sums(), self._positives),
            "auc": mean_of_known(areas),
            "d_prime": mean_of_known(sensitivities(areas, self._positives, self._videos)),
        }

    def accuracy(self) -> dict[str, float | None]:
        """Return `top_1` and `top_5`: the share of videos with a true class among the best, and the 5 best.

        For videos of one label each; `top_1` is Hit@1. `top_5` is None if a video has fewer than 5 labels and not all.
        """
        known = self._least >= min(5, self.num_classes)
        in_5 = self._hits_in_5 / max(self._videos, 1)
        return {"top_1": self.hit_at_one(), "top_5": in_5 if known else None}

    def _check_ranked(self) -> None:
        if self._ranked != self._videos:
            raise ValueError(f"{self._ranked} of {self._videos} videos were given to rank, the second pass")

    def result(self) -> dict[str, float | int]:
        """Return `gap`, `map`, `hit_at_one`, `perr` and `videos` for everything added so far."""
        figures = {"gap": self.gap(), "map": self.map(), "hit_at_one": self.hit_at_one(), "perr": self.perr()}
        return figures | {"videos": self._videos}

    def gap(self) -> float:
        _, scores, correct = self._all_pairs()
        return float(precision_sums(0, scores, correct, 1)[0] / max(self._positives.sum(), 1))

    def map(self) -> float:
        return mean_over_classes(precision_sums(*self._all_pairs(), self.num_classes), self._positives)

    def hit_at_one(self) -> float:
        return self._hits / max(self._videos, 1)

    def perr(self) -> float:
        return float(np.sum(self._hits_by_size[1:] / np.arange(1, self.num_classes + 1)) / max(self._videos, 1))

    def _all_pairs(self) -> tuple[NDArray, NDArray, NDArray]:
        if len(self._pairs) > 1:
            labels, scores, correct = map(np.concatenate, zip(*self._pairs))
            self._pairs = [(labels, scores, correct)]
        return self._pairs[0]

    def _check_range(self, labels: NDArray, lowest: int, what: str) -> None:
        if labels.dtype.kind not in "iu":
            raise ValueError(f"{what} labels must be integers, not {labels.dtype}")
        if labels.size and not (lowest <= labels.min() and labels.max() < self.num_classes):
            outside = labels[(labels < lowest) | (labels >= self.num_classes)][0]
            raise ValueError(f"{what} label {outside} is not one of {self.num_classes} classes")

    def _correct(self, labels: NDArray, values: NDArray, sizes: NDArray, first: int) -> NDArray[np.bool_]:
        """Return which labels [N,K] are true. `values` are the true labels; `sizes` [N] is how many each video has.

        A cell is a class of a video. The table of cells is never cleared or searched as a whole, since only some 20 of
        a video's thousands of cells are named.
        """
        rows = np.arange(len(labels)) * self.num_classes
        cells, true = rows[:, None] + labels.astype(np.int64), np.repeat(rows, sizes) + values
        listed = labels >= 0
        place = np.empty(len(labels) * self.num_classes, np.int32)
        self._refuse_twice(place, cells[listed], "predicted", first)
        place[cells[listed]] = -1
        self._refuse_twice(place, true, "true", first)
        return (place[cells] >= 0) & listed

    def _refuse_twice(self, place: NDArray, cells: NDArray, what: str, first: int) -> None:
        """Write to each cell its place in the list; raise ValueError if the list names a cell twice."""
        order = np.arange(len(cells), dtype=place.dtype)
        place[cells] = order
        if (place[cells] != order).any():
            ordered = np.sort(cells)
            video, label = divmod(int(ordered[1:][ordered[1:] == ordered[:-1]][0]), self.num_classes)
            raise ValueError(f"{what} label {label} occurs twice in video {first + video} of the batch")


def _hits_by_size(scores: NDArray, correct: NDArray, sizes: NDArray, num_classes: int) -> NDArray[np.int64]:
    """Return, for each k, the hits among the k best classes of all videos that have k labels; int64 [V+1].

    They are integers, so that PERR does not depend on the order in which videos are added.
    """
    counted = correct & (scores > 0) & (np.arange(scores.shape[1]) < sizes[:, None])
    return np.bincount(sizes, np.count_nonzero(counted, axis=1), num_classes + 1).astype(np.int64)
