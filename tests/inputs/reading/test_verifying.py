"""Shards that changed since ingest, in size, time or content: named, verified, verified once."""

import os
import threading

import numpy as np
import pytest

from pipeline.config.errors import StageError
from pipeline.inputs.index import Index
from pipeline.inputs.reading import verifying
from pipeline.inputs.reading.open_files import OpenFiles
from pipeline.inputs.records import tfrecord


@pytest.fixture(autouse=True)
def verified(monkeypatch) -> list[int]:
    """The shards that are verified, by number, in a process that has verified none."""
    done, verify = [], verifying._verify
    monkeypatch.setattr(verifying, "_verified", set())
    monkeypatch.setattr(verifying, "_told", set())
    monkeypatch.setattr(verifying, "_verify", lambda index, shard: (done.append(shard), verify(index, shard)))
    return done


def open_all(index: Index) -> None:
    with OpenFiles(index, direct=False).of(np.arange(4)):
        pass


def replace(path, position: int, keep_time: bool = False) -> None:
    """Another byte in a file, which keeps its size."""
    status, data = path.stat(), bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)
    if keep_time:
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_what_is_as_it_was_is_not_verified(small_index, verified, capsys):
    open_all(small_index)
    assert verified == [] and capsys.readouterr().err == ""
    assert "checksums" not in vars(small_index), "the column is read although nobody needs it"


def test_another_size_is_named_at_once(small_index, verified):
    path = small_index.paths[3]
    size = path.stat().st_size
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(StageError, match=rf"{path} has {size + 1} bytes, it had {size} at ingest; .*again, then train"):
        open_all(small_index)
    assert verified == []


def test_another_time_is_verified_once_and_told_once(small_index, verified, capsys):
    for shard in (1, 2):
        os.utime(small_index.paths[shard])
    for _ in range(3):
        open_all(small_index)
    open_all(Index.open(small_index.folder))
    assert verified == [1, 2]
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and f"{small_index.paths[1]} has another time than at ingest" in told
    os.utime(small_index.paths[2])  # changed once more
    open_all(small_index)
    assert verified == [1, 2, 2]


@pytest.mark.parametrize("row", [20, 24, 29])
def test_another_record_under_the_same_size_is_named(small_index, row):
    """The first, one between, and the last of a shard."""
    path, offset = small_index.paths[2], int(small_index.offset[row])
    replace(path, offset + int(small_index.length[row]) - 1)
    expected = rf"{path}: video 'v0{row}', at offset {offset}, has another checksum .*run ingest again, then train"
    for _ in range(2):  # what is wrong stays wrong
        with pytest.raises(StageError, match=expected):
            open_all(small_index)


def test_every_shard_is_verified_where_that_is_asked_for(small_index, verified, capsys):
    replace(small_index.paths[2], int(small_index.offset[24]), keep_time=True)
    open_all(small_index)
    assert verified == []
    with pytest.raises(StageError, match="video 'v024'"):
        open_all(Index.open(small_index.folder, verify=True))
    assert verified == [0, 1, 2] and capsys.readouterr().err == ""


def test_what_lies_between_the_videos_does_not_matter(small_index, verified):
    replace(small_index.paths[2], int(small_index.offset[24]) - 1)  # of the checksum of its length
    open_all(small_index)
    assert verified == [2]


def test_several_threads_verify_a_shard_once(small_index, verified):
    for path in small_index.paths:
        os.utime(path)
    threads = [threading.Thread(target=open_all, args=(small_index,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(verified) == [0, 1, 2, 3]


def test_an_index_that_is_written_anew_meanwhile_is_named(small_index):
    checksums = [record.checksum for path in small_index.paths for record in tfrecord.scan_records(path)]
    assert Index.open(small_index.folder).checksums.tolist() == checksums
    small_index.shard = small_index.shard[:-1]
    with pytest.raises(StageError, match="changed while it was in use"):
        _ = small_index.checksums
