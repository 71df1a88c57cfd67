"""Rank labels by score: find the best of dense scores, sort rows, and store label lists end to end."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

CHUNK = 1 << 20
"""The number of array elements that are worked on at a time."""


class LabelLists(NamedTuple):
    """The labels of N videos, one after the other: video i has `values[offsets[i]:offsets[i + 1]]`."""

    values: NDArray[np.integer]  # M
    offsets: NDArray[np.integer]  # N+1

    @classmethod
    def of(cls, lists: Sequence[Sequence[int] | NDArray]) -> "LabelLists":
        """Make it from a list of labels for each video."""
        sizes = np.fromiter(map(len, lists), np.int64, len(lists))
        filled = [np.asarray(labels) for labels in lists if len(labels)]  # an empty list has no integer type
        values = np.concatenate(filled) if filled else np.empty(0, np.int64)
        return cls(values, np.concatenate([[0], np.cumsum(sizes)]))

    def of_videos(self, chosen: NDArray[np.bool_]) -> "LabelLists":
        """Return the labels of the chosen videos, bool [N]."""
        sizes = np.diff(self.offsets)
        return LabelLists(self.values[np.repeat(chosen, sizes)], np.concatenate([[0], np.cumsum(sizes[chosen])]))


def label_dtype(num_classes: int) -> type[np.signedinteger]:
    """Return int16 if it holds every label, and int32 otherwise."""
    return np.int16 if num_classes - 1 <= np.iinfo(np.int16).max else np.int32


def top_k(scores: ArrayLike, k: int) -> tuple[NDArray[np.signedinteger], NDArray[np.floating]]:
    """Return the k best of each video's scores, float [N,V], in descending order; the smaller label wins a tie.

    The results are labels, `label_dtype(V)` [N,min(k,V)], and their scores, float32 if `scores` are float32.
    """
    scores = as_floats(scores)
    if scores.ndim != 2 or not scores.shape[1] or k < 1:
        raise ValueError(f"top_k needs scores [videos, classes] and k >= 1, not {list(scores.shape)} and {k}")
    num_videos, num_classes = scores.shape
    k = min(k, num_classes)
    labels = np.empty((num_videos, k), label_dtype(num_classes))
    best = np.empty((num_videos, k), scores.dtype)
    step = max(1, CHUNK // num_classes)
    starts = iter(range(0, num_videos, step))

    def fill() -> None:
        for low in starts:
            rows = slice(low, low + step)
            labels[rows], best[rows] = _top_k_chunk(scores[rows], k)

    with ThreadPoolExecutor(1) as pool:  # most of it runs without the GIL, but too little for more threads
        beside = pool.submit(fill)
        fill()
        beside.result()
    return labels, best


def _top_k_chunk(scores: NDArray, k: int) -> tuple[NDArray, NDArray]:
    """Rank a chunk. Only scores that reach a floor are sorted: the k-th best of the maxima of groups of classes.

    The floor is never above the k-th best score, so no score that belongs to the k best is lost.
    """
    num_videos, num_classes = scores.shape
    size = min(max(num_classes // (4 * k), 1), 32)
    maxima = scores[:, : num_classes // size * size].reshape(num_videos, size, -1).max(axis=1)
    check_no_nan(maxima)  # a maximum with NaN in it is NaN
    check_no_nan(scores[:, maxima.shape[1] * size :])
    floor = np.partition(maxima, maxima.shape[1] - k, axis=1)[:, -k, None]
    keep = scores >= floor
    bounds = np.arange(num_videos + 1) * num_classes
    chosen = np.flatnonzero(keep)
    crowded = np.flatnonzero(np.diff(np.searchsorted(chosen, bounds)) > 4 * k)
    if crowded.size:  # many are at the floor: at the k-th best score the smaller labels stay
        rows = scores[crowded]
        best = np.partition(rows, num_classes - k, axis=1)[:, -k, None]
        above, level = rows > best, rows == best
        room = k - np.count_nonzero(above, axis=1)
        keep[crowded] = above | (level & (np.cumsum(level, axis=1) <= room[:, None]))
        chosen = np.flatnonzero(keep)
    starts = np.searchsorted(chosen, bounds)
    counts = np.diff(starts)
    width = counts.max(initial=k)
    slots = np.arange(len(chosen)) + np.repeat(np.arange(num_videos) * width - starts[:-1], counts)
    values = np.full(num_videos * width, -np.inf, scores.dtype)
    cells = np.zeros(num_videos * width, np.int64)
    values[slots] = scores.ravel()[chosen]
    cells[slots] = chosen
    order = np.argsort(-values.reshape(-1, width), axis=1, kind="stable")[:, :k]  # of equals the smaller label first
    order += (np.arange(num_videos) * width)[:, None]
    return cells[order] - bounds[:-1, None], values[order]


def sort_rows(labels: NDArray, scores: NDArray) -> tuple[NDArray, NDArray]:
    """Sort each row by descending score, then by ascending label; padding comes last, with a score of -inf."""
    listed = labels >= 0
    scores = scores if listed.all() else np.where(listed, scores, scores.dtype.type(-np.inf))
    check_no_nan(scores)
    higher, same = scores[:, :-1] > scores[:, 1:], scores[:, :-1] == scores[:, 1:]
    if (higher | (same & (labels[:, :-1] < labels[:, 1:]))).all():
        return labels, scores
    order = np.lexsort((labels, -scores, ~listed), axis=1)
    return np.take_along_axis(labels, order, axis=1), np.take_along_axis(scores, order, axis=1)


def check_no_nan(scores: NDArray) -> None:
    if np.isnan(scores.min(initial=np.inf)):  # a minimum with NaN in it is NaN too
        raise ValueError("there is a NaN among the scores; look for where the model diverged")


def as_floats(scores: ArrayLike) -> NDArray[np.floating]:
    """Return float32 and float64 scores as they are, and any other type as float64, which holds it exactly."""
    scores = np.asarray(scores)
    return scores if scores.dtype in (np.float32, np.float64) else scores.astype(np.float64)
