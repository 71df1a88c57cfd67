"""The columns of tables that are text: CSV with any usual separator, JSON, JSON lines."""

import contextlib
import csv
import json
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from pipeline.config.errors import StageError
from pipeline.config.wording import counted, listed

SEPARATORS = (",", ";", "\t")
"""Between columns; spreadsheets write what is customary where they run."""
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_CELLS_AT_ONCE = 1 << 20
_ROWS_AT_ONCE = 1 << 16
_HALF = re.compile("[\ud800-\udfff]")
_LISTS = pa.list_(pa.string())
_TRIED = 20
"""Rows that tell which separator is meant, where two divide the header alike."""
Columns = dict[str, pa.ChunkedArray]


def read_csv(path: Path, text: str) -> tuple[Columns, np.ndarray]:
    """Return the columns, as strings, and the number of each row's first line, int64 [rows]; empty lines are no rows.

    Raises StageError for quotes that are not closed, a row that has not as many cells as the header, and for two
    columns of one name; the message names the line.
    """
    separator = _separator(text)
    rows = _rows(path, text, separator)
    line, header = next(rows, (1, []))
    if not header:
        raise StageError(f"{path}: there is no line with names of columns; add a header line")
    names = [name.strip() for name in header]
    for number, name in enumerate(names):
        if name in names[:number]:
            called = f"are named {name!r}" if name else "have no name"
            raise StageError(f"{path}, line {line}: two columns {called}; give each a name of its own")
    if line == 1 and (plain := _plain_columns(text, separator, names)):
        return plain
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
    rows: Iterator[tuple[int, Any]]
    try:
        rows, unit = enumerate(_records(_DECODER.decode(text)), 1), "entry"
    except json.JSONDecodeError as error:
        if not (text.lstrip().startswith("{") and error.msg == "Extra data"):
            raise _no_json(path, error.lineno, error) from None
        lines = ((number, line.group()) for number, line in enumerate(_LINE.finditer(text), 1))
        rows = ((number, _json_line(path, number, line)) for number, line in lines if not line.isspace())
        unit = "line"
    except (RecursionError, ValueError) as error:
        raise _no_json(path, 1, error) from None
    chunks: dict[str, list[pa.Array]] = {}
    places, total = [], 0
    while some := list(islice(rows, _ROWS_AT_ONCE)):
        for name, chunk in _json_chunk(some, f"{path}, {unit}").items():
            chunks.setdefault(name, [pa.nulls(total, pa.string())] if total else []).append(chunk)
        places.append(np.array([place for place, _ in some], np.int64))
        total += len(some)
        for had in chunks.values():
            had.extend([pa.nulls(lacking, pa.string())] if (lacking := total - sum(map(len, had))) else [])
    numbers = np.concatenate([np.zeros(0, np.int64), *places]) if unit == "line" else None
    return {name: _alike(some) for name, some in chunks.items()}, total, unit, numbers


class _Pairs(list[tuple[str, Any]]):
    """The keys and values of an object in which a key is there twice."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any] | _Pairs:
    found = dict(pairs)
    return found if len(found) == len(pairs) else _Pairs(pairs)


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=str)


def _json_line(path: Path, number: int, line: str) -> Any:
    try:
        return _DECODER.decode(line)
    except (RecursionError, ValueError) as error:
        raise _no_json(path, number, error) from None


def _no_json(path: Path, line: int, error: Exception) -> StageError:
    reason = "it is nested too deep" if isinstance(error, RecursionError) else getattr(error, "msg", str(error)[:100])
    return StageError(f"{path}, line {line}: this is no JSON ({reason}); write the table anew, or save it as CSV")


def _records(parsed: Any) -> list[Any]:
    """Return the rows of a list, or of an object: one row, or one of each id."""
    if isinstance(parsed, dict) and any(name.lower() == "id" and type(parsed[name]) is not list for name in parsed):
        return [parsed]  # JSON lines of one line
    if not isinstance(parsed, dict | _Pairs):
        return parsed
    pairs = list(parsed.items()) if isinstance(parsed, dict) else parsed  # a video may have several entries
    if pairs and all(isinstance(value, dict) for _, value in pairs):
        return [{"id": id, **value} | {"id": id} for id, value in pairs]
    return [{"id": id, "labels": value} for id, value in pairs]


def _json_chunk(rows: list[tuple[int, Any]], where: str) -> dict[str, pa.Array]:
    """Return the cells of some rows by column; `where` names the file, and what their numbers count."""
    names: dict[str, None] = {}
    for place, row in rows:
        if type(row) is _Pairs:
            raise StageError(
                f"{where} {place}: a key is there twice ({_some([name for name, _ in row])}); write it once"
            )
        if type(row) is not dict:
            raise StageError(
                f'{where} {place}: an object is expected, such as {{"id": "a", "label": "x"}}, not {ascii(row)[:60]}'
            )
        names.update(dict.fromkeys(row))
    return {name: _json_cells([row.get(name) for _, row in rows], rows, f"{name!r}", where) for name in names}


def _json_cells(cells: list[Any], rows: list[tuple[int, Any]], name: str, where: str) -> pa.Array:
    if {*map(type, cells)} <= {str, type(None)}:
        with contextlib.suppress(UnicodeEncodeError):  # one of them is refused below
            return pa.array(cells, pa.string())
    lists = any(type(cell) is list for cell in cells)
    texts: list[Any] = []
    for (place, _), cell in zip(rows, cells):
        inner = [_json_text(each) for each in (cell if type(cell) is list else [cell])]
        if NotImplemented in inner or not _encodes(inner):
            raise StageError(
                f"{where} {place}: {name} holds {ascii(cell)[:60]}, where text, a number, or a list of these is "
                "expected"
            )
        texts.append(inner[0] if not lists else None if cell is None else inner)
    return pa.array(texts, _LISTS if lists else pa.string())


def _alike(chunks: list[pa.Array]) -> pa.ChunkedArray:
    """Return chunks as one column: of lists, if one has any."""
    if not any(pa.types.is_list(chunk.type) for chunk in chunks):
        return pa.chunked_array(chunks, pa.string())
    lists = [
        chunk if pa.types.is_list(chunk.type) else pa.array([each and [each] for each in chunk.to_pylist()], _LISTS)
        for chunk in chunks
    ]
    return pa.chunked_array(lists, _LISTS)


def _json_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, float):  # whole numbers were left as text
        if value != value:
            return None
        return str(int(value)) if value.is_integer() and abs(value) < 1 << 53 else str(value)
    return str(value) if isinstance(value, bool) else NotImplemented


def _encodes(texts: list[str | None]) -> bool:
    """Return whether texts are of whole characters: JSON may hold one half of a pair."""
    return not any(text and not text.isascii() and _HALF.search(text) for text in texts)


def _separator(text: str) -> str:
    """Return what divides the header into most columns; of equals, what divides most rows after it likewise."""

    def score(separator: str) -> tuple[int, int]:
        lines = csv.reader((line.group() for line in _LINE.finditer(text)), delimiter=separator)
        widths: list[int] = []
        with contextlib.suppress(csv.Error):  # which reading tells by its line
            widths.extend(len(row) for row in islice(filter(None, lines), _TRIED))
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


def _plain_columns(text: str, separator: str, names: list[str]) -> tuple[Columns, np.ndarray] | None:
    """Return what `read_csv` does, ten times as fast, for a text without quotes or faults; else None."""
    if '"' in text:
        return None
    try:
        table = pa.csv.read_csv(
            pa.BufferReader(text.encode()),
            pa.csv.ReadOptions(use_threads=False, column_names=names, skip_rows=1),
            pa.csv.ParseOptions(delimiter=separator, quote_char=False, ignore_empty_lines=False),
            pa.csv.ConvertOptions(column_types={name: pa.string() for name in names}, strings_can_be_null=False),
        )
    except pa.ArrowInvalid:  # a row of more or fewer cells, an empty line
        return None
    # One cell of spaces is an empty line, as for `_rows`; several are a row that says something.
    cells = [pc.utf8_trim_whitespace(table[0])] if len(names) == 1 else table.columns
    said = ~np.logical_and.reduce([pc.equal(column, "").to_numpy() for column in cells])
    if not said.all():
        table = table.filter(pa.array(said))
    return dict(zip(names, table.columns)), np.flatnonzero(said) + 2


def _some(names: list[str]) -> str:
    return listed([name[:40] for name in names], 4)
