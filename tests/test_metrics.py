"""The metrics against plain loops, with ties worked out over all orders."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline import metrics
from pipeline.metrics import LabelLists, StreamingMetrics

KEYS = ["gap", "map", "hit_at_one", "perr"]
close = pytest.approx


# ---------------------------------------------------------------------------------------------------------- slow forms


def slow_best(row, k):
    return sorted(range(len(row)), key=lambda label: (-row[label], label))[:k]


def slow_precision_sum(pairs):
    """Expected sum of precision * correct; each tied block by the chance of every count of hits at every place."""
    total, ahead, hits = Fraction(0), 0, 0
    for _, block in itertools.groupby(sorted(pairs, key=lambda pair: -pair[0]), key=lambda pair: pair[0]):
        flags = [correct for _, correct in block]
        size, right = len(flags), sum(flags)
        for place, before in itertools.product(range(size), range(right)):
            ways = math.comb(place, before) * math.comb(size - place - 1, right - 1 - before)
            total += Fraction(ways, math.comb(size, right)) * Fraction(hits + before + 1, ahead + place + 1)
        ahead, hits = ahead + size, hits + right
    return total


def slow_gap(predictions, labels, k):
    pairs = [(p[i], bool(y[i])) for p, y in zip(predictions, labels) for i in slow_best(p, k)]
    return float(slow_precision_sum(pairs) / max(int(np.sum(labels)), 1))


def slow_map(predictions, labels, k):
    kept = [set(slow_best(row, k or len(row))) for row in predictions]
    scores = []
    for label in np.flatnonzero(np.sum(labels, axis=0)):
        pairs = [(p[label], bool(y[label])) for p, y, best in zip(predictions, labels, kept) if label in best]
        scores.append(slow_precision_sum(pairs) / int(sum(y[label] for y in labels)))
    return float(sum(scores) / len(scores)) if scores else 0.0


def slow_hit(predictions, labels):
    return sum(bool(y[slow_best(p, 1)[0]]) for p, y in zip(predictions, labels)) / max(len(labels), 1)


def slow_perr(predictions, labels):
    total = 0.0
    for row, truth in zip(predictions, labels):
        if size := int(sum(truth)):
            total += sum(bool(truth[i]) and row[i] > 0 for i in slow_best(row, size)) / size
    return total / max(len(labels), 1)


def slow_all(predictions, labels, k):
    values = slow_gap(predictions, labels, k), slow_map(predictions, labels, k)
    return dict(zip(KEYS, (*values, slow_hit(predictions, labels), slow_perr(predictions, labels))))


def truths(labels):
    return [np.flatnonzero(row) for row in labels]


def streamed(predictions, labels, k=20, kept=None):
    stream = StreamingMetrics(predictions.shape[1], k)
    stream.accumulate(*metrics.top_k(predictions, kept or predictions.shape[1]), truths(labels))
    return stream.result()


@st.composite
def problems(draw, max_videos=7):
    """Scores, many of them tied or not above 0, and labels, many rows without any."""
    shape = draw(st.integers(0, max_videos)), draw(st.integers(1, 26))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    coarse = st.sampled_from([-1.0, -0.0, 0.0, 0.25, 0.5, 1.0])
    fine = st.floats(-1, 1, width=32) if dtype == np.float32 else st.floats(-1, 1)
    predictions = draw(hnp.arrays(dtype, shape, elements=draw(st.sampled_from([coarse, fine]))))
    labels = draw(hnp.arrays(bool, shape, elements=st.booleans(), fill=st.just(False)))
    return predictions, labels


# --------------------------------------------------------------------------------------------------------------- dense


@given(problems(), st.sampled_from([1, 2, 5, 20]))
@settings(max_examples=120, deadline=None)
def test_dense_and_streaming_equal_plain_loops(problem, k):
    predictions, labels = problem
    expected = slow_all(predictions, labels, k)
    assert metrics.global_average_precision(predictions, labels, k) == close(expected["gap"], abs=1e-12)
    assert metrics.mean_average_precision(predictions, labels, k) == close(expected["map"], abs=1e-12)
    assert metrics.mean_average_precision(predictions, labels) == close(slow_map(predictions, labels, None), abs=1e-12)
    assert metrics.hit_at_one(predictions, labels) == close(expected["hit_at_one"])
    assert metrics.precision_at_equal_recall_rate(predictions, labels) == close(expected["perr"])
    assert streamed(predictions, labels, k) == close(expected | {"videos": len(labels)}, abs=1e-12)


@given(st.lists(st.tuples(st.sampled_from([0.1, 0.5, 0.9]), st.booleans()), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_ties_give_the_mean_over_every_order(pairs):
    values = []
    for order in itertools.permutations(pairs):
        if all(a[0] >= b[0] for a, b in itertools.pairwise(order)):
            flags = [correct for _, correct in order]
            values.append(sum(sum(flags[: i + 1]) / (i + 1) for i in range(len(flags)) if flags[i]))
    predictions = np.array([[score] for score, _ in pairs])  # one class, so GAP and MAP rank the same pairs
    labels = np.array([[correct] for _, correct in pairs])
    expected = np.mean(values) / max(labels.sum(), 1)
    assert metrics.global_average_precision(predictions, labels) == close(expected)
    assert metrics.mean_average_precision(predictions, labels) == close(expected)


def test_ties_give_the_mean_of_a_reference_that_shuffles():
    rng = np.random.default_rng(0)
    predictions = rng.integers(0, 4, (12, 25)) / 4
    labels = rng.random((12, 25)) < 0.2
    pairs = np.array([(p[i], y[i]) for p, y in zip(predictions, labels) for i in slow_best(p, 20)])
    values = []
    for _ in range(1500):
        rng.shuffle(pairs)
        correct = pairs[np.argsort(-pairs[:, 0], kind="stable"), 1]
        values.append(np.sum(np.cumsum(correct) / np.arange(1, len(correct) + 1) * correct) / labels.sum())
    expected, error = np.mean(values), np.std(values) / np.sqrt(len(values))
    assert metrics.global_average_precision(predictions, labels) == close(expected, abs=4 * error)


def test_large_tied_blocks_and_small_chunks(monkeypatch):
    rng = np.random.default_rng(1)
    predictions = (rng.integers(0, 3, (90, 12)) / 4).astype(np.float32)
    labels = rng.random((90, 12)) < 0.3
    for chunk in (1, 7, 1 << 20):
        monkeypatch.setattr(metrics.ranking, "CHUNK", chunk)
        assert metrics.global_average_precision(predictions, labels, 8) == close(slow_gap(predictions, labels, 8))
        assert metrics.mean_average_precision(predictions, labels) == close(slow_map(predictions, labels, None))
        assert metrics.mean_average_precision(predictions, labels, 8) == close(slow_map(predictions, labels, 8))


def test_positives_outside_the_best_count_in_the_denominator():
    predictions = np.linspace(1, 0.1, 30)[None]  # label 0 is the best, 20 the first one that is cut off
    labels = np.zeros((1, 30))
    labels[0, [0, 20, 25]] = 1
    assert metrics.global_average_precision(predictions, labels) == close(1 / 3)
    assert metrics.mean_average_precision(predictions, labels, 20) == close(1 / 3)
    assert metrics.mean_average_precision(predictions, labels) == 1
    assert metrics.hit_at_one(predictions, labels) == 1
    assert metrics.precision_at_equal_recall_rate(predictions, labels) == close(1 / 3)


def test_worked_by_hand():
    predictions = np.array([[0.9, 0.5, 0.1], [0.2, 0.8, 0.7]])
    labels = np.array([[0, 1, 0], [0, 1, 1]])
    # Pooled: .9 wrong, .8 right (1/2), .7 right (2/3), .5 right (3/4).
    assert metrics.global_average_precision(predictions, labels) == close((1 / 2 + 2 / 3 + 3 / 4) / 3)
    assert metrics.mean_average_precision(predictions, labels) == close((1 + 1) / 2)
    assert metrics.hit_at_one(predictions, labels) == 0.5
    assert metrics.precision_at_equal_recall_rate(predictions, labels) == 0.5


def test_scores_of_zero_predict_nothing_for_perr_only():
    predictions, labels = np.zeros((2, 3)), np.array([[1, 0, 0], [0, 0, 0]])
    assert metrics.precision_at_equal_recall_rate(predictions, labels) == 0
    assert metrics.hit_at_one(predictions, labels) == 0.5
    assert streamed(predictions, labels) == close(slow_all(predictions, labels, 20) | {"videos": 2})


@pytest.mark.parametrize("shape", [(0, 4), (3, 4)])
def test_nothing_to_find_scores_zero(shape):
    predictions, labels = np.ones(shape, np.float32), np.zeros(shape)
    assert streamed(predictions, labels) == dict.fromkeys(KEYS, 0.0) | {"videos": shape[0]}
    assert metrics.global_average_precision(predictions, labels) == 0
    assert metrics.mean_average_precision(predictions, labels) == 0
    assert metrics.hit_at_one(predictions, labels) == 0
    assert metrics.precision_at_equal_recall_rate(predictions, labels) == 0


def test_float64_scores_are_not_rounded():
    predictions = np.array([[0.5], [0.5 + 1e-12]])
    assert metrics.global_average_precision(predictions, np.array([[1], [0]])) == 0.5
    assert metrics.global_average_precision(predictions, np.array([[0], [1]])) == 1
    assert streamed(predictions, np.array([[1], [0]]))["gap"] == 0.5


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_zeros_of_both_signs_tie(dtype):
    labels = np.array([[1], [0]])
    assert metrics.global_average_precision(np.array([[-0.0], [0.0]], dtype), labels) == 0.75
    assert metrics.global_average_precision(np.array([[0.0], [-0.0]], dtype), labels) == 0.75


@pytest.mark.parametrize(
    ("predictions", "labels", "message"),
    [
        ([[0.1, np.nan]], [[0, 1]], "NaN"),
        ([[0.1, 0.2]], [[0, 2]], "0 or 1"),
        ([[0.1, 0.2]], [[0, 0.5]], "0 or 1"),
        ([[0.1, 0.2]], [[0, 1, 0]], r"not \[1, 2\] and \[1, 3\]"),
        ([0.1, 0.2], [0, 1], r"must both be \[videos, classes\]"),
        (np.zeros((2, 0)), np.zeros((2, 0)), r"\[2, 0\]"),
    ],
)
def test_bad_dense_arrays_are_refused(predictions, labels, message):
    for metric in (
        metrics.global_average_precision,
        metrics.mean_average_precision,
        metrics.hit_at_one,
        metrics.precision_at_equal_recall_rate,
    ):
        with pytest.raises(ValueError, match=message):
            metric(np.array(predictions), np.array(labels))


# ----------------------------------------------------------------------------------------------------------- streaming


@given(problems(max_videos=12), st.randoms(use_true_random=False), st.integers(1, 26))
@settings(max_examples=80, deadline=None)
def test_streaming_is_the_same_bytes_in_any_order_and_chunking(problem, random, k):
    predictions, labels = problem
    top, scores = metrics.top_k(predictions, predictions.shape[1])
    whole = StreamingMetrics(predictions.shape[1], k)
    whole.accumulate(top, scores, truths(labels))
    expected = whole.result()
    videos = list(range(len(labels)))
    random.shuffle(videos)
    columns = list(range(top.shape[1]))
    random.shuffle(columns)  # rows need not be sorted
    pieces = StreamingMetrics(predictions.shape[1], k)
    while videos:
        size = random.randint(1, 5)
        chunk, videos = videos[:size], videos[size:]
        truth = truths(labels[chunk])
        given_truth = LabelLists.of(truth) if random.random() < 0.5 else [list(each) for each in truth]
        pieces.accumulate(top[chunk][:, columns], scores[chunk][:, columns], given_truth)
        if random.random() < 0.3:
            pieces.result()  # asking in between changes nothing
    assert pieces.result() == expected


@given(problems(), st.integers(1, 8), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_padding_is_as_if_it_were_not_there(problem, kept, random):
    predictions, labels = problem
    top, scores = metrics.top_k(predictions, kept)
    plain, padded = StreamingMetrics(predictions.shape[1]), StreamingMetrics(predictions.shape[1])
    plain.accumulate(top, scores, truths(labels))
    at = random.randint(0, top.shape[1])
    filler = np.full((len(top), 3), -1)
    wide = np.concatenate([scores[:, :at], filler * np.nan, scores[:, at:]], axis=1).astype(scores.dtype)
    padded.accumulate(np.concatenate([top[:, :at], filler, top[:, at:]], axis=1), wide, truths(labels))
    assert padded.result() == plain.result()


def test_a_video_of_padding_alone_hits_nothing():
    stream = StreamingMetrics(3)
    stream.accumulate(np.array([[2], [-1]]), np.array([[0.5], [0.0]]), [[2], [0]])  # 2 is the cell before row 1's first
    assert stream.result() == {"gap": 0.5, "map": 0.5, "hit_at_one": 0.5, "perr": 0.5, "videos": 2}


def test_chunks_within_a_batch_change_nothing(monkeypatch):
    rng = np.random.default_rng(2)
    predictions, labels = rng.random((50, 9), np.float32), rng.random((50, 9)) < 0.3
    expected = streamed(predictions, labels, 4)
    monkeypatch.setattr(metrics.ranking, "CHUNK", 30)
    assert streamed(predictions, labels, 4) == expected
    assert expected == close(slow_all(predictions, labels, 4) | {"videos": 50})


def test_a_pair_takes_seven_bytes():
    stream = StreamingMetrics(3862)
    rng = np.random.default_rng(3)
    top, scores = metrics.top_k(rng.random((64, 3862), np.float32), 100)
    stream.accumulate(top, scores, [[1, 2]] * 64)
    assert sum(array.nbytes for pairs in stream._pairs for array in pairs) == 64 * 20 * 7


@pytest.mark.parametrize(
    ("labels", "scores", "truth", "message"),
    [
        ([[0, 1]], [[0.5, np.nan]], [[0]], "NaN"),
        ([[0, 9]], [[0.5, 0.4]], [[0]], "predicted label 9 is not one of 5"),
        ([[0, -2]], [[0.5, 0.4]], [[0]], "predicted label -2"),
        ([[0, 1]], [[0.5, 0.4]], [[5]], "true label 5 is not one of 5"),
        ([[0, 1]], [[0.5, 0.4]], [[-1]], "true label -1"),
        ([[0, 1], [3, 3]], [[0.5, 0.4]] * 2, [[0], [0]], "predicted label 3 occurs twice in video 1"),
        ([[0, 1]] * 3, [[0.5, 0.4]] * 3, [[0], [1], [2, 4, 2]], "true label 2 occurs twice in video 2"),
        ([[0, 1]], [[0.5, 0.4, 0.3]], [[0]], "must be"),
        ([[0, 1]], [[0.5, 0.4]], [[0], [1]], "not .* 2 videos"),
        ([0, 1], [0.5, 0.4], [[0], [1]], "must be"),
        ([[0.0, 1.5]], [[0.5, 0.4]], [[0]], "integers"),
        ([[0, 1]], [[0.5, 0.4]], [[0.5]], "integers"),
        ([[0, 1]], [[0.5, 0.4]], LabelLists(np.array([1, 2]), np.array([0, 1])), "ascend from 0 to 2"),
    ],
)
def test_bad_batches_are_refused_and_leave_no_trace(labels, scores, truth, message):
    stream = StreamingMetrics(5)
    with pytest.raises(ValueError, match=message):
        stream.accumulate(np.array(labels), np.array(scores), truth)
    assert stream.result() == StreamingMetrics(5).result()


def test_label_lists_hold_videos_without_labels():
    assert [part.tolist() for part in LabelLists.of([[], [3, 1], [], np.array([2])])] == [[3, 1, 2], [0, 0, 2, 2, 3]]
    assert [part.tolist() for part in LabelLists.of([])] == [[], [0]]


# --------------------------------------------------------------------------------------------------------------- top k


@given(problems(max_videos=9), st.integers(1, 30))
@settings(max_examples=100, deadline=None)
def test_top_k_equals_sorting(problem, k):
    scores, _ = problem
    labels, best = metrics.top_k(scores, k)
    expected = [slow_best(row, k) for row in scores]
    assert labels.tolist() == expected
    assert labels.shape == best.shape == (len(scores), min(k, scores.shape[1]))
    assert best.tolist() == [[row[label] for label in kept] for row, kept in zip(scores, expected)]
    assert labels.dtype == np.int16 and best.dtype == scores.dtype


def test_top_k_of_many_classes_and_of_infinities(monkeypatch):
    monkeypatch.setattr(metrics.ranking, "CHUNK", 100_000)
    rng = np.random.default_rng(4)
    scores = rng.choice(np.array([-np.inf, 0, 1, np.inf], np.float32), (5, 40_000), p=[0.5, 0.4, 0.0999, 0.0001])
    labels, _ = metrics.top_k(scores, 50)
    assert labels.dtype == np.int32
    assert labels.tolist() == [slow_best(row.tolist(), 50) for row in scores]


def test_a_hundred_thousand_classes():
    """The best hundred of dense scores, and their metrics: those of the few classes that occur, under other numbers."""
    rng, chosen = np.random.default_rng(5), np.sort(np.random.default_rng(6).permutation(100_000)[:150])
    few, hot = rng.random((30, 150)).astype(np.float32), rng.random((30, 150)) < 0.02
    hot[:3] = False  # videos to which no class applies
    scores = np.full((30, 100_000), -1, np.float32)
    scores[:, chosen] = few
    labels, best = metrics.top_k(scores, 100)
    assert labels.dtype == np.int32 and labels.max() > 32_767
    expected, _ = metrics.top_k(few, 100)
    np.testing.assert_array_equal(labels, chosen[expected])
    truth = [chosen[np.flatnonzero(row)] for row in hot]
    streaming = StreamingMetrics(100_000)
    streaming.accumulate(labels, best, truth)
    assert streaming.result() == pytest.approx(
        {
            "gap": metrics.global_average_precision(few, hot),
            "map": metrics.mean_average_precision(few, hot, top_k=20),
            "hit_at_one": metrics.hit_at_one(few, hot),
            "perr": metrics.precision_at_equal_recall_rate(few, hot),
            "videos": 30,
        }
    )


@pytest.mark.parametrize("k", [1, 5, 20])
@pytest.mark.parametrize("values", [2, 5, 40, 100_000])
def test_top_k_by_a_floor(k, values):
    """Videos with few scores at the floor, with many, and with all of them, beside each other."""
    rng = np.random.default_rng(k * values)
    scores = rng.integers(0, values, (40, 701)).astype(np.float32) ** 2
    scores[7], scores[8, :650], scores[9, 1:] = 3, -np.inf, -np.inf
    labels, best = metrics.top_k(scores, k)
    expected = [slow_best(row.tolist(), k) for row in scores]
    assert labels.tolist() == expected
    assert best.tolist() == [row[kept].tolist() for row, kept in zip(scores, expected)]


@pytest.mark.parametrize("place", [0, 350, 700])
def test_top_k_refuses_nan_wherever_it_is(place):
    scores = np.random.default_rng(0).random((3, 701), np.float32)
    scores[1, place] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        metrics.top_k(scores, 5)


@pytest.mark.parametrize(
    ("scores", "k", "message"),
    [([[0.1, np.nan, 0.3]], 1, "NaN"), ([0.1], 1, "classes"), ([[0.1]], 0, "k >= 1"), ([[]], 1, "classes")],
)
def test_top_k_refuses(scores, k, message):
    with pytest.raises(ValueError, match=message):
        metrics.top_k(np.array(scores, np.float32), k)
