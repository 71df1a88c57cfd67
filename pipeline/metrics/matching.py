"""Compare predictions with the truth, video by video: which are correct, how good they are, which to look at."""

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics import LabelLists


def matches(
    labels: NDArray[np.integer], truth: LabelLists, num_classes: int
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return which predicted labels [n,K] are true, and the place, from 0, at which each true label [M] is predicted.

    The place is K if a label is not predicted; a predicted label of -1 means none. The function builds a table of n x V
    values, so give it `videos_at_a_time`.
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


def videos_at_a_time(num_classes: int) -> int:
    """Return how many videos to give to `matches`: a few hundred, or fewer of very many classes."""
    return max(1, min(512, (1 << 22) // num_classes))


def correct_pairs(labels: NDArray[np.integer], truth: LabelLists, num_classes: int) -> NDArray[np.bool_]:
    """Return which predicted labels [n,K] are true, as `matches`, of any number of videos."""
    correct, step = np.zeros(labels.shape, bool), videos_at_a_time(num_classes)
    for low in range(0, len(labels), step):
        offsets = truth.offsets[low : low + step + 1]
        own = LabelLists(truth.values[offsets[0] : offsets[-1]], offsets - offsets[0])
        correct[low : low + step] = matches(labels[low : low + step], own, num_classes)[0]
    return correct


def video_precisions(correct: NDArray[np.bool_], num_labels: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return the average precision of each video's own ranking, best first [n,K] -> [n]; NaN if it has no labels."""
    hits = np.cumsum(correct, axis=1)
    sums = (correct * hits / np.arange(1, correct.shape[1] + 1)).sum(axis=1)
    return np.divide(sums, num_labels, out=np.full(len(correct), np.nan), where=num_labels > 0)


def telling_videos(
    precisions: NDArray, num_labels: NDArray, confidence: NDArray, labels: NDArray, each: int = 2
) -> dict[str, list[int]]:
    """Choose videos to look at by average precision: `best`, `middle` and `worst`, as indices of the arrays [N].

    Among equally good videos, those with the most labels are preferred; among equally bad ones, those whose first
    prediction was the most confident. `labels` holds a number for each set of labels, and no two chosen videos have the
    same. Videos without labels (NaN) are not chosen.
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
    """Return a number for each video's set of labels, [n]; their order does not matter, and collisions are unlikely."""
    # Zobrist hashing (1970), with sums in place of XOR.
    numbers = np.random.default_rng(0).integers(-(1 << 62), 1 << 62, num_classes)
    ends = np.concatenate([[0], np.cumsum(numbers[truth.values])])  # the sum wraps around, which does no harm
    return np.diff(ends[truth.offsets])
