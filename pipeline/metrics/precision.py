"""Compute the average precision of rankings with ties, in closed form."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.metrics import ranking


def average_precisions(
    groups: ArrayLike, scores: NDArray, correct: NDArray, positives: NDArray[np.integer]
) -> NDArray[np.float64]:
    """Return the average precision of each group of pairs, ranked by itself, float64 [G]; NaN if it has no positive.

    Each of the M pairs has a group, int below G; a score, float; and whether it is correct, bool. `positives`, int [G],
    counts all positives of a group, including those that no pair covers.
    """
    sums = precision_sums(groups, scores, correct, len(positives))
    return np.divide(sums, positives, out=np.full(len(positives), np.nan), where=positives > 0)


def precision_sums(groups: ArrayLike, scores: NDArray, correct: NDArray, num_groups: int) -> NDArray[np.float64]:
    """Return the sum of precision(i) * correct(i) over each group's pairs by descending score, expected over ties.

    Take a tied block of b pairs, r of them correct, behind n other pairs, c of them correct. The pair at place j = 0..
    of the block is correct with probability r/b, and if it is, j (r-1)/(b-1) of the block's pairs before it are
    expected to be correct. So the block adds r/b * sum_j (c + 1 + j (r-1)/(b-1)) / (n + j + 1). Groups are ints below
    `num_groups`, broadcast over the pairs.
    """
    keys = _descending_codes(scores)
    if num_groups > 1:  # a single ranking needs only the codes, which sort twice as fast
        keys = np.asarray(groups, np.int64) << 32 | keys
    keys = keys.ravel()
    blocks, found = np.unique(keys[correct.ravel()], return_counts=True)  # r of each block that adds anything
    keys.sort()
    first = np.searchsorted(keys, blocks)
    size = np.ones(len(blocks), np.int64)  # b; few are tied
    tied = np.flatnonzero(keys[np.minimum(first + 1, len(keys) - 1)] == blocks)
    size[tied] = np.searchsorted(keys, blocks[tied], "right") - first[tied]
    group = blocks.astype(np.int64) >> 32
    ahead = first - np.searchsorted(keys, group << 32) if num_groups > 1 else first  # n
    return block_sums(group, found, size, ahead, num_groups)


def block_sums(
    group: NDArray[np.int64],
    found: NDArray[np.int64],
    size: NDArray[np.int64],
    ahead: NDArray[np.int64],
    num_groups: int,
) -> NDArray[np.float64]:
    """Return what `precision_sums` does, from the blocks of equal scores that hold a correct pair.

    Args:
        group: int64 [blocks], the group of each, ascending; within a group by descending score.
        found: int64 [blocks], its correct pairs (r).
        size: int64 [blocks], all its pairs (b).
        ahead: int64 [blocks], the pairs of its group with a higher score (n).
        num_groups: how many groups there are.
    """
    hits = np.cumsum(found) - found
    hits -= hits[np.searchsorted(group, group)]  # c
    chance, rise = found / size, (found - 1) / np.maximum(size - 1, 1)
    sums, ends = np.zeros(num_groups), np.cumsum(size)
    for low in range(0, int(size.sum()), ranking.CHUNK):
        item = np.arange(low, min(low + ranking.CHUNK, ends[-1]))
        block = np.searchsorted(ends, item, "right")
        place = item - (ends - size)[block]  # j
        terms = chance[block] * (hits[block] + 1 + place * rise[block]) / (ahead[block] + place + 1)
        sums += np.bincount(group[block], terms, minlength=num_groups)
    return sums


def codes_like(scores: NDArray, levels: NDArray | None) -> NDArray[np.integer]:
    """Return integers in [0, 2**32) that ascend as the scores descend; equal scores have equal ones.

    Scores of any float type but float32 are told apart from the `levels` alone, float [L], ascending and distinct: two
    scores between the same levels may have equal numbers.
    """
    if scores.dtype == np.float32:
        return _descending_codes(scores)
    if levels is None:
        raise ValueError(f"scores of one type must be given throughout, not float32 and then {scores.dtype}")
    below, above = np.searchsorted(levels, scores), np.searchsorted(levels, scores, "right")
    return 2 * len(levels) - below - above  # odd where the score is a level


def scores_like(codes: NDArray[np.integer], levels: NDArray | None) -> NDArray[np.floating]:
    """Return the scores that `codes_like` made integers of; of another type than float32 they must be levels."""
    if levels is not None:
        return levels[(2 * len(levels) - 1 - codes) // 2]
    bits = codes.astype(np.uint32)
    return np.where(bits >> 31, bits, bits ^ np.uint32(0x7FFFFFFF)).view(np.float32)


def _descending_codes(scores: NDArray) -> NDArray[np.integer]:
    """Return integers in [0, 2**32) that ascend as the scores descend, and are equal for equal scores."""
    if scores.dtype != np.float32:
        return np.unique(-scores, return_inverse=True)[1]
    bits = (scores + np.float32(0)).view(np.uint32)  # adding 0 makes -0.0 equal to 0.0
    return np.where(bits >> 31, bits, bits ^ np.uint32(0x7FFFFFFF))


def mean_over_classes(sums: NDArray, positives: NDArray) -> float:
    present = positives > 0
    return float(np.mean(sums[present] / positives[present])) if present.any() else 0.0
