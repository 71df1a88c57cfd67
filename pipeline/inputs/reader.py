"""Frames of any videos of an index, by random access into the shards."""

import concurrent.futures
import contextlib
import itertools
import math
import os
import resource
import threading
from collections.abc import Iterator

import numpy as np

from pipeline.artifacts import StageError
from pipeline.inputs import copying
from pipeline.inputs.index import Index
from pipeline.inputs.memory import Memory
from pipeline.inputs.parsing import ParseError, parse_features
from pipeline.workers import default_workers

_FEW = 8
"""Records that are not worth another thread."""
_REDO = "the file changed after it was indexed: run ingest again"


class FrameReader:
    """Reads rows of an index into one array, with all processors. Safe to call from several threads."""

    def __init__(self, index: Index):
        self.index = index
        self._encoding = copying.Encoding.of(index.dataset)
        self._memory = Memory()
        self._workers = default_workers()
        self._pool = concurrent.futures.ThreadPoolExecutor(self._workers)
        self._teller = concurrent.futures.ThreadPoolExecutor(1)
        self._thread = threading.local()
        self._lock = threading.Lock()
        # Open files, -1 where there is none; random access visits them all, again and again.
        self._descriptors = np.full(len(index.paths), -1, np.int32)
        self._room = _raise_open_files_limit()

    def read(self, rows: np.ndarray, chosen: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Frames of the videos at `rows`.

        Args:
            rows: int64 [B], row numbers of the index.
            chosen: int32 [B,T], indices of frames below `index.num_frames` of the video.
            counts: int32 [B], how many of a video's, the first ones, to read.

        Returns:
            frames, the dataset's dtype [B,T,F], zero on padding. Its memory is used again when nothing refers to it.

        Raises:
            StageError: a shard is missing, shorter than when it was indexed, or its record cannot be parsed.
        """
        index = self.index
        frames = self._memory.array((*chosen.shape, index.dataset.width), np.dtype(index.dataset.dtype))  # B,T,F
        left = np.empty(len(rows), bool)  # B
        with self._opened(rows) as descriptors:
            columns = [descriptors, index.offset[rows], index.length[rows].astype(np.int64), index.num_frames[rows]]
            columns += [np.ascontiguousarray(chosen), counts, frames.view(np.uint8), left]
            parts = min(self._workers, math.ceil(len(rows) / _FEW))
            bounds = np.linspace(0, len(rows), parts + 1).astype(int).tolist()
            slices = [slice(*ends) for ends in itertools.pairwise(bounds)]
            list(self._pool.map(lambda part: self._copy(*(column[part] for column in columns)), slices))
            for position in np.flatnonzero(left).tolist():
                features = self._features(int(rows[position]), int(descriptors[position]))
                count = counts[position]
                np.concatenate(
                    [values[chosen[position, :count]] for values in features], axis=1, out=frames[position, :count]
                )
                frames[position, count:] = 0
        return frames

    def expect(self, rows: np.ndarray) -> concurrent.futures.Future:
        """Have the system read videos from the disk that will be read soon, in the order in which they lie there.

        It is told in another thread, since a disk that is busy keeps the teller waiting; what is returned is done when
        it is told. A shard that cannot be opened fails that; whoever reads it hears of it.
        """
        return self._teller.submit(self._tell, rows)

    def _tell(self, rows: np.ndarray) -> None:
        rows = rows[np.lexsort((self.index.offset[rows], self.index.shard[rows]))]
        with self._opened(rows) as descriptors:
            copying.advise(descriptors, self.index.offset[rows], self.index.length[rows].astype(np.int64))

    def _copy(self, descriptors, offsets, lengths, num_frames, chosen, counts, frames, left) -> None:
        """Some records of a batch, see `copying.read_records`; each thread has a buffer of its own."""
        buffer = getattr(self._thread, "buffer", None)
        if buffer is None or len(buffer) < lengths.max():
            buffer = self._thread.buffer = np.empty(lengths.max(), np.uint8)
        copying.read_records(
            descriptors, offsets, lengths, num_frames, chosen, counts, self._encoding, buffer, frames, left
        )

    def _features(self, row: int, descriptor: int) -> list[np.ndarray]:
        """The features of a record in any encoding; StageError where it is not what was indexed."""
        index = self.index
        path, offset, length = index.paths[index.shard[row]], int(index.offset[row]), int(index.length[row])
        try:
            payload = os.pread(descriptor, length, offset)
            if len(payload) != length:
                raise StageError(f"{path}: record at offset {offset} is cut short; {_REDO}")
            features = parse_features(payload, index.dataset)
        except (ParseError, OSError) as error:
            raise StageError(f"{path}: record at offset {offset}: {error}; {_REDO}") from error
        if len(features[0]) != index.num_frames[row]:
            raise StageError(
                f"{path}: record at offset {offset} has {len(features[0])} frames, {index.num_frames[row]} were "
                f"indexed; {_REDO}"
            )
        return features

    @contextlib.contextmanager
    def _opened(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        """File descriptors of the videos' shards, int32 [B]; those for which there is no room are closed at the end."""
        shards = self.index.shard[rows]
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
        path = self.index.paths[shard]
        try:
            return os.open(path, os.O_RDONLY)
        except OSError as error:
            raise StageError(f"{path} cannot be read: {error.strerror}; {_REDO}") from error

    def close(self) -> None:
        """Close every shard."""
        with self._lock:
            for shard in np.flatnonzero(self._descriptors >= 0):
                os.close(self._descriptors[shard])
                self._descriptors[shard] = -1
                self._room += 1

    def __del__(self) -> None:
        if hasattr(self, "_descriptors"):
            self.close()


def _raise_open_files_limit() -> int:
    """Let the process open as many files as the system allows; returns how many shards may stay open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, 65_536) if hard != resource.RLIM_INFINITY else 65_536
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return max(soft, wanted) // 2
