"""Random access to frames, against the videos that were written."""

import dataclasses
import errno
import fcntl
import gc
import os
import threading
from pathlib import Path

import numba
import numpy as np
import pytest
from fixtures.support import SMALL, frames_of, labels_of

from pipeline.config import FeatureConfig
from pipeline.config.errors import StageError
from pipeline.inputs.index import Index, Source
from pipeline.inputs.index.build import write_index
from pipeline.inputs.index.check import check_shard
from pipeline.inputs.reading import copying, open_files
from pipeline.inputs.reading import reader as reader_module
from pipeline.inputs.reading.reader import FrameReader
from pipeline.inputs.reading.sampling import choose_frames
from pipeline.inputs.records import encoding, tfrecord

LENGTH = 12


def video_of(index: Index, row: int) -> np.ndarray:
    """What was written of a video: up to 17 frames, of which a dataset of 12 reads 12."""
    return frames_of(int(index.ids_of(np.array([row]))[0][1:]))


def whole(index: Index, rows: np.ndarray, reader: FrameReader | None = None) -> np.ndarray:
    return (reader or FrameReader(index)).read(rows, *choose_frames("all", index.num_frames[rows], LENGTH))


@pytest.mark.parametrize("direct", [False, True])
def test_rows_in_any_order_with_padding_and_a_cap(small_index, direct):
    rows = np.array([33, 0, 7, 33, 19] * 9)  # enough of them for several threads
    frames = whole(small_index, rows, FrameReader(small_index, direct))
    assert frames.dtype == np.uint8 and frames.shape == (45, LENGTH, 8)
    for row, read in zip(rows, frames):
        expected = video_of(small_index, row)
        if len(expected) > LENGTH:
            expected = expected[np.arange(LENGTH) * len(expected) // LENGTH]
        np.testing.assert_array_equal(read[: len(expected)], expected)
        assert not read[len(expected) :].any()


def test_no_rows(small_index):
    assert whole(small_index, np.zeros(0, np.int64)).shape == (0, LENGTH, 8)


KINDS: set[tuple[str, ...]] = set()
"""Of the arguments with which every method calls what is compiled: each would be compiled by itself."""


@pytest.mark.parametrize("method", ["uniform", "all", "random_frames", "random_sequence"])
@pytest.mark.parametrize("length", [3, 20])
def test_every_method_takes_the_frames_that_it_chose(small_index, method, length, monkeypatch):
    rows = np.random.default_rng(0).permutation(40)
    chosen, counts = choose_frames(method, small_index.num_frames[rows], length, np.random.default_rng(1))
    compiled = copying.read_records

    def noted(*arguments):
        KINDS.add(tuple(str(numba.typeof(argument)) for argument in arguments))
        return compiled(*arguments)

    monkeypatch.setattr(copying, "read_records", noted)
    frames = FrameReader(small_index).read(rows, chosen, counts)
    for row, indices, count, read in zip(rows, chosen, counts, frames):
        np.testing.assert_array_equal(read[:count], video_of(small_index, row)[indices[:count]])
        assert not read[count:].any()
    assert len(KINDS) == 1, "another kind of arguments is compiled"


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


@pytest.mark.parametrize("direct", [False, True])
def test_odd_encodings_are_read_beside_ordinary_ones(tmp_path, direct):
    """An unknown field is left to the general parser."""
    payloads = []
    for video in range(30):
        frames = {"rgb": frames_of(video)[:, :6], "audio": frames_of(video)[:, 6:]}
        payload = encoding.encode_sequence_example({"id": f"v{video:03d}", "labels": labels_of(video)}, frames)
        payloads.append(payload + (b"\xa8\x06\x01" if video % 3 else b""))
    source = Source(tmp_path / "train.tfrecord", "train")
    with source.path.open("wb") as file:
        tfrecord.write_records(file, payloads)
    write_index(tmp_path, SMALL, [source], [check_shard(source.path, SMALL)])
    index = Index.open(tmp_path)
    rows = np.random.default_rng(0).permutation(30)
    chosen, counts = choose_frames("random_sequence", index.num_frames[rows], 5, np.random.default_rng(0))
    frames = FrameReader(index, direct).read(rows, chosen, counts)
    for row, indices, count, read in zip(rows, chosen, counts, frames):
        np.testing.assert_array_equal(read[:count], video_of(index, row)[indices[:count]])
        assert not read[count:].any()


def test_more_shards_than_may_stay_open_and_several_threads(small_index, monkeypatch):
    monkeypatch.setattr(open_files, "_raise_limit", lambda: 1)
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
    monkeypatch.setattr(copying, "advise_readahead", lambda *columns: told.append(columns))
    reader, rows = FrameReader(small_index), np.random.default_rng(0).permutation(40)
    reader.expect(rows).result()
    ((descriptors, offsets, lengths),) = told
    places = [
        (Path(f"/proc/self/fd/{descriptor}").readlink(), offset) for descriptor, offset in zip(descriptors, offsets)
    ]
    assert places == sorted(places)
    assert sorted(lengths) == sorted(small_index.length)


@pytest.mark.skipif(not hasattr(os, "O_DIRECT"), reason="no direct reads here")
def test_direct_reads_leave_nothing_in_the_cache(tmp_path):
    """Records across the pages of a file, read where none of it is cached, and none of it afterwards."""
    source = Source(tmp_path / "train.tfrecord", "train")
    videos = [np.random.default_rng(video).integers(0, 256, (12, 1000), np.uint8) for video in range(20)]
    dataset = dataclasses.replace(SMALL, features=(FeatureConfig("rgb", 1000),))
    with source.path.open("wb") as file:
        payloads = [
            encoding.encode_sequence_example({"id": f"v{video}", "labels": [1]}, {"rgb": frames})
            for video, frames in enumerate(videos)
        ]
        tfrecord.write_records(file, payloads)
        file.flush()
        os.fsync(file.fileno())
    write_index(tmp_path, dataset, [source], [check_shard(source.path, dataset)])
    index, rows = Index.open(tmp_path), np.random.default_rng(0).permutation(20)
    if (direct := open_files._open_direct(source.path)) is None:
        pytest.skip("this file system refuses direct reads")
    with source.path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        for reader, cached in ((FrameReader(index, direct=True), False), (FrameReader(index, direct=False), True)):
            assert reader.direct != cached
            reader.expect(rows).result()
            frames = reader.read(rows, *choose_frames("all", index.num_frames[rows], LENGTH))
            np.testing.assert_array_equal(frames, [videos[int(name[1:])] for name in index.ids_of(rows)])
            assert _cached(file.fileno()) == cached
    os.close(direct)


def _cached(descriptor: int) -> bool:
    """Whether a file's first page is in the system's cache."""
    try:
        return os.preadv(descriptor, [bytearray(1)], 0, os.RWF_NOWAIT) == 1
    except BlockingIOError:
        return False


@pytest.mark.parametrize("when", ["opened", "read"])
def test_files_that_cannot_be_read_directly_are_read_as_usual(small_index, monkeypatch, when):
    opened, read = os.open, os.preadv

    def refuse(*_):
        raise OSError(errno.EINVAL, "Invalid argument")

    if when == "opened":
        monkeypatch.setattr(os, "open", lambda path, flags: (refuse if flags & os.O_DIRECT else opened)(path, flags))
    else:
        direct = lambda descriptor: fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT  # noqa: E731
        monkeypatch.setattr(os, "preadv", lambda file, *more: (refuse if direct(file) else read)(file, *more))
    gc.collect()  # the readers of other tests
    before = len(list(Path("/proc/self/fd").iterdir()))
    reader = FrameReader(small_index, direct=True)
    np.testing.assert_array_equal(whole(small_index, np.arange(40), reader), whole(small_index, np.arange(40)))
    reader.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_videos_are_read_directly_where_they_are_more_than_half_of_the_memory(small_index, monkeypatch):
    size = int(small_index.length.sum())
    for limit, direct in ((2 * size - 1, True), (2 * size, False)):
        monkeypatch.setattr(reader_module, "_memory_limit", lambda limit=limit: limit)
        assert FrameReader(small_index).direct == direct
    monkeypatch.undo()
    assert 1 << 28 < reader_module._memory_limit() <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_a_missing_shard_is_told_to_who_reads_it(small_index):
    reader, rows = FrameReader(small_index), np.flatnonzero(small_index.shard == 1)
    small_index.paths[1].rename(small_index.paths[1].with_suffix(".gone"))
    assert isinstance(reader.expect(rows).exception(), StageError)
    with pytest.raises(StageError, match=small_index.paths[1].name):
        whole(small_index, rows, reader)


@pytest.mark.parametrize("direct", [False, True])
def test_a_shard_that_changed_while_it_was_open_is_named(small_index, direct):
    path = small_index.paths[2]
    row = int(np.flatnonzero(small_index.shard == 2)[-1])
    rows = np.array([*range(9), row])
    reader, data = FrameReader(small_index, direct), path.read_bytes()
    whole(small_index, rows, reader)
    for changed, reason in ((data[:-30], " is cut short"), (bytes(len(data)), ": .*")):
        path.write_bytes(changed)
        place = rf"{path.name}: record at offset {small_index.offset[row]}"
        with pytest.raises(StageError, match=rf"{place}{reason}; the file changed after .*: run ingest again"):
            whole(small_index, rows, reader)


def test_a_shard_that_changed_before_it_was_opened_is_named(small_index):
    rows, path = np.arange(40), small_index.paths[2]
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(StageError, match=rf"{path.name} has \d+ bytes.*run ingest again, then train"):
        whole(small_index, rows)
    path.unlink()
    with pytest.raises(StageError, match=rf"{path.name} cannot be read: No such file.*run ingest again"):
        whole(small_index, rows)


def test_a_record_with_other_frames_than_were_indexed_is_named(small_index):
    small_index.num_frames = small_index.num_frames.copy()
    small_index.num_frames[7] -= 1
    with pytest.raises(StageError, match=r"train0.tfrecord: record at .* has 5 frames, 4 when it was indexed; .*again"):
        whole(small_index, np.arange(9))
