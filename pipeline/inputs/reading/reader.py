"""Frames of any videos of an index, by random access into the shards."""

import concurrent.futures
import itertools
import math
import mmap
import os
import threading
from pathlib import Path

import numpy as np

from pipeline.config.errors import StageError
from pipeline.config.wording import counted
from pipeline.inputs.index import Index
from pipeline.inputs.reading import copying
from pipeline.inputs.reading.buffers import BufferPool
from pipeline.inputs.reading.open_files import ALIGNMENT, OpenFiles, align_for_direct_read
from pipeline.inputs.reading.verifying import REDO
from pipeline.inputs.records.parsing import ParseError, parse_features
from pipeline.runtime.parallel import default_workers

_FEW = 8
"""Records that are not worth another thread."""
_DEPTH, _FEW_WAITED_FOR = 8, 2
"""Direct reads under way at once, since each waits for the disk by itself; and so many are worth a thread."""
_HUGE_PAGE = 2 << 20
"""Bytes. A buffer in one piece is read into directly at twice the speed of one that lies in small pages."""


class FrameReader:
    """Reads rows of an index into one array, with all processors. Safe to call from several threads.

    Args:
        index: what to read.
        direct: read past the system's cache. By default where the videos are more than half of the memory: they would
            push each other out of it before they are read again, and a video brought in page by page comes at half of
            the speed of a disk.
    """

    def __init__(self, index: Index, direct: bool | None = None):
        self.index = index
        self.direct = index.length.sum(dtype=np.int64) > _memory_limit() / 2 if direct is None else direct
        self._encoding = copying.Encoding.of(index.dataset)
        self._memory = BufferPool()
        self._workers, self._few = (_DEPTH, _FEW_WAITED_FOR) if self.direct else (default_workers(), _FEW)
        self._pool = concurrent.futures.ThreadPoolExecutor(self._workers)
        self._teller = concurrent.futures.ThreadPoolExecutor(1)
        self._thread = threading.local()
        self._files = OpenFiles(index, self.direct)

    def read(self, rows: np.ndarray, chosen: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Frames of the videos at `rows`.

        Args:
            rows: int64 [B], row numbers of the index.
            chosen: int32 [B,T], indices of frames below `index.num_frames` of the video.
            counts: int32 [B], how many of a video's, the first ones, to read.

        Returns:
            frames, the dataset's dtype [B,T,F], zero on padding. Its memory is used again when nothing refers to it.

        Raises:
            StageError: a shard is missing, another one than was indexed, or its record cannot be parsed.
        """
        index = self.index
        frames = self._memory.array((*chosen.shape, index.dataset.width), np.dtype(index.dataset.dtype))  # B,T,F
        left = np.empty(len(rows), bool)  # B
        with self._files.of(index.shard[rows]) as descriptors:
            columns = [descriptors, index.offset[rows], index.length[rows].astype(np.int64), index.num_frames[rows]]
            columns += [np.ascontiguousarray(chosen), counts, frames.view(np.uint8), left]
            parts = min(self._workers, math.ceil(len(rows) / self._few))
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
        it is told. A shard that cannot be opened fails that; whoever reads it hears of it. Where videos are read
        directly there is nothing to tell.
        """
        return self._teller.submit(self._tell, rows)

    def _tell(self, rows: np.ndarray) -> None:
        if self.direct:
            return
        rows = rows[np.lexsort((self.index.offset[rows], self.index.shard[rows]))]
        with self._files.of(self.index.shard[rows]) as descriptors:
            copying.advise_readahead(descriptors, self.index.offset[rows], self.index.length[rows].astype(np.int64))

    def _copy(self, descriptors, offsets, lengths, num_frames, chosen, counts, frames, left) -> None:
        """Some records of a batch, see `copying.read_records`; each thread has a buffer of its own."""
        buffer, alignment = getattr(self._thread, "buffer", None), ALIGNMENT if self.direct else 1
        needed = int(lengths.max()) + 2 * alignment
        if buffer is None or len(buffer) < needed:
            size = -(-needed // _HUGE_PAGE) * _HUGE_PAGE if self.direct else needed
            buffer = self._thread.buffer = self._memory.array((size,), np.dtype(np.uint8))
        copying.read_records(
            descriptors, offsets, lengths, num_frames, chosen, counts, self._encoding, alignment, buffer, frames, left
        )

    def _features(self, row: int, descriptor: int) -> list[np.ndarray]:
        """The features of a record in any encoding; StageError where it is not what was indexed."""
        index = self.index
        path, offset, length = index.paths[index.shard[row]], int(index.offset[row]), int(index.length[row])
        try:
            start, size = align_for_direct_read(offset, length)
            block = mmap.mmap(-1, size)
            got = os.preadv(descriptor, [block], start)
            payload = block[offset - start : min(offset - start + length, got)]
            if len(payload) != length:
                raise StageError(f"{path}: record at offset {offset} is cut short; {REDO}")
            features = parse_features(payload, index.dataset)
        except (ParseError, OSError) as error:
            raise StageError(f"{path}: record at offset {offset}: {error}; {REDO}") from error
        if len(features[0]) != index.num_frames[row]:
            raise StageError(
                f"{path}: record at offset {offset} has {counted(len(features[0]), 'frame')}, "
                f"{index.num_frames[row]} when it was indexed; {REDO}"
            )
        return features

    def close(self) -> None:
        """Close every shard."""
        self._files.close()

    def __del__(self) -> None:
        if hasattr(self, "_files"):
            self.close()


def _memory_limit() -> int:
    """Bytes of memory that this process and the system's cache of its files may take."""
    limit = Path("/sys/fs/cgroup/memory.max")  # of a container
    given = limit.read_text().strip() if limit.exists() else ""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(machine, int(given)) if given.isdigit() else machine
