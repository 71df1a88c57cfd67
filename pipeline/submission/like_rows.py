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
from pipeline.metrics.thresholds import reach
from pipeline.runtime.progress import progress_bar
from pipeline.submission.like_ids import find_rows
from pipeline.submission.like_sample import Sample
from pipeline.submission.rows import WrittenSubmission, check_pairs, text_file

_CELLS = 1 << 20  # cells written at once
_MOST_ROWS = 4096  # rows written at once


def write_like(
    path: Path,
    parts: Iterable[Predictions],
    ids: Sequence[str],
    sample: Sample,
    top_k: int | None,
    gzipped: bool,
    thresholds: NDArray[np.float64] | None = None,
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
        thresholds: the smallest score with which each class is assigned, float64 [V]. A column for each class then has
            1 or 0, and a row has the best of the labels that reach theirs. Where none does it is empty, or has the best
            label if no row of the sample is empty.

    Raises:
        StageError: the sample has ids without predictions, or does not show how several labels are written.
        ValueError: predictions are not what `write_submission` takes.
    """
    count = sample.cells.count(sample.path, top_k)
    places = find_rows(sample, ids)
    assert sample.cells.classes is not None
    decide = thresholds is not None
    cells_of = _columns(sample, decide) if sample.cells.form == "columns" else _one_column(sample, count)
    by_class = np.full(len(sample.cells.classes.names), -np.inf) if thresholds is None else thresholds
    below, block = 0, max(1, min(_MOST_ROWS, _CELLS // len(sample.columns)))
    with tempfile.TemporaryFile(dir=path.parent) as file, text_file(path, gzipped) as (put, digest):
        stored = _lay_out(parts, file)
        rows = np.memmap(file, _row(stored), "r")
        put(_text(sample, [sample.columns]))
        with progress_bar(total=len(places), desc="submit", unit=" rows") as bar:
            for low in range(0, len(places), block):
                chosen = rows[places[low : low + block]]
                said = reach(chosen["labels"], chosen["scores"], by_class)
                below += np.count_nonzero(~said.any(axis=1))
                cells = cells_of(chosen["labels"], chosen["scores"], said)
                videos = sample.ids[low : low + block]
                at = sample.id_column
                put(_text(sample, [[*row[:at], video, *row[at:]] for video, row in zip(videos, cells)]))
                bar.update(len(videos))
        del rows
    return WrittenSubmission(len(places), digest.hexdigest(), stored, below)


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


_CellsOf = Callable[[NDArray, NDArray, NDArray[np.bool_]], list[list[str]]]
"""Makes cells [N,C] of labels and scores [N,K], and of which of them are assigned."""


def _columns(sample: Sample, decide: bool) -> _CellsOf:
    """Return what writes into each column its score or, to decide, whether it is assigned; 0 of a class not stored."""
    assert sample.cells.classes is not None
    numbers = np.array(sample.cells.numbers)
    column = np.full(len(sample.cells.classes.names), -1)
    column[numbers] = np.arange(len(numbers))

    def cells_of(labels: NDArray, scores: NDArray, said: NDArray[np.bool_]) -> list[list[str]]:
        cells = np.full((len(labels), len(numbers)), "0", object)
        places = column[labels]
        there = (places >= 0) & said
        cells[np.nonzero(there)[0], places[there]] = "1" if decide else _numbers(scores[there])
        return cells.tolist()

    return cells_of


def _one_column(sample: Sample, count: int) -> _CellsOf:
    """Return what writes the first `count` labels that are assigned into the one column."""
    cells = sample.cells
    assert cells.classes is not None
    written, step = np.array(cells.classes.written(cells.by_name), object), 2 if cells.form == "pairs" else 1

    def cells_of(labels: NDArray, scores: NDArray, said: NDArray[np.bool_]) -> list[list[str]]:
        kept = said & (np.cumsum(said, axis=1) <= count)
        if not cells.empty:
            kept[:, 0] |= ~kept.any(axis=1)
        tokens = np.empty((np.count_nonzero(kept), step), object)
        tokens[:, 0] = written[labels[kept]]
        if step == 2:
            tokens[:, 1] = _numbers(scores[kept])
        ends, flat = step * np.cumsum(np.count_nonzero(kept, axis=1)), tokens.ravel().tolist()
        return [[cells.between.join(flat[low:high])] for low, high in zip([0, *ends], ends)]

    return cells_of


def _numbers(scores: NDArray[np.float32]) -> list[str]:
    """Return numbers [n] as `%g` writes them."""
    return ("%g " * len(scores) % tuple(scores.tolist())).split()


def _text(sample: Sample, rows: list[list[str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=sample.separator, lineterminator=sample.line_end).writerows(rows)
    return text.getvalue().encode()
