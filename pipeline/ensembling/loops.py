"""The compiled loops of tuning: align models' lists by class, rank each video's means, and sum precision for GAP.

The loops use plain operations wherever that costs no time: numba takes more than a second to compile a copy of a slice
or a call of `np.unique`.
"""

import numpy as np

from pipeline.runtime.compiled import compile_numba


@compile_numba
def align(labels, ascending, values, starts, truth, bounds, num_classes, reach):
    """Return the (video, class) pairs that some weighted mean of M models' lists may rank among its `reach` best.

    A pair is left out if `reach` other pairs of its video are ahead of it in every model. Another pair is ahead if its
    value is larger. Of two equal values, the one that the model lists is ahead; if it lists both, the smaller label is.
    A model that lists neither does not tell the two apart.

    Args:
        labels: int32 [N,W], the models' lists side by side; model m has the columns starts[m] to starts[m + 1].
        ascending: int32 [N,W], each video's labels in ascending order.
        values: float32 [N,W], the value of each of `labels`.
        starts: int64 [M+1].
        truth: int [L], the videos' true labels; video i has those from bounds[i] to bounds[i + 1].
        bounds: int64 [N+1].
    Returns:
        sizes int64 [N], the number of pairs of each video; the pairs of a video are ordered by descending plain mean.
        values float32, for each video [M,size], flattened; if a model does not list the class, its smallest value.
        classes int32 [pairs]. keepers uint64 [pairs, words], with a bit for each model that lists the class. correct
        bool [pairs].
    """
    num_videos, width = labels.shape
    num_models = len(starts) - 1
    words = (num_models + 63) // 64
    sizes = np.zeros(num_videos, np.int64)
    found = np.empty(num_videos * width * num_models, np.float32)
    named = np.empty(num_videos * width, np.int32)
    keepers = np.zeros((num_videos * width, words), np.uint64)
    correct = np.zeros(num_videos * width, np.bool_)
    slots, true = np.full(num_classes, -1, np.int64), np.zeros(num_classes, np.bool_)
    table, listed = np.empty((width, num_models), np.float32), np.empty((width, num_models), np.bool_)
    classes, kept, sums = np.empty(width, np.int32), np.empty(width, np.int64), np.empty(width)
    pairs = 0
    for video in range(num_videos):
        for label in truth[bounds[video] : bounds[video + 1]]:
            true[label] = True
        different = 0
        for label in ascending[video]:
            if not different or label != classes[different - 1]:
                classes[different], slots[label] = label, different
                different += 1
        for model in range(num_models):
            least = values[video, starts[model]]
            for column in range(starts[model], starts[model + 1]):
                least = min(least, values[video, column])
            for slot in range(different):
                table[slot, model], listed[slot, model] = least, False
            for column in range(starts[model], starts[model + 1]):
                table[slots[labels[video, column]], model] = values[video, column]
                listed[slots[labels[video, column]], model] = True
        for slot in range(different):
            sums[slot] = 0.0
            for model in range(num_models):
                sums[slot] -= table[slot, model]
        count = 0
        for slot in np.argsort(sums[:different], kind="mergesort"):  # a pair that is ahead in every model comes first
            ahead = 0
            for other in kept[:count]:  # not those left out: what is ahead of them is ahead of this one too
                behind = False
                for model in range(num_models):
                    ours, theirs = table[slot, model], table[other, model]
                    if ours > theirs or (
                        ours == theirs and listed[slot, model] and (not listed[other, model] or slot < other)
                    ):
                        behind = True
                        break
                ahead += not behind
                if ahead == reach:
                    break
            if ahead < reach:
                kept[count] = slot
                count += 1
        for place in range(count):
            slot = kept[place]
            named[pairs + place], correct[pairs + place] = classes[slot], true[classes[slot]]
            for model in range(num_models):
                found[pairs * num_models + model * count + place] = table[slot, model]
                if listed[slot, model]:
                    keepers[pairs + place, model // 64] |= np.uint64(1) << np.uint64(model % 64)
        sizes[video] = count
        pairs += count
        for label in truth[bounds[video] : bounds[video + 1]]:
            true[label] = False
    return (
        sizes,
        found[: pairs * num_models].copy(),
        named[:pairs].copy(),
        keepers[:pairs].copy(),
        correct[:pairs].copy(),
    )


@compile_numba
def best_pairs(offsets, values, classes, keepers, correct, weights, reach):
    """Return the `reach` best pairs of each video by weighted mean; the smaller class wins a tie.

    The arguments are the results of `align`, with its sizes summed up to offsets int64 [N+1], and weights float64 [M].
    A pair is skipped if no model of weight above 0 lists its class. Returns the means, float32, and whether each pair
    is correct, bool, for all videos one after the other.
    """
    num_videos, num_models = len(offsets) - 1, len(weights)
    used = np.zeros(keepers.shape[1], np.uint64)
    for model in range(num_models):
        if weights[model]:
            used[model // 64] |= np.uint64(1) << np.uint64(model % 64)
    means, hits = np.empty(num_videos * reach, np.float32), np.empty(num_videos * reach, np.bool_)
    most = 0
    for video in range(num_videos):
        most = max(most, offsets[video + 1] - offsets[video])
    sums = np.empty(most)
    best, names, right = np.empty(reach, np.float32), np.empty(reach, np.int32), np.empty(reach, np.bool_)
    total = 0
    for video in range(num_videos):
        first, count = offsets[video], offsets[video + 1] - offsets[video]
        sums[:count] = 0
        for model in range(num_models):
            if weights[model]:
                start = first * num_models + model * count
                weight, column = weights[model], values[start : start + count]
                for place in range(count):
                    sums[place] += weight * column[place]
        filled = 0
        for place in range(count):
            mean, label = np.float32(sums[place]), classes[first + place]
            if filled == reach and mean < best[reach - 1]:
                continue
            present = False
            for word in range(len(used)):
                present |= keepers[first + place, word] & used[word] != 0
            at = filled
            while present and at and (best[at - 1] < mean or (best[at - 1] == mean and names[at - 1] > label)):
                at -= 1
            if not present or at == reach:
                continue
            filled = min(filled + 1, reach)
            for later in range(filled - 1, at, -1):
                best[later], names[later], right[later] = best[later - 1], names[later - 1], right[later - 1]
            best[at], names[at], right[at] = mean, label, correct[first + place]
        for at in range(filled):
            means[total + at], hits[total + at] = best[at], right[at]
        total += filled
    return means[:total], hits[:total]


@compile_numba
def precision_sum(scores, found):
    """Return the sum of precision(i) * correct(i) over a ranking, as its expected value over the orders of ties.

    `scores` holds the scores of all pairs, `found` those of the correct pairs, both ascending. The closed form is that
    of `pipeline.metrics`: take a block of b equal scores, r of them correct, behind n other pairs, c of them correct.
    Place j = 0.. of the block adds r/b (c + 1 + j (r-1)/(b-1)) / (n + j + 1).
    """
    total, last, hit = 0.0, len(scores) - 1, len(found) - 1
    while hit >= 0:
        level = found[hit]
        while scores[last] > level:
            last -= 1
        low, same = last, hit
        while low >= 0 and scores[low] == level:
            low -= 1
        while same >= 0 and found[same] == level:
            same -= 1
        size, right = last - low, hit - same  # b, r
        ahead, hits = len(scores) - 1 - last, len(found) - 1 - hit  # n, c
        rise = (right - 1) / max(size - 1, 1)
        for place in range(size):
            total += right / size * (hits + 1 + place * rise) / (ahead + place + 1)
        last, hit = low, same
    return total
