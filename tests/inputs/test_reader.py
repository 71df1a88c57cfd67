"""Random access to frames, against the videos that were written."""

import threading

import numpy as np
import pytest
from support import frames_of

from pipeline.artifacts import StageError
from pipeline.inputs import reader as reader_module
from pipeline.inputs.reader import FrameReader

LENGTH = 12


def everything(_, available):
    return np.arange(available)


def test_rows_in_any_order_with_padding_and_a_cap(small_index):
    rows = np.array([33, 0, 7, 33, 19])
    frames, num_frames = FrameReader(small_index).read(rows, LENGTH, everything)
    assert frames.dtype == np.uint8 and frames.shape == (5, LENGTH, 8)
    for position, identity in enumerate(small_index.ids_of(rows)):
        expected = frames_of(int(identity[1:]))[:LENGTH]  # max_frames is 12
        assert num_frames[position] == len(expected)
        np.testing.assert_array_equal(frames[position, : len(expected)], expected)
        assert not frames[position, len(expected) :].any()


def test_only_the_chosen_frames_are_copied(small_index):
    frames, num_frames = FrameReader(small_index).read(np.array([4]), 3, lambda _, n: np.array([n - 1, 0]))
    video = frames_of(int(small_index.ids_of(np.array([4]))[0][1:]))[:LENGTH]
    assert num_frames.tolist() == [2]
    np.testing.assert_array_equal(frames[0, :2], [video[-1], video[0]])
    assert not frames[0, 2].any()


def test_more_shards_than_may_stay_open_and_several_threads(small_index, monkeypatch):
    monkeypatch.setattr(reader_module, "_raise_open_files_limit", lambda: 1)
    reader, rows = FrameReader(small_index), np.arange(40)
    expected, _ = FrameReader(small_index).read(rows, LENGTH, everything)
    results = {}

    def read(number):
        order = np.random.default_rng(number).permutation(rows)
        results[number] = (order, reader.read(order, LENGTH, everything)[0])

    threads = [threading.Thread(target=read, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8
    for order, frames in results.values():
        np.testing.assert_array_equal(frames, expected[order])


def test_a_shard_that_changed_is_named(small_index):
    path = small_index.paths[2]
    row = int(np.flatnonzero(small_index.shard == 2)[-1])
    data = path.read_bytes()
    path.write_bytes(data[:-30])
    with pytest.raises(StageError, match=rf"{path.name}: record at offset .* cut short.*run ingest again"):
        FrameReader(small_index).read(np.array([row]), LENGTH, everything)
    path.write_bytes(bytes(len(data)))
    with pytest.raises(StageError, match=rf"{path.name}: record at offset .*run ingest again"):
        FrameReader(small_index).read(np.array([row]), LENGTH, everything)
    path.unlink()
    with pytest.raises(StageError, match=rf"{path.name}.*run ingest again"):
        FrameReader(small_index).read(np.array([row]), LENGTH, everything)
