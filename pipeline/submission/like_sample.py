"""Read a host's sample submission: its form, its columns, its ids and its classes."""

import csv
import itertools
import re
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.config.errors import StageError
from pipeline.config.wording import counted
from pipeline.inputs.records.file_kinds import kind_of_file
from pipeline.inputs.text import stream_lines
from pipeline.submission.like_classes import Classes
from pipeline.submission.like_forms import Cells, read_cells
from pipeline.submission.lines import NUMBER, short

SEPARATORS = (",", ";", "\t")
"""Between columns."""
_HEAD_LINES, _HEAD_CHARACTERS = 1000, 1 << 20
"""The beginning, by which the separator and the column of the ids are found: this many lines, or characters."""
TEXTS = (None, "empty", "text", "csv", "gzip")
"""Kinds of files that may be a table."""
_ID_WORDS = re.compile(r"id\b|id$|name|file|video|clip", re.I)


@dataclass(frozen=True)
class Sample:
    """What a file must be like."""

    path: Path
    columns: list[str]
    """The header."""
    id_column: int
    """The place of the ids' column."""
    ids: list[str]
    """In the order of the rows."""
    separator: str
    line_end: str
    cells: Cells
    """What the other columns hold."""

    @property
    def class_columns(self) -> list[str]:
        """The columns beside the ids'."""
        return beside(self.columns, self.id_column)


def beside(row: list[str], id_column: int) -> list[str]:
    """Return the cells of a row beside the id."""
    return row[:id_column] + row[id_column + 1 :]


def read_sample(path: Path, classes: Classes | None, ids: Collection[str] | None) -> Sample:
    """Read a sample submission of any size, gzipped or not; only its ids are kept, and the cells of a single column.

    Args:
        path: the file: a header, then a row for each video.
        classes: those of the dataset; None if they are not known.
        ids: ids of the dataset, by which the column of the ids is found; None if they are not known.

    Raises:
        StageError: the file is missing or no such table, or has columns or labels that are no classes; the message
            names the line or the column.
    """
    if not path.is_file():
        raise StageError(f"--like {path}: there is no such file; give the host's sample submission")
    kind = kind_of_file(path)
    if (kind and kind.format) not in TEXTS:
        raise StageError(f"--like {path}: {kind.is_not('a sample submission', 'give the host’s CSV')}")  # type: ignore[union-attr]
    separator, line_end, head = _head(path)
    header = head[0]
    id_column = _id_column(header, head[1:], ids)
    _check_header(path, header, id_column, classes, ids)
    names = beside(header, id_column)
    single = len(names) == 1
    seen: dict[str, int] = {}
    cells: list[str] = []
    for line, row in _rows(path, separator):
        if len(row) != len(header):
            raise StageError(
                f"{path}, line {line}: {counted(len(row), 'cell')}, where the header has "
                f"{counted(len(header), 'column')}; give the sample as the host made it"
            )
        if row[id_column] in seen:
            raise StageError(
                f"{path}, line {line}: id {short(row[id_column])} is on line {seen[row[id_column]]} already; "
                "a file has one row for each video"
            )
        seen[row[id_column]] = line
        if single:
            cells.append(row[1 - id_column])
    if not seen:
        raise StageError(f"{path}: no rows follow the header; give the sample with the ids that the host asks for")
    if not single:
        cells = [cell for row in head[1:] for cell in beside(row, id_column)]
    found = read_cells(path, names, cells, classes)
    return Sample(path, header, id_column, list(seen), separator, line_end, found)


def _head(path: Path) -> tuple[str, str, list[list[str]]]:
    """Return what separates columns, the end of the lines, and the first rows, the header among them."""
    lines: list[str] = []
    characters, whole = 0, True
    for line in stream_lines(path):
        if len(lines) > 1 and (len(lines) >= _HEAD_LINES or characters > _HEAD_CHARACTERS):
            whole = False
            break
        lines.append(line)
        characters += len(line)
    if not any(line.strip() for line in lines):
        raise StageError(f"{path} is empty: give the host's sample submission, with its header")
    tables = {separator: _parsed(lines, separator, whole) for separator in SEPARATORS}

    def fits(separator: str) -> tuple[bool, int]:
        rows, parsed = tables[separator]
        return parsed and {len(row) for row in rows} == {len(rows[0])} != {1}, len(rows[0])

    best = max(SEPARATORS, key=fits)
    rows = tables[best][0]
    if len(rows[0]) < 2:
        raise StageError(
            f"{path}, line 1: {short(lines[0].strip())} is one column; a sample has a column of ids and at least one "
            "more, with commas, semicolons or tabs between them"
        )
    end = lines[0][len(lines[0].rstrip("\r\n")) :]
    return best, end or "\n", rows


def _parsed(lines: list[str], separator: str, whole: bool) -> tuple[list[list[str]], bool]:
    """Return the rows of some lines, at least one, and whether they can be read with a separator."""
    rows, parsed = [], True
    reader = csv.reader(lines, delimiter=separator, strict=True)
    try:
        rows.extend(filter(None, reader))
    except csv.Error:
        parsed = not whole and reader.line_num == len(lines)  # the last row was cut
    return rows or [[]], parsed


def _check_header(
    path: Path, header: list[str], id_column: int, classes: Classes | None, ids: Collection[str] | None
) -> None:
    """Raise StageError if the header is a row already, or names a column twice."""
    known = classes.table(header)[1] if classes else {}
    row = [header[id_column]] if ids is not None and header[id_column] in ids else []
    row += [cell for cell in header if NUMBER.fullmatch(cell) and not cell.isdecimal() and cell not in known]
    if row:
        raise StageError(f"{path}, line 1: {short(row[0])} is no name of a column: the header is missing; add it")
    if twice := [cell for cell, count in Counter(header).items() if count > 1]:
        raise StageError(f"{path}, line 1: column {short(twice[0])} is there twice; give columns different names")


def _id_column(header: list[str], rows: list[list[str]], ids: Collection[str] | None) -> int:
    """Return the place of the column that has most ids; if ids are not known, of one whose values all differ."""
    rows = [row for row in rows if len(row) == len(header)]
    values = [{row[place] for row in rows} for place in range(len(header))]
    if ids is not None:
        return max(range(len(header)), key=lambda place: sum(value in ids for value in values[place]))
    different = [place for place in range(len(header)) if len(values[place]) == len(rows)]
    return max(different or [0], key=lambda place: bool(_ID_WORDS.search(header[place])))


def _rows(path: Path, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows below the header, each with the line on which it ends. Blank lines are left out."""
    reader = csv.reader(stream_lines(path), delimiter=separator, strict=True)
    try:
        for row in itertools.islice(filter(None, reader), 1, None):
            yield reader.line_num, row
    except csv.Error as error:
        raise StageError(f"{path}, line {reader.line_num}: {error}; give the sample as the host made it") from error
