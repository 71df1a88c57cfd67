"""Cells of every Arrow type as text."""

import datetime
import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.packing.tables.cells import as_text, holds_vectors


def text(values, kind=None) -> list:
    array = values if isinstance(values, pa.Array) else pa.array(values, kind)
    return as_text(pa.chunked_array([array])).to_pylist()


@settings(deadline=None)  # the first array may import pandas
@given(st.lists(st.none() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats()))
def test_floats_are_written_so_that_they_are_read_again(values):
    for value, written in zip(
        values, text([None if value is None else float(value) for value in values], pa.float64())
    ):
        if value is None or math.isnan(value):
            assert written is None
        else:
            assert float(written) == value
            assert not (float(value).is_integer() and abs(value) < 2**53) or written == str(int(value))


@given(st.lists(st.lists(st.integers().map(lambda n: n % 100) | st.none(), max_size=3) | st.none()), st.data())
def test_lists_of_all_kinds_and_slices_of_them(lists, data):
    start = data.draw(st.integers(0, len(lists)))
    expected = [cell and [None if each is None else str(each) for each in cell] for cell in lists[start:]]
    for kind in (pa.list_(pa.int8()), pa.large_list(pa.int64()), pa.list_view(pa.int32()), pa.list_(pa.float32())):
        assert text(pa.array(lists, kind)[start:]) == expected


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        (["a", " b ", "", "  ", None], pa.string(), ["a", " b ", None, None, None]),
        ([b"a", "é".encode()], pa.binary(), ["a", "é"]),
        (["a"], pa.large_string(), ["a"]),
        (["a"], pa.string_view(), ["a"]),
        ([True, False, None], pa.bool_(), ["True", "False", None]),
        ([2**64 - 1], pa.uint64(), ["18446744073709551615"]),
        ([np.float16(1), np.float16(0.5)], pa.float16(), ["1", "0.5"]),  # PyArrow 18 takes no others
        ([math.inf], pa.float32(), ["inf"]),
        ([None], pa.null(), [None]),
        ([datetime.date(2020, 1, 2)], pa.date32(), ["2020-01-02"]),
        ([[1, 2]], pa.list_(pa.int16(), 2), [["1", "2"]]),
        ([[True, None]], pa.list_(pa.bool_()), [["True", None]]),
    ],
)
def test_types(values, kind, expected):
    assert text(values, kind) == expected


def test_dictionaries():
    codes = pa.array(["a", "b", "a", None]).dictionary_encode()
    assert text(codes) == ["a", "b", "a", None]
    assert text(pa.ListArray.from_arrays([0, 2, 2, 4], codes)) == [["a", "b"], [], ["a", None]]
    assert as_text(pa.chunked_array([], pa.dictionary(pa.int8(), pa.string()))).to_pylist() == []


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([{"x": 1}], "its cells are struct<x: int64>, where text, numbers or lists of them are expected"),
        ([[[1]]], "its cells are lists of lists, where text, numbers or lists of them are expected"),
        ([[{"x": 1}]], "its cells are struct<x: int64>"),
        ([b"\xff"], "Invalid UTF8"),
    ],
)
def test_what_is_no_text_is_refused(values, message):
    with pytest.raises(ValueError, match=message.replace("<", ".").replace(">", ".")):
        text(values)


def test_what_can_be_no_label():
    assert all(
        map(holds_vectors, (pa.list_(pa.float32()), pa.list_(pa.list_(pa.int8())), pa.struct([("x", pa.int8())])))
    )
    assert not any(map(holds_vectors, (pa.float32(), pa.string(), pa.list_(pa.int8()), pa.list_(pa.string()))))
