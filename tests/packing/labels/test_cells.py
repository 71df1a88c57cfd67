"""Which labels the cells of a table bear, by row."""

import pytest

from pipeline.config.errors import StageError
from pipeline.packing.labels.cells import is_multi_hot, labels_in_cells, multi_hot
from pipeline.packing.tables.table import read_table


def table(folder, *cells: str, header: str = "id;x;y"):
    """The cells between quotes, one row each."""
    path = folder / "a.csv"
    path.write_text("\n".join([header, *(f"v{number};{cell}" for number, cell in enumerate(cells))]), encoding="utf-8")
    return read_table(path)


def marks(found) -> list[tuple[int, str]]:
    return [(row, found.names[code]) for row, code in zip(found.rows.tolist(), found.codes.tolist())]


@pytest.mark.parametrize(
    ("cells", "separator", "expected"),
    [
        (["b", "a", "", "b"], None, [(0, "b"), (1, "a"), (3, "b")]),
        (["1 2", "3"], None, [(0, "1"), (0, "2"), (1, "3")]),
        (["1, 2", "3|4", '"5;6"', " 7 , 8 ,"], None, [(0, "1"), (0, "2"), (1, "3"), (1, "4"), (2, "5"), (2, "6"),
                                                      (3, "7"), (3, "8")]),
        (["1.0", "2"], None, [(0, "1"), (1, "2")]),
        (["1.0", "b"], None, [(0, "1.0"), (1, "b")]),
        (["a|b", "|", "c | d e"], None, [(0, "a"), (0, "b"), (2, "c"), (2, "d e")]),
        (["a, b", "c"], None, [(0, "a, b"), (1, "c")]),
        (["a, b", "c"], ",", [(0, "a"), (0, "b"), (1, "c")]),
        (["a|b", "c"], "", [(0, "a|b"), (1, "c")]),
        (["a  b", "c"], " ", [(0, "a"), (0, "b"), (1, "c")]),
        (["a/b", "a.b"], ".", [(0, "a/b"), (1, "a"), (1, "b")]),
        (["['a b', 'c']", "[]", "['d']"], None, [(0, "a b"), (0, "c"), (2, "d")]),
        (["[1 2]", "[3]"], None, [(0, "1"), (0, "2"), (1, "3")]),
        (["[1]", "b"], None, [(0, "[1]"), (1, "b")]),
        (["a\u3000 b", "a b"], None, [(0, "a b"), (1, "a b")]),
    ],
)  # fmt: skip
def test_cells_are_split_where_it_is_plain(tmp_path, cells, separator, expected):
    found = labels_in_cells(table(tmp_path, *cells, header="id;x"), "x", separator)
    assert marks(found) == expected
    assert len(found.names) == len({*found.names})


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["1 2", "3", "c"], r"line 4: column x holds 'c', and '1 2' in .*line 2: .*Say what separates labels"),
        (['"a;b"', "c|d"], r"line 2: column x has a ; in 'a;b', and a \| in 'c\|d' in .*line 3; say with --separator"),
        (["['a']", "['b' c]"], r"line 3: column x holds \"\['b' c\]\", a list as a program prints it"),
    ],
)
def test_cells_that_could_be_split_in_two_ways_are_refused(tmp_path, cells, message):
    with pytest.raises(StageError, match=message):
        labels_in_cells(table(tmp_path, *cells, header="id;x"), "x", None)


def test_one_column_a_class(tmp_path):
    found = table(tmp_path, "1;0", "true;FALSE", ";1.0", "0;0")
    assert is_multi_hot(found, ["x", "y"])
    hot = multi_hot(found, ["x", "y"])
    assert sorted(marks(hot)) == [(0, "x"), (1, "x"), (2, "y")]
    assert (hot.how, hot.are_columns) == ("multi-hot, 2 columns, one a class; 1 empty cell is read as 0", True)


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["1;0"], True),
        (["1;0", "1;2"], True),  # refused by its row, not read as something else
        (["1;2", "1;3"], False),
        (["1;b", "0;c"], False),
        (["1;"], True),
    ],
)
def test_columns_of_zeros_and_ones_are_classes(tmp_path, cells, expected):
    found = table(tmp_path, *cells)
    assert is_multi_hot(found, ["x", "y"]) is expected
    assert not is_multi_hot(found, ["x"])


def test_a_two_among_zeros_and_ones_is_refused_by_its_row(tmp_path):
    with pytest.raises(StageError, match=r"a\.csv, line 3: column y holds '2', where 0 or 1 is expected"):
        multi_hot(table(tmp_path, "1;0", "1;2"), ["x", "y"])
