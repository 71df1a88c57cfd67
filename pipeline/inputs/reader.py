"""Frames of any videos of an index, by random access into the shards."""

import os
import resource
import threading
from collections.abc import Callable

import numpy as np

from pipeline.artifacts import StageError
from pipeline.inputs.index import Index
from pipeline.inputs.parsing import ParseError, parse_features


class FrameReader:
    """Reads rows of an index into one array. Safe to call from several threads."""

    def __init__(self, index: Index):
        self.index = index
        self._lock = threading.Lock()
        self._descriptors: dict[int, int] = {}  # shard -> open file; random access visits them all, again and again
        self._most = _raise_open_files_limit()

    def read(
        self, rows: np.ndarray, length: int, choose: Callable[[int, int], np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Frames of the videos at `rows`.

        Args:
            rows: int64 [B], row numbers of the index.
            length: T, rows of the result.
            choose: (position in the batch, number of frames) -> indices of at most T frames to copy.

        Returns:
            frames, the dataset's dtype [B,T,F], zero on padding; num_frames, int32 [B], valid rows.

        Raises:
            StageError: a shard is missing, shorter than when it was indexed, or its record cannot be parsed.
        """
        dataset = self.index.dataset
        frames = np.zeros((len(rows), length, dataset.width), dataset.dtype)  # B,T,F
        num_frames = np.zeros(len(rows), np.int32)  # B
        for position, row in enumerate(rows):
            features = self._features(int(row))
            chosen = choose(position, len(features[0]))
            num_frames[position] = len(chosen)
            start = 0
            for values in features:
                width = values.shape[1]
                frames[position, : len(chosen), start : start + width] = values[chosen]
                start += width
        return frames, num_frames

    def _features(self, row: int) -> list[np.ndarray]:
        index = self.index
        shard, offset, length = int(index.shard[row]), int(index.offset[row]), int(index.length[row])
        try:
            payload = self._pread(shard, length, offset)
            if len(payload) != length:
                raise StageError(
                    f"{index.paths[shard]}: record at offset {offset} is cut short; the file changed after it was "
                    "indexed: run ingest again"
                )
            return parse_features(payload, index.dataset)
        except (ParseError, OSError) as error:
            raise StageError(
                f"{index.paths[shard]}: record at offset {offset}: {error}; the file changed after it was indexed: "
                "run ingest again"
            ) from error

    def _pread(self, shard: int, length: int, offset: int) -> bytes:
        descriptor = self._descriptors.get(shard)
        if descriptor is not None:
            return os.pread(descriptor, length, offset)
        descriptor = os.open(self.index.paths[shard], os.O_RDONLY)
        with self._lock:
            kept = len(self._descriptors) < self._most and self._descriptors.setdefault(shard, descriptor) == descriptor
        try:
            return os.pread(descriptor, length, offset)
        finally:
            if not kept:  # no room, or another thread was first
                os.close(descriptor)

    def close(self) -> None:
        """Close every shard."""
        with self._lock:
            for descriptor in self._descriptors.values():
                os.close(descriptor)
            self._descriptors.clear()

    def __del__(self) -> None:
        self.close()


def _raise_open_files_limit() -> int:
    """Let the process open as many files as the system allows; returns how many shards may stay open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, 65_536) if hard != resource.RLIM_INFINITY else 65_536
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return max(soft, wanted) // 2
