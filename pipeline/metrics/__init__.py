"""The challenge's metrics: GAP@20, MAP, Hit@1 and PERR, from dense scores or from each video's best labels.

Pairs with equal scores have no order: each average precision is the expected value over all orders of tied pairs, in
closed form. Where a ranking is cut off, or a single class is chosen, the smaller label wins a tie. So each metric
depends on the predictions only, never on the order of the videos. Bad arrays (NaN, wrong shapes, labels that are not 0
or 1, out of range or twice in a video) raise ValueError. Without videos, or without labels, the metrics are 0.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.metrics import ranking
from pipeline.metrics.precision import average_precisions, mean_over_classes, precision_sums
from pipeline.metrics.ranking import LabelLists, as_floats, check_no_nan, label_dtype, top_k
from pipeline.metrics.streaming import StreamingMetrics

__all__ = [
    "LabelLists",
    "StreamingMetrics",
    "average_precisions",
    "global_average_precision",
    "hit_at_one",
    "label_dtype",
    "mean_average_precision",
    "precision_at_equal_recall_rate",
    "top_k",
]


def global_average_precision(predictions: ArrayLike, labels: ArrayLike, top_k: int = 20) -> float:
    """Return GAP: the average precision of each video's `top_k` best pairs in one ranking, divided by all positives.

    Here and below, predictions are float [N,V] and labels [N,V] are 0 or 1.
    """
    return _dense(predictions, labels, top_k).gap()


def mean_average_precision(predictions: ArrayLike, labels: ArrayLike, top_k: int | None = None) -> float:
    """Return MAP: the average precision of each class over all videos, averaged over the classes with a positive.

    With `top_k`, only each video's best pairs are ranked; the sum of a class is still divided by all its positives.
    """
    if top_k is not None:
        return _dense(predictions, labels, top_k).map()
    predictions, labels = _checked(predictions, labels)
    positives = np.count_nonzero(labels, axis=0)  # V
    sums, present = np.zeros(len(positives)), np.flatnonzero(positives)
    step = max(1, ranking.CHUNK // max(len(labels), 1))
    for low in range(0, len(present), step):
        classes = present[low : low + step]
        groups = np.arange(len(classes))
        sums[classes] = precision_sums(groups, predictions[:, classes], labels[:, classes], len(classes))
    return mean_over_classes(sums, positives)


def hit_at_one(predictions: ArrayLike, labels: ArrayLike) -> float:
    """Return the share of videos whose best class is correct."""
    return _dense(predictions, labels, 1).hit_at_one()


def precision_at_equal_recall_rate(predictions: ArrayLike, labels: ArrayLike) -> float:
    """Return PERR: the mean over videos of the precision of the k best classes, where k is the video's label count.

    A class with a score of 0 or less is not a prediction. A video without labels counts as 0.
    """
    return _dense(predictions, labels, 1).perr()


def _dense(predictions: ArrayLike, labels: ArrayLike, k: int) -> StreamingMetrics:
    predictions, labels = _checked(predictions, labels)
    sizes = np.count_nonzero(labels, axis=1)
    truth = LabelLists(np.nonzero(labels)[1], np.concatenate([[0], np.cumsum(sizes)]))
    metrics = StreamingMetrics(labels.shape[1], k)
    metrics.accumulate(*top_k(predictions, max(k, sizes.max(initial=0))), truth)
    return metrics


def _checked(predictions: ArrayLike, labels: ArrayLike) -> tuple[NDArray[np.floating], NDArray[np.bool_]]:
    predictions, labels = as_floats(predictions), np.asarray(labels)
    if predictions.ndim != 2 or not predictions.shape[1] or predictions.shape != labels.shape:
        shapes = f"{list(predictions.shape)} and {list(labels.shape)}"
        raise ValueError(f"predictions and labels must both be [videos, classes], not {shapes}")
    check_no_nan(predictions)
    positive = labels.astype(bool)
    if not np.array_equal(positive, labels):
        raise ValueError("labels must be 0 or 1")
    return predictions, positive
