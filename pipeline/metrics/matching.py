"""Predictions beside the truth, video by video: which are right, how good a video's are, whose are worth a look."""

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics import LabelLists


def matches(
    labels: NDArray[np.integer], truth: LabelLists, num_classes: int
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Which predicted labels [n,K] are true; and at which place, from 0, each true one [M] is predicted, K if at none.

    A label of -1 is none. Works on a table of n x V: give it some hundred videos at a time.
    """
    n, k = labels.shape
    places = np.full((n, num_classes + 1), k, np.int32)  # the last column is that of -1
    np.put_along_axis(places, labels.astype(np.int64), np.arange(k, dtype=np.int32)[None, :], axis=1)
    places[:, -1] = k
    video = np.repeat(np.arange(n), np.diff(truth.offsets))
    found = places[video, truth.values].astype(np.int64)
    correct = np.zeros((n, k + 1), bool)
    correct[video, found] = True
    return correct[:, :-1], found


def video_precisions(correct: NDArray[np.bool_], num_labels: NDArray[np.integer]) -> NDArray[np.float64]:
    """The average precision of each video's own ranking, best first [n,K] -> [n]; NaN for a video without labels."""
    hits = np.cumsum(correct, axis=1)
    sums = (correct * hits / np.arange(1, correct.shape[1] + 1)).sum(axis=1)
    return np.divide(sums, num_labels, out=np.full(len(correct), np.nan), where=num_labels > 0)


def telling_videos(
    precisions: NDArray, num_labels: NDArray, confidence: NDArray, labels: NDArray, each: int = 2
) -> dict[str, list[int]]:
    """Videos worth a look, by their average precision: `best`, `middle` and `worst`, as places in the arrays [N].

    Among equals, of the best those with the most labels, of the worst those whose first prediction was the surest. No
    two videos have the same `labels`, a number for each set of them, and none is chosen that has none (NaN).
    """
    known = precisions[~np.isnan(precisions)]
    distance = np.abs(precisions - np.median(known)) if len(known) else precisions
    orders = {
        "best": np.lexsort((-confidence, -num_labels, -precisions)),
        "worst": np.lexsort((-confidence, precisions)),
        "middle": np.lexsort((-confidence, -num_labels, distance)),
    }
    chosen: dict[str, list[int]] = {"best": [], "middle": [], "worst": []}
    taken: set[int] = set()
    for name, order in orders.items():
        for place in order.tolist():
            if len(chosen[name]) == each:
                break
            if not np.isnan(precisions[place]) and int(labels[place]) not in taken:
                taken.add(int(labels[place]))
                chosen[name].append(place)
    return chosen


def hash_label_sets(truth: LabelLists, num_classes: int) -> NDArray[np.int64]:
    """A number for each video's set of labels [n], whatever their order; as good as surely another for another set."""
    numbers = np.random.default_rng(0).integers(-(1 << 62), 1 << 62, num_classes)  # Zobrist 1970: here the sums
    ends = np.concatenate([[0], np.cumsum(numbers[truth.values])])  # it wraps around, which does no harm
    return np.diff(ends[truth.offsets])
