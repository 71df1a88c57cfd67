"""Tables of every format: equal cells, where each row stands, and several files as one."""

import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config.errors import StageError
from pipeline.packing.tables.table import Table, concat_tables, read_table, read_tables

CELLS = st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n\t\"',;|"), max_size=6)
ROWS = st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=6)


def table(folder: Path, content: str | bytes, name: str = "a.csv") -> Table:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_table(path)


def parquet(columns: dict) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


@given(rows=ROWS)
@settings(max_examples=60, deadline=None)
def test_equal_values_are_equal_whatever_the_format(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("tables")
    columns = dict(zip(("id", "y", "z"), map(list, zip(*rows))))
    records = [dict(zip(columns, row)) for row in rows]
    stored = parquet(columns), json.dumps(records), "".join(json.dumps(row) + "\n" for row in records)
    expected = {name: [cell if cell.strip() else None for cell in cells] for name, cells in columns.items()}
    for content in stored:
        found = table(folder, content)
        assert len(found) == len(rows)
        assert {name: found.column(name) for name in found.names} == expected


NUMBERS = {
    "CSV": "id,whole,broken,yes\n007,17,0.5,True\n8,,,\n",
    "JSON": json.dumps([{"id": "007", "whole": 17, "broken": 0.5, "yes": True}, {"id": 8, "whole": None}]),
    "JSON of floats": '[{"id": "007", "whole": 17.0, "broken": 0.5, "yes": true}, {"id": 8.0, "whole": NaN}]',
    "JSON lines": '{"id": "007", "whole": 17, "broken": 5e-1, "yes": true}\n{"id": 8}\n',
    "Parquet": parquet({"id": ["007", "8"], "whole": [17, None], "broken": [0.5, None], "yes": [True, None]}),
    "Parquet of floats": parquet(
        {"id": ["007", "8"], "whole": [17.0, float("nan")], "broken": [0.5, float("nan")], "yes": [True, None]}
    ),
}


@pytest.mark.parametrize("form", NUMBERS)
def test_numbers_are_text_as_a_person_writes_them(tmp_path, form):
    found = table(tmp_path, NUMBERS[form])
    assert {name: found.column(name) for name in found.names} == {
        "id": ["007", "8"],
        "whole": ["17", None],
        "broken": ["0.5", None],
        "yes": ["True", None],
    }


def test_lists_stay_lists(tmp_path):
    lists = {"x": [["a", "b"], [], None, ["c"]]}
    assert table(tmp_path, parquet(lists)).column("x") == lists["x"]
    mixed = '[{"x": ["a", 1]}, {"x": []}, {}, {"x": "c"}]'
    found = table(tmp_path, mixed)
    assert found.column("x") == [["a", "1"], [], None, ["c"]]
    assert found.is_list("x") and not found.is_vector("x")
    with pytest.raises(StageError, match=r"a\.csv: column x holds lists, where single values are expected"):
        found.texts("x")


def test_features_are_no_labels(tmp_path):
    found = table(tmp_path, parquet({"id": ["a"], "frames": [[0.5]], "rows": [[[1]]], "record": [{"x": 1}]}))
    assert [found.is_vector(name) for name in found.names] == [False, True, True, True]


def test_where_a_row_stands_is_told(tmp_path):
    lines = table(tmp_path, '\nid,x\na,"1\n2"\n\nb,3\n')
    assert [lines.where(row) for row in range(2)] == [f"{tmp_path}/a.csv, line {line}" for line in (3, 6)]
    rows = table(tmp_path, parquet({"id": ["a", "b"], "x": ["1", "2"]}), "b.parquet")
    assert rows.where(1) == f"{tmp_path}/b.parquet, row 2"
    entries = table(tmp_path, '{"a": 1, "b": 2}', "c.json")
    assert entries.where(1) == f"{tmp_path}/c.json, entry 2"
    json_lines = table(tmp_path, '{"id": "a", "x": 1}\n\n{"id": "b"}', "d.json")
    assert json_lines.where(1) == f"{tmp_path}/d.json, line 3"
    whole = concat_tables([lines, rows, json_lines])
    assert [whole.where(row).removeprefix(f"{tmp_path}/") for row in range(6)] == [
        *("a.csv, line 3", "a.csv, line 6", "b.parquet, row 1", "b.parquet, row 2", "d.json, line 1", "d.json, line 3"),
    ]
    assert whole.column("id") == ["a", "b"] * 3
    assert whole.files == f"{tmp_path}/a.csv and 2 more"


def test_lists_and_single_cells_do_not_mix_between_files(tmp_path):
    (tmp_path / "b.csv").write_text("id,x\nb,1;2\n")
    (tmp_path / "a.json").write_text('[{"id": "a", "x": [1]}]')
    with pytest.raises(StageError, match=r"column x holds lists in .*a\.json and single values in .*b\.csv"):
        read_tables([tmp_path / "b.csv", tmp_path / "a.json"]).column("x")


def test_a_file_that_is_not_there_or_a_folder(tmp_path):
    with pytest.raises(StageError, match=r"x\.csv: there is no such file\. .* is empty"):
        read_table(tmp_path / "x.csv")
    with pytest.raises(StageError, match=r"the file is a folder, not a table .*; name the files in it"):
        read_table(tmp_path)


def test_parquet_with_a_column_twice_is_refused(tmp_path):
    pq.write_table(pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], ["x", "x"]), tmp_path / "a.parquet")
    with pytest.raises(StageError, match=r"a\.parquet: two columns are named 'x'; give each a name of its own"):
        read_table(tmp_path / "a.parquet")


def test_a_damaged_column_is_named_when_it_is_read(tmp_path):
    pq.write_table(pa.table({"x": [f"{i}" * 50 for i in range(100)]}), tmp_path / "a.parquet", compression="gzip")
    content = bytearray((tmp_path / "a.parquet").read_bytes())
    content[40:120] = b"\xff" * 80
    (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(StageError, match=r"a\.parquet: column x cannot be read: "):
        read_table(tmp_path / "a.parquet").column("x")


def test_row_numbers_of_pandas_are_no_column(tmp_path):
    import pandas as pd

    frame = pd.DataFrame({"id": ["a", "b", "c"], "label": ["x", "y", "z"]})
    frame.to_csv(tmp_path / "a.csv")
    assert read_table(tmp_path / "a.csv").names == ["id", "label"]
    pd.read_csv(tmp_path / "a.csv").to_csv(tmp_path / "b.csv", index=False)
    assert read_table(tmp_path / "b.csv").names == ["id", "label"]
    frame.iloc[[0, 2, 1]].to_parquet(tmp_path / "c.parquet")
    assert read_table(tmp_path / "c.parquet").names == ["id", "label", "__index_level_0__"]
    frame.set_index("id").to_parquet(tmp_path / "d.parquet")
    assert sorted(read_table(tmp_path / "d.parquet").names) == ["id", "label"]
