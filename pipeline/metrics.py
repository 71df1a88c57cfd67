"""The challenge's metrics: GAP@20, MAP, Hit@1 and PERR, from dense scores or from each video's best labels.

Pairs of equal score have no order: every average precision is its expected value over the orders within tied blocks,
in closed form. Where a ranking is cut, or one class is asked for, the smaller label wins a tie. So each figure depends
on the predictions only, never on the order of the videos. Bad arrays (NaN, other shapes, labels that are not 0 or 1,
out of range or twice in a video) raise ValueError; no videos, or none with labels, score 0.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

_CHUNK = 1 << 20  # array elements worked on at once


class LabelLists(NamedTuple):
    """The labels of N videos, one after the other: video i has `values[offsets[i]:offsets[i + 1]]`."""

    values: NDArray[np.integer]  # M
    offsets: NDArray[np.integer]  # N+1

    @classmethod
    def of(cls, lists: Sequence[ArrayLike]) -> "LabelLists":
        """From one list of labels a video."""
        sizes = np.fromiter(map(len, lists), np.int64, len(lists))
        filled = [np.asarray(labels) for labels in lists if len(labels)]  # an empty list has no integer type
        values = np.concatenate(filled) if filled else np.empty(0, np.int64)
        return cls(values, np.concatenate([[0], np.cumsum(sizes)]))


def label_dtype(num_classes: int) -> type[np.signedinteger]:
    """int16 where it holds every label, int32 otherwise."""
    return np.int16 if num_classes <= np.iinfo(np.int16).max else np.int32


def top_k(scores: ArrayLike, k: int) -> tuple[NDArray[np.signedinteger], NDArray[np.floating]]:
    """The k best of each video's scores, float [N,V], descending; the smaller label wins a tie.

    Returns labels, `label_dtype(V)` [N,min(k,V)], and their scores, float32 where `scores` are.
    """
    scores = _floats(scores)
    if scores.ndim != 2 or not scores.shape[1] or k < 1:
        raise ValueError(f"top_k needs scores [videos, classes] and k >= 1, not {list(scores.shape)} and {k}")
    num_videos, num_classes = scores.shape
    k = min(k, num_classes)
    labels = np.empty((num_videos, k), label_dtype(num_classes))
    best = np.empty((num_videos, k), scores.dtype)
    step = max(1, _CHUNK // num_classes)
    for low in range(0, num_videos, step):
        rows = slice(low, low + step)
        labels[rows], best[rows] = _top_k_chunk(scores[rows], k)
    return labels, best


def _top_k_chunk(scores: NDArray, k: int) -> tuple[NDArray, NDArray]:
    """Only scores that reach a floor are sorted: the k-th best of groups' maxima, at most that of all."""
    num_videos, num_classes = scores.shape
    size = min(max(num_classes // (4 * k), 1), 16)
    maxima = scores[:, : num_classes // size * size].reshape(num_videos, size, -1).max(axis=1)
    _refuse_nan(maxima)  # a maximum with NaN in it is NaN
    _refuse_nan(scores[:, maxima.shape[1] * size :])
    floor = np.partition(maxima, maxima.shape[1] - k, axis=1)[:, -k, None]
    keep = scores >= floor
    bounds = np.arange(num_videos + 1) * num_classes
    chosen = np.flatnonzero(keep)
    crowded = np.flatnonzero(np.diff(np.searchsorted(chosen, bounds)) > 4 * k)
    if crowded.size:  # many at the floor: of those at the k-th best score the smaller labels stay
        rows = scores[crowded]
        best = np.partition(rows, num_classes - k, axis=1)[:, -k, None]
        above, level = rows > best, rows == best
        room = k - np.count_nonzero(above, axis=1)
        keep[crowded] = above | (level & (np.cumsum(level, axis=1) <= room[:, None]))
        chosen = np.flatnonzero(keep)
    starts = np.searchsorted(chosen, bounds)
    counts = np.diff(starts)
    places = (np.repeat(np.arange(num_videos), counts), np.arange(len(chosen)) - np.repeat(starts[:-1], counts))
    values = np.full((num_videos, counts.max(initial=k)), -np.inf, scores.dtype)
    columns = np.full(values.shape, num_classes)
    values[places] = scores.ravel()[chosen]
    columns[places] = chosen % num_classes
    order = np.argsort(-values, axis=1, kind="stable")[:, :k]  # columns ascend, so the smaller label goes first
    return np.take_along_axis(columns, order, axis=1), np.take_along_axis(values, order, axis=1)


def global_average_precision(predictions: ArrayLike, labels: ArrayLike, top_k: int = 20) -> float:
    """GAP: average precision of the `top_k` best pairs of all videos in one ranking, over all positives there are.

    Predictions are float [N,V] and labels [N,V] of 0 and 1, here and below.
    """
    return _dense(predictions, labels, top_k).gap()


def mean_average_precision(predictions: ArrayLike, labels: ArrayLike, top_k: int | None = None) -> float:
    """MAP: average precision of each class over all videos, averaged over the classes that have a positive.

    With `top_k`, only each video's best pairs are ranked, and a class still divides by all its positives.
    """
    if top_k is not None:
        return _dense(predictions, labels, top_k).map()
    predictions, labels = _checked(predictions, labels)
    positives = np.count_nonzero(labels, axis=0)  # V
    sums, present = np.zeros(len(positives)), np.flatnonzero(positives)
    step = max(1, _CHUNK // max(len(labels), 1))
    for low in range(0, len(present), step):
        classes = present[low : low + step]
        groups = np.arange(len(classes))
        sums[classes] = _precision_sums(groups, predictions[:, classes], labels[:, classes], len(classes))
    return _mean_over_classes(sums, positives)


def hit_at_one(predictions: ArrayLike, labels: ArrayLike) -> float:
    """The share of videos whose best class is correct."""
    return _dense(predictions, labels, 1).hit_at_one()


def precision_at_equal_recall_rate(predictions: ArrayLike, labels: ArrayLike) -> float:
    """PERR: the mean over videos of the precision of as many best classes as the video has labels.

    A class of score 0 or less is no prediction; a video without labels counts as 0.
    """
    return _dense(predictions, labels, 1).perr()


class StreamingMetrics:
    """The same metrics over any number of videos, given in batches in any order; MAP is that of the best `top_k`.

    Keeps `top_k` pairs a video: label, score and whether it is correct, 7 bytes for float32 and int16 labels.
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
        self._hits = 0
        self._videos = 0

    def accumulate(
        self, top_labels: ArrayLike, top_scores: ArrayLike, true_labels: LabelLists | Sequence[ArrayLike]
    ) -> None:
        """Add N videos, or none of them where it raises.

        `top_labels` int [N,K] are each video's best in any order, -1 where a video has fewer; `top_scores` float [N,K].
        K may exceed `top_k`: PERR looks at all. `true_labels` are N lists, or `LabelLists`, which is faster.
        """
        labels, scores = np.asarray(top_labels), _floats(top_scores)
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
        pairs, hits, hits_by_size = [], 0, np.zeros_like(self._hits_by_size)
        step = max(1, _CHUNK // self.num_classes)
        for low in range(0, len(labels), step):
            bounds = offsets[low : low + step + 1]
            best, scored = _sorted(labels[low : low + step], scores[low : low + step])
            correct = self._correct(best, values[bounds[0] : bounds[-1]], np.diff(bounds), low)
            hits += int(np.count_nonzero(correct[:, :1]))
            hits_by_size += _hits_by_size(scored, correct, np.diff(bounds), self.num_classes)
            kept = best[:, : self.top_k] >= 0
            chosen = [array[:, : self.top_k][kept] for array in (best, scored, correct)]
            pairs.append((chosen[0].astype(label_dtype(self.num_classes)), chosen[1], chosen[2]))
        self._pairs += pairs
        self._hits += hits
        self._hits_by_size += hits_by_size
        self._positives += np.bincount(values, minlength=self.num_classes)
        self._videos += len(labels)

    def result(self) -> dict[str, float | int]:
        """`gap`, `map`, `hit_at_one`, `perr` and `videos`, of everything added so far."""
        figures = {"gap": self.gap(), "map": self.map(), "hit_at_one": self.hit_at_one(), "perr": self.perr()}
        return figures | {"videos": self._videos}

    def gap(self) -> float:
        _, scores, correct = self._all_pairs()
        return float(_precision_sums(0, scores, correct, 1)[0] / max(self._positives.sum(), 1))

    def map(self) -> float:
        return _mean_over_classes(_precision_sums(*self._all_pairs(), self.num_classes), self._positives)

    def hit_at_one(self) -> float:
        return self._hits / max(self._videos, 1)

    def perr(self) -> float:
        return float(np.sum(self._hits_by_size[1:] / np.arange(1, self.num_classes + 1)) / max(self._videos, 1))

    def _all_pairs(self) -> tuple[NDArray, NDArray, NDArray]:
        if len(self._pairs) > 1:
            self._pairs = [tuple(map(np.concatenate, zip(*self._pairs)))]
        return self._pairs[0]

    def _check_range(self, labels: NDArray, lowest: int, what: str) -> None:
        if labels.dtype.kind not in "iu":
            raise ValueError(f"{what} labels must be integers, not {labels.dtype}")
        if labels.size and not (lowest <= labels.min() and labels.max() < self.num_classes):
            outside = labels[(labels < lowest) | (labels >= self.num_classes)][0]
            raise ValueError(f"{what} label {outside} is not one of {self.num_classes} classes")

    def _correct(self, labels: NDArray, values: NDArray, sizes: NDArray, first: int) -> NDArray[np.bool_]:
        """Which labels [N,K] are true; `values` are the true ones, `sizes` [N] of them a video."""
        rows = np.arange(len(labels)) * self.num_classes
        cells, listed = rows[:, None] + labels.astype(np.int64), labels >= 0
        self._table(cells[listed], len(labels), "predicted", first)
        return self._table(np.repeat(rows, sizes) + values, len(labels), "true", first)[cells] & listed

    def _table(self, cells: NDArray, num_videos: int, what: str, first: int) -> NDArray[np.bool_]:
        """Which cells of a table [N*V] of videos and classes are in a list that must name none of them twice."""
        table = np.zeros(num_videos * self.num_classes, bool)
        table[cells] = True
        if np.count_nonzero(table) < len(cells):
            ordered = np.sort(cells)
            video, label = divmod(int(ordered[1:][ordered[1:] == ordered[:-1]][0]), self.num_classes)
            raise ValueError(f"{what} label {label} occurs twice in video {first + video} of the batch")
        return table


def _sorted(labels: NDArray, scores: NDArray) -> tuple[NDArray, NDArray]:
    """Each row by descending score, then ascending label; padding last, with a score of minus infinity."""
    listed = labels >= 0
    scores = scores if listed.all() else np.where(listed, scores, scores.dtype.type(-np.inf))
    _refuse_nan(scores)
    higher, same = scores[:, :-1] > scores[:, 1:], scores[:, :-1] == scores[:, 1:]
    if (higher | (same & (labels[:, :-1] < labels[:, 1:]))).all():
        return labels, scores
    order = np.lexsort((labels, -scores, ~listed), axis=1)
    return np.take_along_axis(labels, order, axis=1), np.take_along_axis(scores, order, axis=1)


def _precision_sums(groups: ArrayLike, scores: NDArray, correct: NDArray, num_groups: int) -> NDArray[np.float64]:
    """Sum of precision(i) * correct(i) over each group's pairs, by descending score, expected over orders of equals.

    Of a tied block of b pairs, r correct, behind n others of which c are: the pair at place j = 0.. is correct with
    probability r/b, and then j (r-1)/(b-1) of the block's pairs before it are expected to be. So the block adds
    r/b * sum_j (c + 1 + j (r-1)/(b-1)) / (n + j + 1). Groups are ints below `num_groups`, broadcast over the pairs.
    """
    keys = (np.asarray(groups, np.int64) << 32 | _descending_codes(scores)).ravel()
    blocks, found = np.unique(keys[correct.ravel()], return_counts=True)  # r, of the blocks that add anything
    keys.sort()
    first = np.searchsorted(keys, blocks)
    size = np.searchsorted(keys, blocks, "right") - first  # b
    group = blocks >> 32
    ahead = first - np.searchsorted(keys, group << 32)  # n
    hits = np.cumsum(found) - found
    hits -= hits[np.searchsorted(group, group)]  # c
    chance, rise = found / size, (found - 1) / np.maximum(size - 1, 1)
    sums, ends = np.zeros(num_groups), np.cumsum(size)
    for low in range(0, int(size.sum()), _CHUNK):
        item = np.arange(low, min(low + _CHUNK, ends[-1]))
        block = np.searchsorted(ends, item, "right")
        place = item - (ends - size)[block]  # j
        terms = chance[block] * (hits[block] + 1 + place * rise[block]) / (ahead[block] + place + 1)
        sums += np.bincount(group[block], terms, minlength=num_groups)
    return sums


def _descending_codes(scores: NDArray) -> NDArray[np.integer]:
    """Integers in [0, 2**32) that ascend as the scores descend, equal for equal scores."""
    if scores.dtype != np.float32:
        return np.unique(-scores, return_inverse=True)[1]
    bits = (scores + np.float32(0)).view(np.uint32)  # adding 0 makes -0.0 equal to 0.0
    return np.where(bits >> 31, bits, bits ^ np.uint32(0x7FFFFFFF))


def _mean_over_classes(sums: NDArray, positives: NDArray) -> float:
    present = positives > 0
    return float(np.mean(sums[present] / positives[present])) if present.any() else 0.0


def _hits_by_size(scores: NDArray, correct: NDArray, sizes: NDArray, num_classes: int) -> NDArray[np.int64]:
    """For each number of labels, the hits that videos of so many have among as many best classes; int64 [V+1].

    Integers, so that PERR does not depend on the order in which videos are added.
    """
    counted = correct & (scores > 0) & (np.arange(scores.shape[1]) < sizes[:, None])
    return np.bincount(sizes, np.count_nonzero(counted, axis=1), num_classes + 1).astype(np.int64)


def _dense(predictions: ArrayLike, labels: ArrayLike, k: int) -> StreamingMetrics:
    predictions, labels = _checked(predictions, labels)
    sizes = np.count_nonzero(labels, axis=1)
    truth = LabelLists(np.nonzero(labels)[1], np.concatenate([[0], np.cumsum(sizes)]))
    metrics = StreamingMetrics(labels.shape[1], k)
    metrics.accumulate(*top_k(predictions, max(k, sizes.max(initial=0))), truth)
    return metrics


def _checked(predictions: ArrayLike, labels: ArrayLike) -> tuple[NDArray[np.floating], NDArray[np.bool_]]:
    predictions, labels = _floats(predictions), np.asarray(labels)
    if predictions.ndim != 2 or not predictions.shape[1] or predictions.shape != labels.shape:
        shapes = f"{list(predictions.shape)} and {list(labels.shape)}"
        raise ValueError(f"predictions and labels must both be [videos, classes], not {shapes}")
    _refuse_nan(predictions)
    positive = labels.astype(bool)
    if not np.array_equal(positive, labels):
        raise ValueError("labels must be 0 or 1")
    return predictions, positive


def _refuse_nan(scores: NDArray) -> None:
    if np.isnan(scores.min(initial=np.inf)):  # a minimum with NaN in it is NaN too
        raise ValueError("NaN among the scores; look for where the model diverged")


def _floats(scores: ArrayLike) -> NDArray[np.floating]:
    """float32 and float64 as they are, anything else as float64, which holds it exactly."""
    scores = np.asarray(scores)
    return scores if scores.dtype in (np.float32, np.float64) else scores.astype(np.float64)
