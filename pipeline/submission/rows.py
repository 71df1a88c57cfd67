"""Write predictions to a submission file: check them, and format each pair as `%d %g`."""

import contextlib
import gzip
import hashlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.artifacts.files import atomic_file
from pipeline.inputs.index.ids import id_fault
from pipeline.runtime.parallel import prefetch
from pipeline.submission.lines import HEADER

_ROWS = 8192  # rows written at once
_AHEAD = 3  # batches that are prepared ahead
_LARGEST = np.iinfo(np.int32).max  # largest label
_ROUNDING = 1e-6  # confidences this far outside [0, 1] are rounding, further out they are wrong


class WrittenSubmission(NamedTuple):
    """A submission file that was written."""

    rows: int
    digest: str
    """SHA-256 of the text, which is the same if the file is gzipped."""
    stored: int = 0
    """Labels that the predictions have for each video, in a file like a sample."""
    below: int = 0
    """Rows of a file like a sample that have no label which reaches its threshold."""


def write_submission(
    path: Path, batches: Iterable[tuple[list[str], ArrayLike, ArrayLike]], top_k: int = 20
) -> WrittenSubmission:
    """Write batches of (N ids, labels int [N,K], scores float [N,K]), gzipped where the path ends in `.gz`.

    The first `top_k` pairs of each row are written as `%d %g` of the label and the float32 score, -0 as 0. A gzipped
    file holds neither time nor name, so the same predictions give the same bytes. Each batch is taken in a thread while
    the one before it is written.

    Raises:
        ValueError: an id that a CSV cannot hold as it is; pairs whose labels are negative or repeated, or whose scores
            are not finite, ascend, or lie outside [0, 1] by more than rounding.
    """
    with atomic_file(path) as temporary:
        return write_rows(temporary, batches, top_k, path.suffix == ".gz")


def write_rows(
    path: Path, batches: Iterable[tuple[list[str], ArrayLike, ArrayLike]], top_k: int, gzipped: bool
) -> WrittenSubmission:
    """Write a submission as `write_submission` does, but straight to `path`, which may end up half-written."""
    if top_k < 1:
        raise ValueError(f"top_k must be at least 1, not {top_k}")
    count = 0
    with text_file(path, gzipped) as (put, digest):
        put(f"{HEADER}\n".encode())
        for ids, labels, scores in prefetch(iter(batches), _AHEAD):
            labels, scores = np.asarray(labels), np.asarray(scores, np.float32)
            _check_shapes(ids, labels, scores)
            for low in range(0, len(ids), _ROWS):
                rows = slice(low, low + _ROWS)
                put(_lines(ids[rows], labels[rows, :top_k], scores[rows, :top_k]).encode())
            count += len(ids)
    return WrittenSubmission(count, digest.hexdigest())


@contextlib.contextmanager
def text_file(path: Path, gzipped: bool) -> Iterator[tuple[Callable[[bytes], None], "hashlib._Hash"]]:
    """Yield what writes bytes to a new file, and the SHA-256 of those that were written, zipped or not."""
    digest = hashlib.sha256()
    with contextlib.ExitStack() as stack:
        file: BinaryIO = stack.enter_context(path.open("wb"))
        if gzipped:
            file = stack.enter_context(gzip.GzipFile("", "wb", compresslevel=6, fileobj=file, mtime=0))

        def put(text: bytes) -> None:
            digest.update(text)
            file.write(text)

        yield put, digest


def _check_shapes(ids: list[str], labels: NDArray, scores: NDArray) -> None:
    if labels.ndim != 2 or not labels.shape[1] or not (len(ids), labels.shape[1]) == labels.shape == scores.shape:
        shapes = f"{list(labels.shape)} and {list(scores.shape)}"
        raise ValueError(f"{len(ids)} ids need labels and scores [{len(ids)},k], not {shapes}")
    if labels.dtype.kind not in "iu":
        raise ValueError(f"labels must be integers, not {labels.dtype}")
    if labels.size and labels.max() > _LARGEST:
        raise ValueError(f"labels must be below {_LARGEST + 1}, not {labels.max()}")


def _lines(ids: list[str], labels: NDArray, scores: NDArray[np.float32]) -> str:
    """Format N lines; raises ValueError as `write_submission` does."""
    if "" in ids or id_fault("".join(ids)):
        for video in filter(id_fault, ids):
            raise ValueError(
                f"id {video!r} cannot be written: {id_fault(video)}; ids are printable text without , or quotes"
            )
    confidences = scores.astype(np.float64)
    check_pairs(ids, labels, confidences)
    cells = np.empty((len(ids), 1 + 2 * labels.shape[1]), object)
    cells[:, 0], cells[:, 1::2], cells[:, 2::2] = ids, labels, confidences.clip(0, 1) + 0.0  # -0 + 0 is 0
    line = f"%s,{' '.join(['%d %g'] * labels.shape[1])}\n"
    return line * len(ids) % tuple(cells.ravel())


def check_pairs(ids: list[str], labels: NDArray, confidences: NDArray[np.float64]) -> None:
    """Raise ValueError, as `write_submission` does, if some of the pairs [N,K] are wrong."""
    order = labels.argsort(axis=1, kind="stable")
    ordered = np.take_along_axis(labels, order, 1)
    twice, ascending = np.zeros(labels.shape, bool), np.zeros(labels.shape, bool)
    np.put_along_axis(twice, order[:, 1:], ordered[:, 1:] == ordered[:, :-1], 1)
    ascending[:, 1:] = confidences[:, 1:] > confidences[:, :-1]
    faults = {
        "a negative label": labels < 0,
        "a label twice": twice,
        "a confidence that is not finite": ~np.isfinite(confidences),
        "a confidence outside [0, 1]": (confidences < -_ROUNDING) | (confidences > 1 + _ROUNDING),
        "ascending confidences": ascending,
    }
    wrong = np.any(list(faults.values()), axis=0)
    if wrong.any():
        row, pair = np.argwhere(wrong)[0]
        fault = next(fault for fault, found in faults.items() if found[row, pair])
        raise ValueError(f"video {ids[row]!r} has {fault}; predict it again")
