"""Verify that a shard is still the one that was indexed: by size and time, and if these do not suffice by checksums."""

import os
import sys
import threading
from pathlib import Path

import numpy as np

from pipeline.artifacts.files import read_at
from pipeline.config.errors import StageError
from pipeline.inputs.index import Index
from pipeline.inputs.records import tfrecord

REDO = "the file changed after it was indexed: run ingest again, then train"
_lock = threading.Lock()
_verified: set[tuple[str, int, int, str]] = set()
"""Shards whose checksums this process has verified: path, size in bytes, time, and the digest of the index."""
_told: set[Path] = set()
"""Indexes for which this process has told the user that the times of shards differ."""


class ShardVerifier:
    """Compares opened shards with their index. Safe to use from several threads."""

    def __init__(self, index: Index):
        self._index = index
        self._stamps = list(zip(index.shard_sizes.tolist(), index.shard_times.tolist()))  # thousands are looked up

    def check(self, shard: int, descriptor: int) -> None:
        """Compare the size and time of an opened shard with the index, and verify its checksums if the time differs.

        A copy has another time than its original, but so has a file whose content was replaced; only checksums tell the
        two apart. If the index was opened with `verify`, every shard is verified. A process verifies a shard only once.

        Raises:
            StageError: the shard is not the one that was indexed.
        """
        index, (indexed_size, indexed_time) = self._index, self._stamps[shard]
        status = os.fstat(descriptor)
        size, modified = status.st_size, status.st_mtime_ns
        if size == indexed_size and modified == indexed_time and not index.verify:
            return
        path = index.paths[shard]
        if size != indexed_size:
            raise StageError(f"{path} has {size} bytes, it had {indexed_size} at ingest; {REDO}")
        key = (str(path), size, modified, index.digest)
        with _lock:
            if key in _verified:
                return
            if modified != indexed_time:
                _tell(index.folder, path)
            _verify(index, shard)
            _verified.add(key)


def _tell(folder: Path, path: Path) -> None:
    if folder not in _told:
        _told.add(folder)
        print(
            f"{path} has another time than at ingest: the checksums of such shards are verified when they are first "
            "read (run ingest again to avoid that)",
            file=sys.stderr,
        )


def _verify(index: Index, shard: int) -> None:
    path = index.paths[shard]
    start, stop = np.searchsorted(index.shard, [shard, shard + 1]).tolist()  # rows lie in the shards' order
    with path.open("rb") as file:
        for row in range(start, stop):
            payload = read_at(file.fileno(), int(index.length[row]), int(index.offset[row]))
            if tfrecord.masked_crc(payload) != index.checksums[row]:
                (id,) = index.ids_of(np.array([row]))
                raise StageError(
                    f"{path}: video {id!r}, at offset {index.offset[row]}, has another checksum than at ingest; {REDO}"
                )
