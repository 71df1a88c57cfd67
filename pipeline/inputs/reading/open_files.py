"""The shards of an index, opened when they are first read and kept open as far as the system allows."""

import contextlib
import mmap
import os
import resource
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pipeline.artifacts.failures import is_refusal
from pipeline.config.errors import StageError
from pipeline.inputs.index import Index
from pipeline.inputs.reading.verifying import REDO, ShardVerifier

ALIGNMENT = 4096
"""Direct reads begin and end at multiples of it, in the file and in the memory."""


class OpenFiles:
    """File descriptors by number of the shard. Safe to use from several threads.

    Args:
        index: whose shards they are; each is held against it when it is opened.
        direct: past the system's cache (O_DIRECT) where the file system can; see docs/performance.md for what it gains.
    """

    def __init__(self, index: Index, direct: bool):
        self._paths = index.paths
        self._unchanged = ShardVerifier(index)
        self._direct = direct
        self._lock = threading.Lock()
        # Open files, -1 where there is none; random access visits them all, again and again.
        self._descriptors = np.full(len(index.paths), -1, np.int32)
        self._room = _raise_limit()

    @contextlib.contextmanager
    def of(self, shards: np.ndarray) -> Iterator[np.ndarray]:
        """File descriptors, int32 [B], of shards [B]; those for which there is no room are closed at the end.

        Raises:
            StageError: a file is missing, or is another one than was indexed.
            OSError: the system refuses to open it.
        """
        passing: dict[int, int] = {}
        try:
            for shard in np.unique(shards[self._descriptors[shards] < 0]).tolist():
                descriptor = self._open(shard)
                with self._lock:
                    if kept := self._room > 0 and self._descriptors[shard] < 0:
                        self._descriptors[shard] = descriptor
                        self._room -= 1
                if not kept:  # no room, or another thread was first
                    passing[shard] = descriptor
            descriptors = self._descriptors[shards]
            for shard, descriptor in passing.items():
                descriptors[shards == shard] = descriptor
            yield descriptors
        finally:
            for descriptor in passing.values():
                os.close(descriptor)

    def _open(self, shard: int) -> int:
        path = self._paths[shard]
        try:
            descriptor = _open_direct(path) if self._direct else None
            if descriptor is None:
                descriptor = os.open(path, os.O_RDONLY)
            try:
                self._unchanged.check(shard, descriptor)
            except BaseException:
                os.close(descriptor)
                raise
        except OSError as error:
            if is_refusal(error):
                raise
            raise StageError(f"{path} cannot be read: {error.strerror}; {REDO}") from error
        return descriptor

    def close(self) -> None:
        with self._lock:
            for shard in np.flatnonzero(self._descriptors >= 0):
                os.close(self._descriptors[shard])
                self._descriptors[shard] = -1
                self._room += 1


def align_for_direct_read(offset: int, length: int) -> tuple[int, int]:
    """The part of a file to read, its start and its length, for one that may be read directly."""
    start = offset - offset % ALIGNMENT
    return start, -(-(offset + length - start) // ALIGNMENT) * ALIGNMENT


def _open_direct(path: Path) -> int | None:
    """None where the system has no direct reads, or the file system refuses: at opening, or only at reading."""
    if not (flag := getattr(os, "O_DIRECT", 0)):  # macOS
        return None
    descriptor = None
    try:
        descriptor = os.open(path, os.O_RDONLY | flag)
        os.preadv(descriptor, [mmap.mmap(-1, ALIGNMENT)], 0)
        return descriptor
    except OSError:
        if descriptor is not None:
            os.close(descriptor)
        return None


def _raise_limit() -> int:
    """Let the process open as many files as the system allows; returns how many shards may stay open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, 65_536) if hard != resource.RLIM_INFINITY else 65_536
    if soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):  # not allowed here
            wanted = soft
    return max(soft, wanted) // 2
