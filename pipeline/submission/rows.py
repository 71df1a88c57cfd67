"""From predictions to the challenge's file, a million rows in seconds."""

import contextlib
import gzip
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from pipeline.artifacts.files import atomic_file
from pipeline.inputs.index.ids import id_fault
from pipeline.runtime.parallel import prefetch
from pipeline.submission.lines import HEADER

_ROWS = 8192  # written at once
_AHEAD = 3  # batches
_LARGEST = np.iinfo(np.int32).max  # label


class Written(NamedTuple):
    """A file that was written."""

    rows: int
    digest: str
    """SHA-256 of the text, the same whether it is gzipped or not."""


def write_submission(path: Path, batches: Iterable[tuple[list[str], ArrayLike, ArrayLike]], top_k: int = 20) -> Written:
    """Write batches of (N ids, labels int [N,K], scores float [N,K]), gzipped where the path ends in `.gz`.

    The first `top_k` pairs of each row are written as `%i %g` of the label and the float32 score, -0 as 0. A gzipped
    file holds neither time nor name, so the same predictions give the same bytes. Each batch is taken in a thread while
    the one before it is written.

    Raises:
        ValueError: an id that a CSV cannot hold as it is; pairs whose labels are negative or repeated, or whose scores
            are not finite, ascend, or lie outside [0, 1] by more than rounding.
    """
    if top_k < 1:
        raise ValueError(f"top_k must be at least 1, not {top_k}")
    count, digest, formatter = 0, hashlib.sha256(), _Formatter()
    with atomic_file(path) as temporary, contextlib.ExitStack() as stack:
        file: BinaryIO = stack.enter_context(temporary.open("wb"))
        if path.suffix == ".gz":
            file = stack.enter_context(gzip.GzipFile("", "wb", compresslevel=6, fileobj=file, mtime=0))

        def put(text: bytes | memoryview) -> None:
            digest.update(text)
            file.write(text)

        put(f"{HEADER}\n".encode())
        for ids, labels, scores in prefetch(iter(batches), _AHEAD):
            labels, scores = np.asarray(labels), np.asarray(scores)
            _check_shapes(ids, labels, scores)
            for low in range(0, len(ids), _ROWS):
                rows = slice(low, low + _ROWS)
                put(formatter.lines(ids[rows], labels[rows, :top_k], scores[rows, :top_k]))
            count += len(ids)
    return Written(count, digest.hexdigest())


def _check_shapes(ids: list[str], labels: NDArray, scores: NDArray) -> None:
    if labels.ndim != 2 or not labels.shape[1] or not (len(ids), labels.shape[1]) == labels.shape == scores.shape:
        shapes = f"{list(labels.shape)} and {list(scores.shape)}"
        raise ValueError(f"{len(ids)} ids need labels and scores [{len(ids)},k], not {shapes}")
    if labels.dtype.kind not in "iu":
        raise ValueError(f"labels must be integers, not {labels.dtype}")
    if labels.size and labels.max() > _LARGEST:
        raise ValueError(f"labels must be below {_LARGEST + 1}, not {labels.max()}")


class _Formatter:
    """Makes lines in one buffer, used again and again."""

    def __init__(self):
        from pipeline.submission import digits  # compiled

        self._digits = digits
        self._buffer = np.empty(0, np.uint8)

    def lines(self, ids: list[str], labels: NDArray, scores: NDArray) -> memoryview:
        """N lines, there until the next call; raises ValueError as `write_submission` does."""
        if "" in ids or id_fault("".join(ids)):
            for video in filter(id_fault, ids):
                raise ValueError(
                    f"id {video!r} cannot be written: {id_fault(video)}; ids are printable text without , or quotes"
                )
        labels, scores = np.ascontiguousarray(labels, np.int32), np.ascontiguousarray(scores, np.float32)
        row, fault = self._digits.first_fault(labels, scores)
        if fault:
            raise ValueError(f"video {ids[row]!r} has {self._digits.FAULTS[fault]}; predict it again")
        _, offsets, text = pa.array(ids, pa.string()).buffers()
        room = text.size + len(ids) + 2 * labels.size * self._digits.NUMBER_WIDTH
        if self._buffer.size < room:
            self._buffer = np.empty(room, np.uint8)
        offsets = np.frombuffer(offsets, np.int32)[: len(ids) + 1]
        size = self._digits.write_rows(self._buffer, np.frombuffer(text, np.uint8), offsets, labels, scores)
        return memoryview(self._buffer)[:size]
