"""Tables that people bring, as CSV, TSV, Parquet, JSON or JSON lines: the same cells whichever it is."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.config.errors import ConfigError, StageError, find_by_name
from pipeline.inputs.records.file_kinds import FileKind, kind_of_file
from pipeline.inputs.text import read_text
from pipeline.packing.sources.source import what_is_there
from pipeline.packing.tables.cells import as_text, holds_vectors
from pipeline.packing.tables.text import read_csv, read_json

WANTED = "a table (CSV, TSV, Parquet, JSON or JSON lines)"
_TEXT = ("csv", "json", "text")
_INDEX = ("", "Unnamed: 0", "__index_level_0__")
"""How pandas names the numbers of rows that it writes beside a table."""


@dataclass(frozen=True)
class Part:
    """One file of a table."""

    path: Path
    rows: int
    unit: str
    """What `places` count: line, row or entry."""
    places: np.ndarray | None = None
    """Number of each row's first line, int64 [rows]; None: rows are counted from 1."""
    titled: bool = False
    """Whether the names of the columns are the first line of a text, which may as well be data by mistake."""


@dataclass(frozen=True)
class Column:
    """A column of one file, which is loaded when it is asked for."""

    type: pa.DataType
    load: Callable[[], pa.ChunkedArray]


class Table:
    """The rows of one file or of several, and where each stands. Cells are text, whatever the file holds."""

    def __init__(self, parts: Sequence[Part], columns: dict[str, list[Column]]):
        """`columns` has a Column for each of the parts."""
        self.parts, self._columns = list(parts), columns
        self._starts = np.cumsum([0, *(part.rows for part in parts)])
        self._loaded: dict[str, pa.ChunkedArray] = {}

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def names(self) -> list[str]:
        """The names of the columns, in their order."""
        return list(self._columns)

    @property
    def files(self) -> str:
        """The files by name, for messages."""
        several = f" and {len(self.parts) - 1} more" if len(self.parts) > 1 else ""
        return f"{self.parts[0].path}{several}"

    @property
    def titled(self) -> bool:
        """Whether the names of the columns are a line of text."""
        return any(part.titled for part in self.parts)

    def where(self, row: int) -> str:
        """Return the file and the line, row or entry of a row: "labels.csv, line 17"."""
        number = int(np.searchsorted(self._starts, row, side="right")) - 1
        part, within = self.parts[number], row - int(self._starts[number])
        return f"{part.path}, {part.unit} {within + 1 if part.places is None else part.places[within]}"

    def require(self, name: str, flag: str) -> str:
        """Return the name of a column; raises StageError with the nearest name and the flag that asked for it."""
        try:
            return find_by_name(name, {each: each for each in self._columns}, "column")
        except ConfigError as error:
            raise StageError(f"{self.files}, {flag}: {error}") from None

    def is_vector(self, name: str) -> bool:
        """Return whether cells are features or other things that can neither be ids nor labels."""
        return any(holds_vectors(column.type) for column in self._columns[name])

    def is_list(self, name: str) -> bool:
        """Return whether cells are lists."""
        return pa.types.is_list(self._load(name).type)

    def column(self, name: str) -> list[str | list[str] | None]:
        """Return a column's cells: text, lists of text, or None for a missing or an empty one.

        Equal values are equal text in all formats: 17, 17.0 and "17" are "17"; "007" stays "007"; true is "True".
        Raises StageError as `texts`.
        """
        return self._load(name).to_pylist()

    def texts(self, name: str) -> pa.ChunkedArray:
        """Return a column of single cells as strings; null: missing, empty, or spaces alone.

        Raises StageError where the file cannot be read to its end, or cells are lists or neither text nor numbers.
        """
        cells = self._load(name)
        if pa.types.is_list(cells.type):
            raise StageError(f"{self.files}: column {name} holds lists, where single values are expected")
        return cells

    def cells(self, name: str) -> pa.ChunkedArray:
        """Return a column as strings, or lists of them, without the spaces around cells; null also for nan.

        Programs write nan for an empty cell. Raises StageError as `texts`.
        """
        cells = self._load(name)
        if pa.types.is_list(cells.type):
            return cells
        cells = pc.utf8_trim_whitespace(cells)
        absent = pc.is_in(cells, value_set=pa.array(["nan", "NaN", "NAN", "<NA>", "NaT"]))
        return pc.if_else(absent, pa.scalar(None, pa.string()), cells)

    def _load(self, name: str) -> pa.ChunkedArray:
        if name not in self._loaded:
            pieces = []
            for part, column in zip(self.parts, self._columns[name], strict=True):
                try:
                    pieces.append(as_text(column.load()))
                except (pa.ArrowException, ValueError, OSError) as error:
                    raise StageError(f"{part.path}: column {name} cannot be read: {_first_line(error)}") from error
            lists = [pa.types.is_list(piece.type) for piece in pieces]
            if any(lists) and not all(lists):
                one, other = (self.parts[lists.index(each)].path for each in (True, False))
                raise StageError(
                    f"column {name} holds lists in {one} and single values in {other}: write both in one form"
                )
            kind = pa.list_(pa.string()) if any(lists) else pa.string()
            self._loaded[name] = pa.chunked_array([chunk for piece in pieces for chunk in piece.chunks], kind)
        return self._loaded[name]


def read_table(path: Path) -> Table:
    """Read a table: Parquet, or text that is CSV, TSV, JSON or JSON lines, whatever the file's name ends in.

    The columns of text are separated by comma, semicolon or tab, as its first line shows, and a name that pandas gives
    to the numbers of rows is no column. JSON is a list of objects, or an object of ids and their labels (columns id and
    labels) or of ids and objects (id and their keys).

    Raises:
        StageError: the file cannot be read or is another thing, a row has more or fewer cells than there are columns,
            two columns share a name; the message names the file, the line or entry, and the remedy.
    """
    try:
        kind = kind_of_file(path)
    except FileNotFoundError as error:
        raise StageError(f"{path}: there is no such file. {what_is_there(path)}") from error
    except OSError as error:
        raise StageError(f"{path} cannot be read: {error.strerror}") from error
    if kind and kind.format == "parquet":
        return _read_parquet(path)
    if kind and kind.format not in _TEXT:
        raise StageError(f"{path} cannot be read: {kind.is_not(WANTED, 'save its table as CSV or Parquet')}")
    text = read_text(path)
    if not text.strip():
        raise StageError(f"{path} cannot be read: {FileKind('empty', 'empty').is_not(WANTED, 'make it again')}")
    is_json = text.lstrip()[0] in "{["
    if is_json:
        columns, rows, unit, places = read_json(path, text)
    else:
        columns, places = read_csv(path, text)
        rows, unit = len(places), "line"
    part = Part(path, rows, unit, places, titled=not is_json)
    held = {name: [Column(cells.type, partial(_same, cells))] for name, cells in columns.items()}
    return _without_row_numbers(Table([part], held))


def concat_tables(tables: Iterable[Table]) -> Table:
    """Return tables of the same columns, in any order, as one.

    Raises StageError if one lacks a column that another has: its cells would not be empty, but unknown.
    """
    tables = list(tables)
    first = tables[0]
    for other in tables[1:]:
        if lacking := [name for name in first.names if name not in other.names]:
            raise _differ(other, first, lacking)
        if lacking := [name for name in other.names if name not in first.names]:
            raise _differ(first, other, lacking)
    columns = {name: [column for table in tables for column in table._columns[name]] for name in first.names}
    return Table([part for table in tables for part in table.parts], columns)


def read_tables(paths: Iterable[Path]) -> Table:
    """Read files of the same columns as one table; raises StageError as `read_table` and `concat_tables`."""
    return concat_tables(read_table(path) for path in paths)


def _differ(one: Table, other: Table, lacking: list[str]) -> StageError:
    titled = "; if its first line is data, add a header line" if one.titled or other.titled else ""
    return StageError(
        f"{one.parts[0].path} has no column {', '.join(map(repr, lacking[:5]))}, which {other.parts[0].path} has; "
        f"files that are read together need the same columns{titled}"
    )


def _read_parquet(path: Path) -> Table:
    try:
        with pq.ParquetFile(path) as file:
            schema, rows = file.schema_arrow, file.metadata.num_rows
    except (pa.ArrowException, OSError, ValueError) as error:
        raise StageError(f"{path} cannot be read as Parquet: {_first_line(error)}; copy it or make it again") from error
    for number, name in enumerate(schema.names):
        if name in schema.names[:number]:
            raise StageError(f"{path}: two columns are named {name!r}; give each a name of its own")
    columns = {field.name: [Column(field.type, partial(_parquet_column, path, field.name))] for field in schema}
    return _without_row_numbers(Table([Part(path, rows, "row")], columns))


def _parquet_column(path: Path, name: str) -> pa.ChunkedArray:
    with pq.ParquetFile(path) as file:
        kind = file.schema_arrow.field(name).type
        return pa.chunked_array([batch.column(0) for batch in file.iter_batches(columns=[name])], kind)


def _without_row_numbers(table: Table) -> Table:
    for name in {*_INDEX} & {*table.names}:
        if table.is_vector(name) or table.is_list(name):
            continue
        cells = table.texts(name)
        counted = len(table) and cells.equals(pa.chunked_array([pa.array(np.arange(len(table))).cast(pa.string())]))
        nothing = not name and cells.null_count == len(cells)  # a separator at the end of each line
        if counted or nothing:
            del table._columns[name]
    if "" in table.names:
        order = table.names
        named = f"column {order.index('') + 1}"
        table = Table(table.parts, {name or named: table._columns[name] for name in order})
    return table


def _same(cells: pa.ChunkedArray) -> pa.ChunkedArray:
    return cells


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
