"""Which rows of a stacked array are whose, against a slow form; and numbers that do not fit."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config.errors import StageError
from pipeline.packing.sources.stacked import RowArray, pick_array, stack_videos


class InMemory(RowArray):
    def __init__(self, values: np.ndarray, name: str = "a"):
        super().__init__(Path(name), "", values.shape, values.dtype)
        self.values = values.reshape(-1, values.shape[-1])

    def read(self, start, stop):
        assert 0 <= start < stop <= len(self.values)
        return self.values[start:stop]


def where(row: int) -> str:
    return f"line {row}"


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_rows_of_one_id_are_one_video_in_their_order(data):
    parts = data.draw(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 3)), min_size=1, max_size=3))
    total = sum(rows for rows, _ in parts)
    ids = data.draw(st.lists(st.sampled_from("abc"), min_size=total, max_size=total))
    room = [length for rows, length in parts for _ in range(rows)]
    counts = data.draw(st.none() | st.tuples(*(st.integers(1, length) for length in room)))
    begin, arrays, flat = 0, [], []
    for number, (rows, length) in enumerate(parts):
        values = np.arange(begin, begin + rows * length * 2).reshape(rows, length, 2)
        begin += values.size
        arrays.append(InMemory(values, str(number)))
        flat.extend(values)
    found = stack_videos(arrays, ids, counts, where)
    assert found.ids == list(dict.fromkeys(ids)) and found.faults == []
    for entry, id in zip(found.entries, found.ids):
        own = [row[: counts[n] if counts else len(row)] for n, row in enumerate(flat) if ids[n] == id]
        np.testing.assert_array_equal(found.file.read(entry), np.concatenate(own))
        assert found.lengths[entry] == sum(map(len, own))
        owners = [number for number, (rows, _) in enumerate(parts) for _ in range(rows)]
        held = sorted({owners[row] for row, other in enumerate(ids) if other == id})
        assert found.file.files_of(entry) == [Path(str(number)) for number in held]
        assert found.file.where(entry).startswith(f"{sum(np.cumsum([r for r, _ in parts]) <= ids.index(id))}, frame ")


def test_frames_that_follow_each_other_are_read_at_once():
    array = InMemory(np.arange(24).reshape(12, 2))
    read = []
    array.read = lambda start, stop: read.append((start, stop)) or array.values[start:stop]
    found = stack_videos([array], list("aaabbbbaabbb"), None, where)
    assert found.file.read(0).tolist() == array.values[[0, 1, 2, 7, 8]].tolist()
    assert read == [(0, 3), (7, 9)]


@pytest.mark.parametrize(
    ("shape", "ids", "counts", "lengths"),
    [
        ((6, 2), "aabbbc", None, [2, 3, 1]),
        ((6, 2), "abc", None, [2, 2, 2]),
        ((6, 2), "abc", [1, 2, 1], [1, 2, 1]),
        ((6, 2), "abc", [1, 2, 3], [1, 2, 3]),
        ((6, 2), "aab", [1, 2.0, 3], [3, 3]),
        ((6, 2), "aabbbc", [9] * 6, [2, 3, 1]),  # a row a frame: what num_frames tells is of the video
        ((3, 2, 2), "abc", [1, 2, 1], [1, 2, 1]),
    ],
)
def test_what_numbers_of_rows_and_frames_mean(shape, ids, counts, lengths):
    found = stack_videos([InMemory(np.ones(shape))], list(ids), counts, where)
    assert list(found.lengths) == lengths and found.faults == []
    assert [len(found.file.read(entry)) for entry in found.entries] == lengths


@pytest.mark.parametrize("count", [0, -1, 3, None, 1.5, True, "two", float("nan"), 1 << 80])
def test_a_number_of_frames_that_cannot_be_is_named(count):
    found = stack_videos([InMemory(np.ones((3, 2, 2)))], ["a", "b", "a"], [1, 1, count], where)
    assert found.ids == ["b"] and found.file.read(found.entries[0]).shape == (1, 2)
    assert found.faults == [("line 2", f"num_frames is {count}; it must be from 1 to 2: correct it")]


@pytest.mark.parametrize("id", [None, "", float("nan")])
def test_an_id_that_is_missing_is_named(id):
    found = stack_videos([InMemory(np.ones((2, 2, 2)))], [id, "b"], None, where)
    assert found.ids == ["b"] and found.faults == [("line 0", "the id is empty; give each row the id of its video")]


@pytest.mark.parametrize(
    ("shapes", "ids", "counts", "told"),
    [
        ([(3, 2, 2)], "ab", None, r"a: 3 rows \(\[3, 2, 2\]\), and 2 ids; each row must have an id"),
        ([(3, 2, 2), (1, 2, 2)], "abc", None, r"a and 1 other file: 4 rows .*and 3 ids"),
        ([(7, 2)], "ab", None, r"7 rows .* and 2 ids; there must be an id for each row, or for equally many"),
        ([(7, 2)], "ab", [3, 3], r"2 ids, whose num_frames are 6 in all"),
        ([(7, 2)], "", None, "0 ids"),
        ([(7, 2), (1, 7, 2)], "abcdefg", None, r"equally many dimensions: a \[7, 2\], a \[1, 7, 2\]"),
    ],
)
def test_numbers_that_do_not_fit(shapes, ids, counts, told):
    with pytest.raises(StageError, match=told):
        stack_videos([InMemory(np.ones(shape)) for shape in shapes], list(ids), counts, where)


@pytest.mark.parametrize(
    ("shapes", "picked"),
    [
        ({"rgb": (4, 3)}, ("rgb", "", "")),
        ({"x": (4, 3)}, ("x", "", "")),
        ({"x": (4, 3), "y": (4, 3)}, ("", "", "")),
        ({"rgb": (4, 3), "y": (4, 3)}, ("rgb", "", "")),
        ({"frames": (2, 4, 3), "num_frames": (2,), "ids": (2,)}, ("frames", "ids", "num_frames")),
        ({"frames": (2, 4, 3), "num_frames": (2,)}, ("frames", "", "num_frames")),
        ({"rgb": (2, 4, 3), "frames": (2, 4, 5), "ids": (2,)}, ("rgb", "ids", "")),
        ({"rgb": (8, 3), "ids": (8,)}, ("rgb", "ids", "")),
        ({"rgb": (8, 3), "num_frames": (1,)}, ("rgb", "", "")),  # a single video
        ({"frames": (8, 3), "num_frames": (8, 2)}, ("", "", "")),  # two features of these names
        ({"x": (2, 4, 3), "clip": (2,), "ids": (2, 2)}, ("", "", "")),
    ],
)
def test_which_array_holds_the_frames(shapes, picked):
    assert pick_array("rgb", shapes, None) == picked


def test_the_array_of_ids_may_be_named():
    assert pick_array("rgb", {"x": (2, 4, 3), "clip": (2,)}, "clip") == ("x", "clip", "")
