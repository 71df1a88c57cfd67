"""The labels in the cells of a table: one in a cell, several with separators, a list, or one column a class."""

import re
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config.errors import StageError
from pipeline.config.wording import counted
from pipeline.packing.tables.table import Table

_NUMBER = r"[+-]?[0-9]+(?:\.0+)?"
_NUMBERS = rf"^{_NUMBER}(?:\s*[ ,;|]\s*{_NUMBER})*\s*[,;|]?$"
_QUOTED = r"'[^',\[\]]*'|\"[^\",\[\]]*\""
_PRINTED = rf"^\[\s*(?:(?:{_NUMBER}|{_QUOTED})(?:[\s,]+(?:{_NUMBER}|{_QUOTED}))*)?,?\s*\]$"
"""A list as Python, NumPy or pandas print it."""
_TRUE, _FALSE = ("1", "1.0", "true", "True", "TRUE"), ("0", "0.0", "false", "False", "FALSE")


@dataclass(frozen=True)
class Marks:
    """Which rows of a table bear which labels."""

    rows: np.ndarray
    """int64 [marks]; a row may have several, or none."""
    codes: np.ndarray
    """int32 [marks]: places in `names`."""
    names: list[str]
    """The labels as they are written, each once; spaces within are single."""
    how: str
    remarks: list[str] = field(default_factory=list)
    are_columns: bool = False
    """Whether each name is a column: a class even if no video has it."""


def is_multi_hot(table: Table, columns: list[str]) -> bool:
    """Return whether columns are one a class: two or more, and in each half of the cells or more are 0, 1 or boolean.

    Other cells are faults, which `multi_hot` refuses by row.
    """
    return len(columns) > 1 and all(not table.is_list(name) and _mostly_marks(table.cells(name)) for name in columns)


def multi_hot(table: Table, columns: list[str]) -> Marks:
    """Return the marks of one column a class; a row bears the classes whose cells are 1 or true. An empty cell is 0.

    Raises StageError, naming row and column, for a cell that is neither 0 nor 1.
    """
    rows, codes = [], []
    empty = 0
    for code, name in enumerate(columns):
        cells = table.cells(name)
        empty += cells.null_count
        bears = pc.is_in(cells, value_set=pa.array(_TRUE), skip_nulls=True)
        known = pc.or_(bears, pc.is_in(cells, value_set=pa.array([*_FALSE, None], pa.string())))
        if not pc.all(known).as_py() and len(cells):
            row = int(np.flatnonzero(~known.to_numpy())[0])
            raise StageError(
                f"{table.where(row)}: column {name} holds {cells[row].as_py()!r}, where 0 or 1 is expected, as in the "
                "other columns that stand for a class each; if one column holds the labels, name it with --label-column"
            )
        rows.append(np.flatnonzero(bears.to_numpy()))
        codes.append(np.full(len(rows[-1]), code, np.int32))
    told = f"; {counted(empty, 'empty cell')} {'is' if empty == 1 else 'are'} read as 0" if empty else ""
    how = f"multi-hot, {len(columns)} columns, one a class{told}"
    return Marks(np.concatenate(rows), np.concatenate(codes), list(columns), how, are_columns=True)


def labels_in_cells(table: Table, column: str, separator: str | None) -> Marks:
    """Return the marks of one column, whose cells hold a label, several with separators, or lists.

    With a separator, each cell is split by it; the empty separator splits none. Without one, cells are split where all
    are whole numbers with spaces or , ; | between them, where all are lists as programs print them, or by the ; or |
    that some of them hold.

    Raises StageError, naming the row, where it is not plain how to split.
    """
    cells = table.cells(column)
    remarks = []
    if pa.types.is_list(cells.type):
        rows, labels, how = *_flat(cells), f"lists, column {column}"
    else:
        absent = table.texts(column).null_count
        if (nan := cells.null_count - absent) > 0:
            remarks.append(
                f"{counted(nan, 'cell')} of column {column} {'says' if nan == 1 else 'say'} nan: read as empty"
            )
        if separator is None:
            split, how = _found_split(table, column, cells)
        elif separator:
            split, how = pc.split_pattern(cells, separator), f"one cell with labels separated by {separator!r}"
            if not pc.any(pc.match_substring(cells, separator)).as_py():
                remarks.append(f"no cell of column {column} holds the separator {separator!r}: each is one label")
        else:
            split, how = None, "one row a label"
        how += f", column {column}"
        if split is None:
            rows, labels = np.flatnonzero(cells.is_valid().to_numpy()), pc.drop_null(cells)
        else:
            rows, labels = _flat(split)
    labels = pc.utf8_trim_whitespace(labels)
    said = pc.fill_null(pc.not_equal(labels, ""), False).to_numpy()
    encoded = labels.filter(pa.array(said)).dictionary_encode().combine_chunks()
    written = [" ".join(name.split()) for name in encoded.dictionary.to_pylist()] if len(encoded) else []
    if all(re.fullmatch(_NUMBER, name) for name in written):
        written = [name.partition(".")[0] for name in written]  # 17.0, as pandas writes a column with empty cells
    places: dict[str, int] = {}
    to = np.array([places.setdefault(name, len(places)) for name in written], np.int32)
    codes = to[encoded.indices.to_numpy()] if len(encoded) else np.zeros(0, np.int32)
    names = list(places)
    if separator is None:
        remarks += _commas(names)
    return Marks(rows[said].astype(np.int64), codes, names, how, remarks)


def _mostly_marks(cells: pa.ChunkedArray) -> bool:
    there = len(cells) - cells.null_count
    marks = pc.sum(pc.is_in(cells, value_set=pa.array([*_TRUE, *_FALSE]), skip_nulls=True)).as_py() or 0
    return 2 * marks >= there


def _flat(lists: pa.ChunkedArray) -> tuple[np.ndarray, pa.ChunkedArray]:
    return pc.list_parent_indices(lists).to_numpy(), pc.list_flatten(lists)


def _found_split(table: Table, column: str, cells: pa.ChunkedArray) -> tuple[pa.ChunkedArray | None, str]:
    """Return the lists that cells without a given separator hold; None if each is one label."""
    there = pc.drop_null(cells)
    if len(there) and pc.all(pc.starts_with(there, "[")).as_py() and pc.all(pc.ends_with(there, "]")).as_py():
        return _printed(table, column, cells), "lists as a program prints them"
    single = pc.match_substring_regex(cells, f"^{_NUMBER}$")
    numbers = pc.match_substring_regex(cells, _NUMBERS)
    several = pc.and_(numbers, pc.invert(single))
    if pc.any(several).as_py():
        if not pc.all(numbers).as_py():
            named, numbered = (
                int(np.flatnonzero(pc.fill_null(each, False).to_numpy())[0]) for each in (pc.invert(numbers), several)
            )
            raise StageError(
                f"{table.where(named)}: column {column} holds {cells[named].as_py()[:60]!r}, and "
                f"{cells[numbered].as_py()[:60]!r} in {table.where(numbered)}: are these names, or numbers with "
                "separators? Say what separates labels with --separator (--separator '' for nothing)"
            )
        return pc.split_pattern_regex(cells, pattern=r"[\s,;|]+"), "one cell with numbers of classes"
    found = [mark for mark in (";", "|") if pc.any(pc.match_substring(cells, mark)).as_py()]
    if len(found) > 1:
        rows = [
            int(np.flatnonzero(pc.fill_null(pc.match_substring(cells, mark), False).to_numpy())[0]) for mark in found
        ]
        raise StageError(
            f"{table.where(rows[0])}: column {column} has a ; in {cells[rows[0]].as_py()[:60]!r}, and a | in "
            f"{cells[rows[1]].as_py()[:60]!r} in {table.where(rows[1])}; say with --separator which separates labels"
        )
    if found:
        return pc.split_pattern(cells, found[0]), f"one cell with labels separated by {found[0]!r}"
    return None, "one row a label"


def _printed(table: Table, column: str, cells: pa.ChunkedArray) -> pa.ChunkedArray:
    plain = pc.fill_null(pc.match_substring_regex(cells, _PRINTED), True).to_numpy()
    if not plain.all():
        row = int(np.flatnonzero(~plain)[0])
        raise StageError(
            f"{table.where(row)}: column {column} holds {cells[row].as_py()[:60]!r}, a list as a program prints it, "
            "whose labels cannot be told apart; write lists as Parquet or JSON, or labels with ; between them"
        )
    encoded = cells.dictionary_encode().combine_chunks()
    inner = [
        [label.strip("'\"") for label in re.findall(f"{_NUMBER}|{_QUOTED}", cell)]
        for cell in encoded.dictionary.to_pylist()
    ]
    return pa.chunked_array([pa.array(inner, pa.list_(pa.string())).take(encoded.indices)])


def _commas(names: list[str]) -> list[str]:
    """Return a remark if names with commas are made of other names: they may be several labels."""
    known = {*names}
    made = [name for name in names if "," in name and {part.strip() for part in name.split(",")} <= known]
    if not made:
        return []
    return [
        f"{counted(len(made), 'label')} such as {made[0][:60]!r} {'is' if len(made) == 1 else 'are'} kept whole, and "
        "every part between commas is a class elsewhere: --separator , would split them"
    ]
