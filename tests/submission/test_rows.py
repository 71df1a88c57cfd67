"""What is written is valid, reads back, and has the bytes of `%i %g`, gzipped or not."""

import gzip
import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.inputs.index.ids import id_fault
from pipeline.submission import WrittenSubmission, check_submission, read_submission, rows, scanning, write_submission
from pipeline.submission.lines import HEADER

IDS = ["aDoE", "1e10", "NaN", "-abc", "0012", "true", "élan", "東京"]
VIDEO_IDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=6).filter(lambda name: not id_fault(name))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "submission.csv"


def plainly(ids, labels, scores, top_k) -> bytes:
    """The file as the challenge's own code would write it."""
    lines = [HEADER]
    for video, best, confidences in zip(ids, labels.tolist(), scores.tolist()):
        lines.append(
            f"{video}," + " ".join(f"{label:d} {score:g}" for label, score in list(zip(best, confidences))[:top_k])
        )
    return ("\n".join(lines) + "\n").encode()


@st.composite
def batches(draw):
    num_classes, k = draw(st.sampled_from([1, 30, 3862, 100_000])), draw(st.integers(1, 25))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    ids = draw(st.lists(st.one_of(VIDEO_IDS, st.sampled_from(IDS)), min_size=1, max_size=9, unique=True))
    k = min(k, num_classes)
    labels = np.array([rng.permutation(num_classes)[:k] for _ in ids], np.int32)
    scores = draw(st.sampled_from([rng.random, lambda shape: rng.integers(0, 2, shape), lambda x: rng.random(x) ** 99]))
    scores = -np.sort(-scores(labels.shape).astype(np.float32), axis=1)
    return ids, labels, scores, num_classes


@pytest.mark.wide
@given(batches(), st.integers(1, 20), st.sampled_from(["x.csv", "x.csv.gz"]), st.sampled_from([30, 1 << 20]))
@settings(max_examples=60, deadline=None)
def test_written_files_are_valid_and_read_back(tmp_path_factory, batch, top_k, name, block):
    ids, labels, scores, num_classes = batch
    path = tmp_path_factory.getbasetemp() / name
    parts = [(ids[:2], labels[:2], scores[:2]), (ids[2:], labels[2:], scores[2:])]
    expected = plainly(ids, labels, scores, top_k)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scanning, "_BLOCK", block)
        patch.setattr(rows, "_ROWS", 3)
        assert write_submission(path, parts, top_k) == WrittenSubmission(len(ids), hashlib.sha256(expected).hexdigest())
        assert check_submission(path, ids, num_classes, top_k) == []
        chunks = list(read_submission(path, num_classes))
    content = path.read_bytes()
    assert (gzip.decompress(content) if path.suffix == ".gz" else content) == expected
    assert [video for chunk in chunks for video in chunk[0]] == ids
    assert np.array_equal(np.concatenate([chunk[1] for chunk in chunks]), labels[:, :top_k])
    expected = [[np.float32(f"{score:g}") for score in row] for row in scores[:, :top_k].tolist()]
    assert np.array_equal(np.concatenate([chunk[2] for chunk in chunks]), expected)


def test_the_bytes_are_those_of_the_challenge(path):
    write_submission(path, [(["1e10", "-abc"], [[71, 3], [0, 3861]], [[0.98512345, 0.5], [1 + 5e-7, -5e-7]])])
    assert path.read_bytes() == f"{HEADER}\n1e10,71 0.985123 3 0.5\n-abc,0 1 3861 0\n".encode()
    write_submission(path, [(["a"], [[2147483647, 3]], [[-0.0, -0.0]])])
    assert path.read_bytes() == f"{HEADER}\na,2147483647 0 3 0\n".encode()


@pytest.mark.parametrize(
    ("score", "text"),
    [
        (0.00048828125 * 3, "0.00146484"),
        (2**-7, "0.0078125"),
        (1 - 2**-7, "0.992188"),  # a tie goes to the even digit, up or down
        (0.5 + 2**-7, "0.507812"),
        (1e-4, "0.0001"),
        (1e-5, "1e-05"),
        (1.17549435e-38, "1.17549e-38"),
        (1.4e-45, "1.4013e-45"),  # the smallest float32
        (0.99999994, "1"),
        (1 + 1e-7, "1"),
        (-1e-7, "0"),
    ],
)
def test_a_confidence_has_the_six_digits_of_its_float32(path, score, text):
    write_submission(path, [(["a"], [[3861]], [[score]])])
    assert path.read_text() == f"{HEADER}\na,3861 {text}\n"


def test_any_float32_is_written_exactly(path):
    ones = np.float32(1).view(np.uint32)  # the bits of smaller numbers are smaller
    bits = np.random.default_rng(0).integers(0, ones + 1, (100_000, 1), np.uint32)
    scores, ids = bits.view(np.float32), [str(number) for number in range(len(bits))]
    write_submission(path, [(ids, np.zeros(bits.shape, int), scores)])
    assert path.read_bytes() == plainly(ids, np.zeros(bits.shape, int), scores, 1)


def test_gzipped_files_hold_neither_time_nor_name(tmp_path, monkeypatch):
    batch = [(["aDoE"], [[1]], [[0.5]])]
    plain = write_submission(tmp_path / "a.csv", batch)
    assert write_submission(tmp_path / "a.csv.gz", batch) == plain
    monkeypatch.setattr("time.time", lambda: 1e9)
    write_submission(tmp_path / "b.csv.gz", batch)
    assert (tmp_path / "a.csv.gz").read_bytes() == (tmp_path / "b.csv.gz").read_bytes()
    assert gzip.decompress((tmp_path / "a.csv.gz").read_bytes()) == (tmp_path / "a.csv").read_bytes()


@pytest.mark.parametrize(
    ("ids", "labels", "scores", "message"),
    [
        (["a", "b"], [[1], [2]], [[0.5], [np.nan]], "'b' has a confidence that is not finite"),
        (["a", "b"], [[1], [2]], [[np.inf], [0.5]], "'a' has a confidence that is not finite"),
        (["a"], [[1]], [[-np.inf]], "not finite"),
        (["a"], [[1]], [[1.00001]], r"outside \[0, 1\]"),
        (["a"], [[1]], [[-0.00001]], r"outside \[0, 1\]"),
        (["a"], [[1, 2]], [[0.4, 0.5]], "ascending"),
        (["a"], [[1, 1]], [[0.5, 0.4]], "'a' has a label twice"),
        (["a", "b"], [[1, 2, 3], [1, 2, 1]], [[0.5, 0.4, 0.3]] * 2, "'b' has a label twice"),
        (["a"], [[1, -1]], [[0.5, 0.4]], "negative"),
        (["a"], [[1.5]], [[0.5]], "integers"),
        (["a"], [[1 << 31]], [[0.5]], "labels must be below 2147483648"),
        (["a"], [[1], [2]], [[0.5], [0.4]], "1 ids"),
        (["a"], [[1]], [[0.5, 0.4]], "1 ids"),
        (["a"], [1], [0.5], "1 ids"),
        (["a,b"], [[1]], [[0.5]], "comma"),
        (["a\nb"], [[1]], [[0.5]], "unprintable"),
        (["a\ud800"], [[1]], [[0.5]], "unprintable"),
        (["a", ""], [[1], [1]], [[0.5], [0.5]], "empty"),
    ],
)
def test_bad_rows_are_not_written(path, ids, labels, scores, message):
    with pytest.raises(ValueError, match=message):
        write_submission(path, [(["fine"], [[7]], [[0.5]]), (ids, labels, scores)])
    assert list(path.parent.iterdir()) == []


def test_pairs_beyond_top_k_are_not_looked_at(path):
    write_submission(path, [(["a"], [[1, 1]], [[0.5, np.nan]])], top_k=1)
    assert check_submission(path, ["a"]) == []
    with pytest.raises(ValueError, match="top_k"):
        write_submission(path, [], top_k=0)
