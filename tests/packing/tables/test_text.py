"""CSV and JSON against the csv module and json, by both ways through the reader."""

import csv
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config.errors import StageError
from pipeline.packing.tables import text as table_text
from pipeline.packing.tables.text import read_csv, read_json

PATH = Path("a.csv")
CELLS = st.text(st.sampled_from("ab 0\"',;|\t\n\ré日\x85\u2028"), max_size=5)


def slow(text: str, separator: str) -> tuple[dict, list[int]]:
    """The csv module alone, the lines counted by hand."""
    pieces = [piece for piece in re.split(r"(?<=\n)|(?<=\r)(?!\n)", text) if piece]
    reader = csv.reader(pieces, delimiter=separator)
    rows, lines, line = [], [], 1
    for row in reader:
        if any(row) and not (len(row) == 1 and not row[0].strip()):
            rows.append(row)
            lines.append(line)
        line = reader.line_num + 1
    names = [name.strip() for name in rows[0]]
    return dict(zip(names, map(list, zip(*rows[1:])))), lines[1:]


def quoted(cell: str, separator: str, always: bool) -> str:
    needed = any(character in cell for character in f'{separator}"\r\n')
    return '"' + cell.replace('"', '""') + '"' if needed or always else cell


@given(
    rows=st.lists(st.tuples(CELLS, CELLS), max_size=8),
    separator=st.sampled_from(",;\t"),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    before=st.sampled_from(["", "\n", "\r\n\n"]),
    last=st.booleans(),
    quotes=st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_cells_and_lines_are_those_of_a_slow_form(rows, separator, end, before, last, quotes):
    lines = [separator.join(quoted(cell, separator, quotes) for cell in row) for row in [("x1", "y1"), *rows]]
    text = before + end.join(lines) + end * last
    columns, lines = read_csv(PATH, text)
    expected, places = slow(text, separator)
    assert {name: cells.to_pylist() for name, cells in columns.items()} == (expected or {"x1": [], "y1": []})
    assert lines.tolist() == places


@given(cells=st.lists(st.text(st.sampled_from("ab \t"), max_size=3)))
@settings(deadline=None)
def test_one_column(cells):
    text = "x1\n" + "".join(f"{cell}\n" for cell in cells if "\t" not in cell)
    columns, lines = read_csv(PATH, text)
    expected, places = slow(text, ",")
    assert columns["x1"].to_pylist() == expected.get("x1", [])
    assert lines.tolist() == places


@pytest.mark.parametrize("plain", [True, False])
def test_both_ways_read_the_same(monkeypatch, plain):
    if not plain:
        monkeypatch.setattr(table_text, "_plain_columns", lambda *_: None)
    monkeypatch.setattr(table_text, "_CELLS_AT_ONCE", 4)
    columns, lines = read_csv(PATH, "x,y\r\n1,a\r\n,\r\n 2 ,é\r\n,b\r\n3,c")
    assert {name: cells.to_pylist() for name, cells in columns.items()} == {
        "x": ["1", " 2 ", "", "3"],
        "y": ["a", "é", "b", "c"],
    }
    assert lines.tolist() == [2, 4, 5, 6]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_ends_of_lines_fall_between_parts(end):
    """Arrow reads a mebibyte at a time; lines of 1 to 7 characters put its ends anywhere."""
    cells = [("é" * (number % 7)) + "x" for number in range(300_000)]
    columns, lines = read_csv(PATH, end.join(["x,y", *(f"{cell},1" for cell in cells)]))
    assert columns["x"].to_pylist() == cells
    assert lines.tolist() == list(range(2, 300_002))


def test_plain_text_takes_the_fast_way():
    assert table_text._plain_columns("x,y\n1,2\n", ",", ["x", "y"]) is not None
    assert table_text._plain_columns('x,y\n1,"2"\n', ",", ["x", "y"]) is None
    assert table_text._plain_columns("x,y\n1,2,3\n", ",", ["x", "y"]) is None


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("id,label; name\na,b\n", ["id", "label; name"]),
        ("id;label, name\na;b\n", ["id", "label, name"]),
        ('"id, or key";label\na;b\n', ["id, or key", "label"]),
        ("id\tlabel\na\tb, c; d\n", ["id", "label"]),
        ("id\na\n", ["id"]),
    ],
)
def test_the_header_tells_what_separates_columns(text, names):
    assert list(read_csv(PATH, text)[0]) == names


def test_a_long_cell_is_read_or_refused_by_line():
    labels = ";".join(map(str, range(50_000)))
    assert read_csv(PATH, f"id,label\na,{labels}\n")[0]["label"].to_pylist() == [labels]
    with pytest.raises(StageError, match=r"a\.csv, line 3: this cannot be read as a row of a table \(field larger"):
        read_csv(PATH, f'id,label\n"a",b\nc,"{labels}\n')


def test_json_is_read_in_parts(monkeypatch):
    monkeypatch.setattr(table_text, "_ROWS_AT_ONCE", 2)
    text = '{"x": "a"}\n{"x": 1}\n{"y": ["b"]}\n\n{"x": null, "y": "c"}\n{"z": true}\n'
    columns, rows, unit, places = read_json(PATH, text)
    assert (rows, unit, places.tolist()) == (5, "line", [1, 2, 3, 5, 6])
    assert {name: cells.to_pylist() for name, cells in columns.items()} == {
        "x": ["a", "1", None, None, None],
        "y": [None, None, ["b"], ["c"], None],
        "z": [None, None, None, None, "True"],
    }


def test_an_id_within_an_entry_does_not_replace_its_key():
    columns, rows, *_ = read_json(PATH, '{"a": {"id": "z", "label": "x"}}')
    assert ({name: cells.to_pylist() for name, cells in columns.items()}, rows) == ({"id": ["a"], "label": ["x"]}, 1)
