"""Blocks of lines: together they are what each is alone, for the faults and for the numbers; rows are padded."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.metrics import StreamingMetrics
from pipeline.submission import read_submission, scanning
from pipeline.submission.lines import HEADER, line_faults

ROW_CHARACTERS = st.text(st.sampled_from('07139.eE+-_ ,"\r\tna٣\u00a0x'), max_size=12)
NUMBERS = st.from_regex(r"[+-]?([0-9]{1,24}\.?[0-9]{0,24}|\.[0-9]{1,24})([eE][+-]?[0-9]{1,4})?", fullmatch=True)
TABLE = {str(label): label for label in range(30)}


def examine(lines: list[str], top_k: int = 3) -> scanning.SubmissionBlock:
    return scanning._examine(5, "".join(f"{line}\n" for line in lines).encode(), TABLE, top_k)


@given(st.lists(st.one_of(ROW_CHARACTERS, ROW_CHARACTERS.map("id,1 0.5 2 ".__add__)), min_size=1, max_size=3))
@settings(max_examples=400, deadline=None)
@example(["id,1 0.5 2", "id,1 0.5 ", "id,1  0.5", "id,1 0.5,", "id,", ",1 1", "", "id"])
@example(
    ["id,1 0.5 1 0.5", "id,1 0.4 2 0.5", "id,1 1 2 1 3 1 4 1", "id,30 1", "id,01 1", "é,1 1", "\u00a0,1 1", '",1 1']
)
@example(
    ["id,1 1e", "id,1 .", "id,1 5.", "id,1 .5", "id,1 +0.5", "id,1 -0.5", "id,1 -0", "id,1 0e9", "id,1 1e-", "id,+1 1"]
)
def test_what_is_checked_together_equals_what_is_checked_alone(lines):
    """The quick look at a whole block calls a line wrong just when the slow look at the line says why."""
    block = examine(lines)
    slow = [fault for number, line in enumerate(lines, 5) for fault in line_faults(number, line, TABLE, 3)]
    assert block.faults == slow
    assert block.ids == [line.partition(",")[0] if "," in line else "" for line in lines]
    assert block.rows is not None or slow


@given(st.lists(NUMBERS, min_size=1, max_size=3))
@settings(max_examples=150, deadline=None)
@example(["1.000000000000000000000", "0.99999999999999999999999", "1e-400"])
@example(["0.5", "0.50000000000000000000001"])
@example(["1000000000000000000e-18", "0.1e1", "10e-1"])
@example(["1.2e-40", "1.3e-41", "0"])
def test_numbers_are_compared_and_read_as_python_does(numbers):
    line = "id," + " ".join(f"{label} {number}" for label, number in enumerate(numbers))
    block = examine([line])
    assert block.faults == list(line_faults(5, line, TABLE, 3))
    assert block.rows.scores.tolist() == [float(number) for number in numbers]
    assert block.rows.labels.tolist() == list(range(len(numbers)))


def test_rows_with_fewer_pairs_are_padded_and_scored(tmp_path):
    path = tmp_path / "submission.csv"
    path.write_text(f"{HEADER}\naDoE,2 0.75\n1e10,1 0.5 2 0.25 0 0.125\n")
    ((ids, labels, scores),) = read_submission(path, 5)
    assert ids == ["aDoE", "1e10"]
    assert labels.tolist() == [[2, -1, -1], [1, 2, 0]] and labels.dtype == np.int16
    assert scores.tolist() == [[0.75, 0, 0], [0.5, 0.25, 0.125]] and scores.dtype == np.float32
    metrics = StreamingMetrics(5)
    metrics.accumulate(labels, scores, [[2], [0]])
    assert metrics.result()["gap"] == pytest.approx((1 + 2 / 4) / 2)
