"""Blend several models' lists of best labels: average their scores by weight without building a dense matrix."""

import hashlib
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.metrics import label_dtype, top_k

_CHUNK = 1 << 20  # pairs that are blended at a time
_best_columns = top_k  # a second name, since `blend` has an argument `top_k`


class _Model(NamedTuple):
    weight: float
    scores: NDArray[np.float32]  # N,K
    labels: NDArray[np.int32]  # N,K


def blend(
    labels: Sequence[ArrayLike],
    scores: Sequence[ArrayLike],
    weights: Sequence[float],
    top_k: int,
    num_classes: int,
) -> tuple[NDArray[np.signedinteger], NDArray[np.float32]]:
    """Return the `top_k` best labels of each video by the weighted mean of M models' scores.

    If a model did not keep a class, the class counts with the smallest score that the model kept for the video, which
    is the highest score it can have had. Only classes that some model kept are ranked, by descending mean and then by
    ascending label. A model of weight 0 has no effect.

    The same models in another order give the same bytes: sums are taken in float64, over the models in an order that
    follows from their weights and the digests of their arrays, and are rounded to float32 once.

    Args:
        labels: M arrays, int [N,K_m], distinct within a row.
        scores: M arrays, finite float [N,K_m].
        weights: M finite numbers, none negative, not all 0. They are divided by their sum.
        top_k: how many labels to keep; at most the length of the longest list.
        num_classes: V; every label is below it.
    Returns:
        labels [N,top_k], int16 if V fits, else int32; and their scores, float32, descending.
    Raises:
        ValueError: an argument is not as described; the message says which.
    """
    models = _checked(labels, scores, weights, num_classes)
    lengths = [model.labels.shape[1] for model in models]
    if not 1 <= top_k <= max(lengths):
        raise ValueError(f"top_k must be from 1 to {max(lengths)}, the labels that the models kept, not {top_k}")
    num_videos = len(models[0].labels)
    best_labels = np.empty((num_videos, top_k), label_dtype(num_classes))
    best_scores = np.empty((num_videos, top_k), np.float32)
    step = max(1, _CHUNK // sum(lengths))
    for low in range(0, num_videos, step):
        rows = slice(low, low + step)
        classes, means = _means([_Model(m.weight, m.scores[rows], m.labels[rows]) for m in models], low)
        columns, best_scores[rows] = _best_columns(means, top_k)  # classes ascend, so ties go to the smaller one
        best_labels[rows] = np.take_along_axis(classes, columns.astype(np.int64), axis=1)
    return best_labels, best_scores


def _means(models: list[_Model], first: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return classes [N,K], ascending, and their means: where a class repeats, all but its first place hold -inf."""
    owners = np.repeat(np.arange(len(models)), [model.labels.shape[1] for model in models])  # K
    floors = [model.scores.min(axis=1, keepdims=True).astype(np.float64) for model in models]  # N,1 each
    base = sum(model.weight * floor for model, floor in zip(models, floors))  # N,1
    gains = np.concatenate([m.weight * (m.scores - floor) for m, floor in zip(models, floors)], axis=1)  # N,K
    # Label and column are packed into one integer. Sorting it groups the scores of a class, in the models' order.
    width = len(owners)
    keys = np.concatenate([model.labels for model in models], axis=1).astype(np.int64) * width + np.arange(width)
    keys.sort(axis=1)
    classes, columns = np.divmod(keys, width)
    starts = np.ones(keys.shape, bool)
    starts[:, 1:] = classes[:, 1:] != classes[:, :-1]
    double = ~starts[:, 1:] & (owners[columns[:, 1:]] == owners[columns[:, :-1]])
    if double.any():
        row, place = np.argwhere(double)[0]
        raise ValueError(f"a model lists label {classes[row, place]} twice for video {first + row}")
    means = np.full(keys.shape, -np.inf, np.float32)
    sums = np.add.reduceat(np.take_along_axis(gains, columns, axis=1).ravel(), np.flatnonzero(starts))
    means[starts] = np.broadcast_to(base, keys.shape)[starts] + sums
    return classes, means


def _checked(
    labels: Sequence[ArrayLike], scores: Sequence[ArrayLike], weights: Sequence[float], num_classes: int
) -> list[_Model]:
    """Return the models of weight above 0, with weights that sum to 1, in an order that depends on their content only.

    Raises ValueError as `blend` does.
    """
    if not len(labels) == len(scores) == len(weights) > 0:
        raise ValueError(
            "there must be labels, scores and a weight for each of one or more models, not "
            f"{len(labels)} models' labels, {len(scores)} models' scores and {len(weights)} weights"
        )
    if not all(math.isfinite(weight) and weight >= 0 for weight in weights) or not any(weights):
        raise ValueError(f"weights must be finite, not negative and not all 0: {list(weights)}")
    total = math.fsum(weights)  # exact, so the same in any order
    models = []
    for number, (kept, given, weight) in enumerate(zip(map(np.asarray, labels), map(np.asarray, scores), weights)):
        if kept.ndim != 2 or kept.shape != given.shape or not kept.shape[1] or len(kept) != len(labels[0]):
            shapes = f"labels {list(kept.shape)}, scores {list(given.shape)}"
            raise ValueError(f"model {number}: {shapes}; both must be [videos, k], with the same videos for each model")
        if kept.dtype.kind not in "iu" or (kept.size and not 0 <= kept.min() <= kept.max() < num_classes):
            raise ValueError(f"model {number}: labels must be integers from 0 to {num_classes - 1}")
        if not np.isfinite(given := np.ascontiguousarray(given, np.float32)).all():
            raise ValueError(f"model {number}: a score is not a finite float32; look for where the model diverged")
        if weight:
            models.append(_Model(float(weight) / total, given, np.ascontiguousarray(kept, np.int32)))
    return sorted(models, key=lambda model: (model.weight, _digest(model.scores), _digest(model.labels)))


def _digest(array: NDArray) -> bytes:
    return hashlib.sha256(array).digest()
