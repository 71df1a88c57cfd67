"""The columns of tables that are text: CSV with any usual separator, JSON, JSON lines."""

import csv
import json
import re
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.config.errors import StageError
from pipeline.config.wording import counted

SEPARATORS = (",", ";", "\t")
"""Between columns; spreadsheets write what is customary where they run."""
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_CELLS_AT_ONCE = 1 << 20
_TRIED = 20
"""Rows that tell which separator is meant, where two divide the header alike."""
Columns = dict[str, pa.ChunkedArray]


def read_csv(path: Path, text: str) -> tuple[Columns, np.ndarray]:
    """Return the columns, as strings, and the number of each row's first line, int64 [rows]; empty lines are no rows.

    Raises StageError for quotes that are not closed, a row that has not as many cells as the header, and for two
    columns of one name; the message names the line.
    """
    rows = _rows(path, text, _separator(text))
    line, header = next(rows, (1, []))
    if not header:
        raise StageError(f"{path}: there is no line with names of columns; add a header line")
    names = [name.strip() for name in header]
    for number, name in enumerate(names):
        if name in names[:number]:
            called = f"are named {name!r}" if name else "have no name"
            raise StageError(f"{path}, line {line}: two columns {called}; give each a name of its own")
    chunks: list[list[pa.Array]] = [[] for _ in names]
    lines = []
    while some := list(islice(rows, max(1, _CELLS_AT_ONCE // len(names)))):
        for line, row in some:
            if len(row) != len(names):
                raise StageError(
                    f"{path}, line {line}: there {'is' if len(row) == 1 else 'are'} {counted(len(row), 'cell')}, and "
                    f"the header has {len(names)} ({_some(names)}); put a cell with a separator in it in quotes"
                )
        lines.append(np.array([line for line, _ in some], np.int64))
        for chunk, cells in zip(chunks, zip(*(row for _, row in some)), strict=True):
            chunk.append(pa.array(cells, pa.string()))
    columns = {name: pa.chunked_array(chunk, pa.string()) for name, chunk in zip(names, chunks, strict=True)}
    return columns, np.concatenate([np.zeros(0, np.int64), *lines])


def read_json(path: Path, text: str) -> tuple[Columns, int, str, np.ndarray | None]:
    """Return the columns, as strings or lists of them, the number of rows, and what counts them: entries or lines.

    Of JSON lines, the number of each row's line is returned too, int64 [rows]. Raises StageError, naming the line or
    entry, for what is not JSON, and for an entry that is no object or holds an object in a cell.
    """
    places = None
    unit = "entry"
    try:
        rows = _records(path, _parse(text))
    except json.JSONDecodeError as error:
        if not (text.lstrip().startswith("{") and error.msg == "Extra data"):
            raise _no_json(path, error.lineno, error) from None
        unit = "line"
        numbered = [(number, line) for number, line in enumerate(_LINE.findall(text), 1) if line.strip()]
        places = np.array([number for number, _ in numbered], np.int64)
        rows = [_json_line(path, number, line) for number, line in numbered]
    except (RecursionError, ValueError) as error:
        raise _no_json(path, 1, error) from None

    def where(row: int) -> str:
        return f"{path}, {unit} {row + 1 if places is None else places[row]}"

    columns: dict[str, list[Any]] = {}
    for number, row in enumerate(rows):
        for name, value in row:
            cells = columns.setdefault(name, [])
            if len(cells) > number:
                raise StageError(f"{where(number)}: key {name!r} is there twice; write it once")
            cells.extend([None] * (number - len(cells)))
            cells.append(value)
    return (
        {name: _json_column(name, cells, len(rows), where) for name, cells in columns.items()},
        len(rows),
        unit,
        places,
    )


class _Pairs(list[tuple[str, Any]]):
    """An object's keys and values, in which a key may be there twice."""


def _parse(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_Pairs, parse_int=str)


def _json_line(path: Path, number: int, line: str) -> _Pairs:
    try:
        row = _parse(line)
    except (RecursionError, ValueError) as error:
        raise _no_json(path, number, error) from None
    if not isinstance(row, _Pairs):
        raise StageError(f"{path}, line {number}: an object is expected in each line, not {line.strip()[:60]!r}")
    return row


def _no_json(path: Path, line: int, error: Exception) -> StageError:
    reason = "it is nested too deep" if isinstance(error, RecursionError) else getattr(error, "msg", str(error)[:100])
    return StageError(f"{path}, line {line}: this is no JSON ({reason}); write the table anew, or save it as CSV")


def _records(path: Path, parsed: Any) -> list[_Pairs]:
    if isinstance(parsed, _Pairs):
        if any(name.lower() == "id" and not isinstance(value, list) for name, value in parsed):
            return [parsed]  # one line of JSON lines
        if parsed and all(isinstance(value, _Pairs) for _, value in parsed):
            return [_Pairs([("id", id), *value]) for id, value in parsed]
        return [_Pairs([("id", id), ("labels", value)]) for id, value in parsed]
    for number, row in enumerate(parsed, 1):
        if not isinstance(row, _Pairs):
            raise StageError(
                f"{path}, entry {number}: a list of objects is expected, such as "
                f'[{{"id": "a", "label": "x"}}], not {str(row)[:60]!r}'
            )
    return parsed


def _json_column(name: str, cells: list[Any], rows: int, where: Callable[[int], str]) -> pa.ChunkedArray:
    cells.extend([None] * (rows - len(cells)))
    lists = any(type(cell) is list for cell in cells)
    kind = pa.list_(pa.string()) if lists else pa.string()
    texts = []
    for row, cell in enumerate(cells):
        if type(cell) is list:
            text: Any = [_json_text(each) for each in cell]
            bad = NotImplemented in text
        else:
            text = _json_text(cell)
            bad = text is NotImplemented
            if lists and text is not None:
                text = [text]
        if bad:
            raise StageError(
                f"{where(row)}: {name!r} holds {str(cell)[:60]}, where text, a number, or a list of these is expected"
            )
        texts.append(text)
    try:
        return pa.chunked_array([pa.array(texts, kind)])
    except UnicodeEncodeError:
        row = next(row for row, text in enumerate(texts) if not _encodes(text))
        raise StageError(f"{where(row)}: {name!r} holds half a character (a lone surrogate); write it anew") from None


def _json_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, float):  # whole numbers were left as text
        if value != value:
            return None
        return str(int(value)) if value.is_integer() and abs(value) < 1 << 53 else str(value)
    return str(value) if isinstance(value, bool) else NotImplemented


def _encodes(text: str | list[str | None] | None) -> bool:
    try:
        "".join(each or "" for each in (text if isinstance(text, list) else [text])).encode()
    except UnicodeEncodeError:
        return False
    return True


def _separator(text: str) -> str:
    """Return what divides the header into most columns; of equals, what divides most rows after it likewise."""

    def score(separator: str) -> tuple[int, int]:
        lines = csv.reader((line.group() for line in _LINE.finditer(text)), delimiter=separator)
        try:
            widths = [len(row) for row in islice((row for row in lines if any(row)), _TRIED)]
        except csv.Error:
            return 0, 0
        return (widths[0], widths.count(widths[0])) if widths else (0, 0)

    return max(SEPARATORS, key=score)


def _rows(path: Path, text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that say something, each with the number of its first line."""
    reader = csv.reader((line.group() for line in _LINE.finditer(text)), delimiter=separator, strict=True)
    line = 1
    try:
        for row in reader:
            if any(row) and not (len(row) == 1 and row[0].isspace()):
                yield line, row
            line = reader.line_num + 1
    except csv.Error as error:
        raise StageError(
            f"{path}, line {line}: this cannot be read as a row of a table ({error}); a cell that begins with a quote "
            "must end with one, and quotes within it are doubled"
        ) from None


def _some(names: list[str]) -> str:
    return ", ".join(name[:40] for name in names[:4]) + (", ..." if len(names) > 4 else "")
