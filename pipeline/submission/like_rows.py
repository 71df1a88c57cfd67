"""Write predictions into a file like a host's sample: its rows, its columns, its separators."""

import csv
import io
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts.predictions import Predictions
from pipeline.runtime.progress import progress_bar
from pipeline.submission.like_ids import find_rows
from pipeline.submission.like_sample import Sample
from pipeline.submission.rows import WrittenSubmission, check_pairs, text_file

_CELLS = 1 << 20  # cells written at once
_MOST_ROWS = 4096  # rows written at once


def write_like(
    path: Path, parts: Iterable[Predictions], ids: Sequence[str], sample: Sample, top_k: int | None, gzipped: bool
) -> WrittenSubmission:
    """Write the rows of the sample in its order, straight to `path`, which may end up half-written.

    The sample's order is any, so all predictions are first laid beside `path`, in a file without a name, where each row
    can be reached: memory holds the ids and one block of rows. Scores are written as `%g` of the float32.

    Args:
        path: the file to write, as UTF-8.
        parts: the predictions, in the order of `ids`.
        ids: the ids of all predictions; those that the sample lacks are left out.
        sample: what the file must be like; its classes are known.
        top_k: number of labels of a row, or as many as a row of the sample has at most; a column for each class has all
            scores that are stored, and 0 elsewhere.
        gzipped: whether the file is gzipped.

    Raises:
        StageError: the sample has ids without predictions, or does not show how several labels are written.
        ValueError: predictions are not what `write_submission` takes.
    """
    count = sample.cells.count(sample.path, top_k)
    places = find_rows(sample, ids)
    cells_of = _columns(sample) if sample.cells.form == "columns" else _one_column(sample, count)
    block = max(1, min(_MOST_ROWS, _CELLS // len(sample.columns)))
    with tempfile.TemporaryFile(dir=path.parent) as file, text_file(path, gzipped) as (put, digest):
        stored = _lay_out(parts, file)
        rows = np.memmap(file, _row(stored), "r")
        put(_text(sample, [sample.columns]))
        with progress_bar(total=len(places), desc="submit", unit=" rows") as bar:
            for low in range(0, len(places), block):
                chosen = rows[places[low : low + block]]
                cells = cells_of(chosen["labels"], chosen["scores"])
                videos = sample.ids[low : low + block]
                at = sample.id_column
                put(_text(sample, [[*row[:at], video, *row[at:]] for video, row in zip(videos, cells)]))
                bar.update(len(videos))
        del rows
    return WrittenSubmission(len(places), digest.hexdigest(), stored)


def _row(stored: int) -> np.dtype:
    """Return the type of a laid-out row: the labels of a video, and their scores."""
    return np.dtype([("labels", np.int32, (stored,)), ("scores", np.float32, (stored,))])


def _lay_out(parts: Iterable[Predictions], file: BinaryIO) -> int:
    """Write rows of `_row` one after the other; return how many labels each video has."""
    stored = 0
    for ids, labels, scores in parts:
        check_pairs(ids, labels, scores.astype(np.float64))
        stored = labels.shape[1]
        rows = np.empty(len(ids), _row(stored))
        rows["labels"], rows["scores"] = labels, scores.clip(0, 1) + np.float32(0)  # -0 + 0 is 0
        file.write(rows.tobytes())
    file.flush()
    return stored


def _columns(sample: Sample) -> Callable[[NDArray, NDArray], list[list[str]]]:
    """Return what makes cells [N,C] of labels and scores [N,K]; a class that is not stored has 0."""
    assert sample.cells.classes is not None
    numbers = np.array(sample.cells.numbers)
    column = np.full(len(sample.cells.classes.names), -1)
    column[numbers] = np.arange(len(numbers))

    def cells_of(labels: NDArray, scores: NDArray) -> list[list[str]]:
        cells = np.full((len(labels), len(numbers)), "0", object)
        places = column[labels]
        there = places >= 0
        cells[np.nonzero(there)[0], places[there]] = _numbers(scores[there])
        return cells.tolist()

    return cells_of


def _one_column(sample: Sample, count: int) -> Callable[[NDArray, NDArray], list[list[str]]]:
    """Return what makes cells [N,1] of the first `count` labels of each row."""
    cells = sample.cells
    assert cells.classes is not None
    written, step = np.array(cells.classes.written(cells.by_name), object), 2 if cells.form == "pairs" else 1

    def cells_of(labels: NDArray, scores: NDArray) -> list[list[str]]:
        labels, scores = labels[:, :count], scores[:, :count]
        tokens = np.empty((len(labels), step * labels.shape[1]), object)
        tokens[:, ::step] = written[labels]
        if step == 2:
            tokens[:, 1::2] = np.array(_numbers(scores.ravel()), object).reshape(scores.shape)
        return [[cells.between.join(row)] for row in tokens.tolist()]

    return cells_of


def _numbers(scores: NDArray[np.float32]) -> list[str]:
    """Return numbers [n] as `%g` writes them."""
    return ("%g " * len(scores) % tuple(scores.tolist())).split()


def _text(sample: Sample, rows: list[list[str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=sample.separator, lineterminator=sample.line_end).writerows(rows)
    return text.getvalue().encode()
