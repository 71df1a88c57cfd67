"""Random access to frames, against the videos that were written."""

import threading
from pathlib import Path

import numpy as np
import pytest
from support import SMALL, frames_of, labels_of

from pipeline.artifacts import StageError
from pipeline.inputs import copying, tfrecord, writing
from pipeline.inputs import reader as reader_module
from pipeline.inputs.checking import check_shard
from pipeline.inputs.index import Index, Source
from pipeline.inputs.indexing import write_index
from pipeline.inputs.reader import FrameReader
from pipeline.inputs.sampling import choose_frames

LENGTH = 12


def video_of(index: Index, row: int) -> np.ndarray:
    """What was written of a video; max_frames is 12."""
    return frames_of(int(index.ids_of(np.array([row]))[0][1:]))[:LENGTH]


def whole(index: Index, rows: np.ndarray, reader: FrameReader | None = None) -> np.ndarray:
    return (reader or FrameReader(index)).read(rows, *choose_frames("all", index.num_frames[rows], LENGTH))


def test_rows_in_any_order_with_padding_and_a_cap(small_index):
    rows = np.array([33, 0, 7, 33, 19] * 9)  # enough of them for several threads
    frames = whole(small_index, rows)
    assert frames.dtype == np.uint8 and frames.shape == (45, LENGTH, 8)
    for row, read in zip(rows, frames):
        expected = video_of(small_index, row)
        np.testing.assert_array_equal(read[: len(expected)], expected)
        assert not read[len(expected) :].any()


def test_no_rows(small_index):
    assert whole(small_index, np.zeros(0, np.int64)).shape == (0, LENGTH, 8)


@pytest.mark.parametrize("method", ["uniform", "all", "random_frames", "random_sequence"])
@pytest.mark.parametrize("length", [3, 20])
def test_every_method_takes_the_frames_that_it_chose(small_index, method, length):
    rows = np.random.default_rng(0).permutation(40)
    chosen, counts = choose_frames(method, small_index.num_frames[rows], length, np.random.default_rng(1))
    frames = FrameReader(small_index).read(rows, chosen, counts)
    for row, indices, count, read in zip(rows, chosen, counts, frames):
        np.testing.assert_array_equal(read[:count], video_of(small_index, row)[indices[:count]])
        assert not read[count:].any()
    assert len(copying.read_records.signatures) == 1, "another kind of arguments was compiled"


def test_memory_comes_back_only_when_nothing_refers_to_it(small_index):
    reader = FrameReader(small_index)
    first = whole(small_index, np.arange(10), reader)
    kept = first[3:5, :, 2:]
    expected, place = kept.copy(), first.ctypes.data
    del first
    for start in range(0, 30, 10):
        assert whole(small_index, np.arange(start, start + 10), reader).ctypes.data != place
    np.testing.assert_array_equal(kept, expected)
    del kept
    assert whole(small_index, np.arange(10), reader).ctypes.data == place


def test_odd_encodings_are_read_beside_ordinary_ones(tmp_path):
    """An unknown field is left to the general parser."""
    payloads = []
    for video in range(30):
        frames = {"rgb": frames_of(video)[:, :6], "audio": frames_of(video)[:, 6:]}
        payload = writing.sequence_example({"id": f"v{video:03d}", "labels": labels_of(video)}, frames)
        payloads.append(payload + (b"\xa8\x06\x01" if video % 3 else b""))
    source = Source(tmp_path / "train.tfrecord", "train")
    with source.path.open("wb") as file:
        tfrecord.write(file, payloads)
    write_index(tmp_path, SMALL, [source], [check_shard(source.path, SMALL)])
    index = Index.open(tmp_path)
    rows = np.random.default_rng(0).permutation(30)
    chosen, counts = choose_frames("random_sequence", index.num_frames[rows], 5, np.random.default_rng(0))
    frames = FrameReader(index).read(rows, chosen, counts)
    for row, indices, count, read in zip(rows, chosen, counts, frames):
        np.testing.assert_array_equal(read[:count], video_of(index, row)[indices[:count]])
        assert not read[count:].any()


def test_more_shards_than_may_stay_open_and_several_threads(small_index, monkeypatch):
    monkeypatch.setattr(reader_module, "_raise_open_files_limit", lambda: 1)
    reader, rows = FrameReader(small_index), np.arange(40)
    expected = whole(small_index, rows)
    results = {}

    def read(number):
        order = np.random.default_rng(number).permutation(rows)
        reader.expect(order)
        results[number] = (order, whole(small_index, order, reader))

    threads = [threading.Thread(target=read, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8
    for order, frames in results.values():
        np.testing.assert_array_equal(frames, expected[order])


def test_no_file_stays_open(small_index):
    reader = FrameReader(small_index)
    before = len(list(Path("/proc/self/fd").iterdir()))
    whole(small_index, np.arange(40), reader)
    assert len(list(Path("/proc/self/fd").iterdir())) == before + 4
    reader.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    whole(small_index, np.arange(40), reader)


def test_what_is_expected_is_read_ahead_in_the_disks_order(small_index, monkeypatch):
    told = []
    monkeypatch.setattr(copying, "advise", lambda *columns: told.append(columns))
    reader, rows = FrameReader(small_index), np.random.default_rng(0).permutation(40)
    reader.expect(rows).result()
    ((descriptors, offsets, lengths),) = told
    places = [
        (Path(f"/proc/self/fd/{descriptor}").readlink(), offset) for descriptor, offset in zip(descriptors, offsets)
    ]
    assert places == sorted(places)
    assert sorted(lengths) == sorted(small_index.length)


def test_a_missing_shard_is_told_to_who_reads_it(small_index):
    reader, rows = FrameReader(small_index), np.flatnonzero(small_index.shard == 1)
    small_index.paths[1].rename(small_index.paths[1].with_suffix(".gone"))
    assert isinstance(reader.expect(rows).exception(), StageError)
    with pytest.raises(StageError, match=small_index.paths[1].name):
        whole(small_index, rows, reader)


def test_a_shard_that_changed_is_named(small_index):
    path = small_index.paths[2]
    row = int(np.flatnonzero(small_index.shard == 2)[-1])
    rows = np.array([*range(9), row])
    data = path.read_bytes()

    def damage(changed, reason):
        path.write_bytes(changed)
        with pytest.raises(StageError, match=rf"{path.name}: record at offset {small_index.offset[row]}{reason}"):
            whole(small_index, rows)

    damage(data[:-30], " is cut short; the file changed after it was indexed: run ingest again")
    damage(bytes(len(data)), ": .*; the file changed after it was indexed: run ingest again")
    path.unlink()
    with pytest.raises(StageError, match=rf"{path.name} cannot be read: No such file.*run ingest again"):
        whole(small_index, rows)


def test_a_record_with_other_frames_than_were_indexed_is_named(small_index):
    small_index.num_frames = small_index.num_frames.copy()
    small_index.num_frames[7] -= 1
    with pytest.raises(StageError, match=r"train0.tfrecord: record at offset .* has 5 frames, 4 were indexed; .*again"):
        whole(small_index, np.arange(9))
