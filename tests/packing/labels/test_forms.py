"""Labels in every form that people have, against a slow form, and label files that are odd or wrong."""

import csv
import io
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config.errors import StageError
from pipeline.packing.labels.forms import Labels, read_labels
from pipeline.packing.tables.table import read_table

IDS = ["a", "b", "c", "d"]
LETTERS = st.text(st.characters(categories=["L", "Nd"], include_characters=" -"), min_size=1, max_size=6)
NAMES = st.lists(LETTERS.map(lambda text: " ".join(("n" + text).split())), min_size=1, max_size=5, unique=True)


def write(folder: Path, content: str | bytes, name: str = "labels.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(folder: Path, content: str | bytes, ids=IDS, **flags) -> Labels:
    return read_labels([write(folder, content)], ids, **flags)


def named(labels: Labels) -> dict[str, list[str]]:
    """The names of each video's labels, sorted."""
    for classes in labels.of.values():
        assert classes.dtype == np.int32 and (np.diff(classes) > 0).all()
    return {video: sorted(labels.names[number] for number in classes) for video, classes in labels.of.items()}


def table_of(rows: list[tuple], **options) -> str:
    file = io.StringIO(newline="")
    csv.writer(file, **options).writerows(rows)
    return file.getvalue()


FORMS = {
    "rows": lambda of: table_of([("id", "label"), *((id, x) for id, xs in of.items() for x in xs or [""])]),
    "cells ;": lambda of: table_of([("id", "label"), *((id, ";".join(xs)) for id, xs in of.items())]),
    "cells |": lambda of: table_of([("id", "label"), *((id, "|".join(xs)) for id, xs in of.items())], delimiter=";"),
    "printed": lambda of: table_of([("id", "label"), *((id, str(xs)) for id, xs in of.items())], delimiter="\t"),
    "json": lambda of: json.dumps(of),
    "records": lambda of: json.dumps([{"id": id, "label": xs} for id, xs in of.items()]),
    "json lines": lambda of: "\n".join(json.dumps({"id": id, "label": xs}) for id, xs in of.items()),
    "parquet": lambda of: parquet(id=list(of), label=pa.array(of.values(), pa.list_(pa.string()))),
    "dictionaries": lambda of: parquet(
        id=pa.array(of).dictionary_encode(),
        label=pa.array(of.values(), pa.list_(pa.dictionary(pa.int32(), pa.string()))),
    ),
    "multi-hot": lambda of: table_of(
        [
            ("id", *(names := sorted({x for xs in of.values() for x in xs} | {"never", "nor"}))),
            *((id, *(int(name in xs) for name in names)) for id, xs in of.items()),
        ]
    ),
}


def parquet(**columns) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


@pytest.mark.parametrize("form", FORMS)
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_every_form_is_read_as_a_slow_form_reads_it(tmp_path_factory, form, data):
    names = data.draw(NAMES)
    videos = [f"v{i}" for i in range(data.draw(st.integers(1, 6)))]
    of = {video: data.draw(st.lists(st.sampled_from(names), unique=True)) for video in videos}
    if form == "multi-hot":
        of[videos[0]] = [*{*of[videos[0]]} - {"never", "nor"}]
    without = data.draw(st.integers(0, len(videos) - 1))
    ids = [*videos[without:], "unnamed"]
    labels = read(tmp_path_factory.mktemp("labels"), FORMS[form](of), ids)
    kept = {video: of[video] for video in videos[without:]}
    counts = Counter({"never": 0, "nor": 0, **dict.fromkeys((x for xs in of.values() for x in xs), 0)})
    if form != "multi-hot":
        counts = Counter()
    counts.update(x for xs in kept.values() for x in xs)
    assert labels.names == sorted(counts, key=lambda name: (-counts[name], name))
    assert named(labels) == {video: sorted(xs) for video, xs in kept.items()}
    assert not labels.numbered


@given(
    of=st.dictionaries(st.sampled_from(IDS), st.lists(st.integers(0, 12), max_size=4), min_size=1),
    separator=st.sampled_from([" ", ",", ";", "|", ", ", " ; "]),
    vocabulary=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_numbers_are_classes_if_none_is_missing_or_a_vocabulary_is_given(tmp_path_factory, of, separator, vocabulary):
    folder = tmp_path_factory.mktemp("labels")
    content = table_of([("id", "label"), *((id, separator.join(map(str, xs))) for id, xs in of.items())])
    names = [f"class {number}" for number in range(13)] if vocabulary else None
    labels = read(folder, content, vocabulary=names)
    there = {x for xs in of.values() for x in xs}
    gapless = there == set(range(len(there))) and bool(there)
    assert labels.numbered is bool(gapless or (vocabulary and there))
    for video, xs in of.items():
        numbers = sorted({*xs}) if labels.numbered else sorted({labels.names.index(str(x)) for x in xs})
        assert labels.of[video].tolist() == numbers
    if vocabulary:
        assert labels.names == names
    elif gapless:
        assert labels.names == [str(number) for number in range(len(there))]


RIGHT = {
    "byte order mark": ("\ufeffid,label\na,x\nb,y\n", {"a": ["x"], "b": ["y"]}),
    "utf-16": ("id,label\na,é\n".encode("utf-16"), {"a": ["é"]}),
    "CRLF": ("id,label\r\na,x\r\nb,y\r\n", {"a": ["x"], "b": ["y"]}),
    "CR": ("id,label\ra,x\rb,y\r", {"a": ["x"], "b": ["y"]}),
    "no end of the last line": ("id,label\na,x", {"a": ["x"]}),
    "empty lines": ("\n\nid,label\n\na,x\n\n\n", {"a": ["x"]}),
    "rows of empty cells": ("id,label\na,x\n,\n,\n", {"a": ["x"]}),
    "semicolons": ("id;label\na;x\n", {"a": ["x"]}),
    "tabs": ("id\tlabel\na\tx, y\n", {"a": ["x, y"]}),
    "quoted header": ('"id","label"\n"a","x"\n', {"a": ["x"]}),
    "comma in quotes": ('id,label\na,"x, y"\n', {"a": ["x, y"]}),
    "line break in quotes": ('id,label\na,"x\ny"\nb,z\n', {"a": ["x y"], "b": ["z"]}),
    "doubled quotes": ('id,label\na,"x ""y"""\n', {"a": ['x "y"']}),
    "quotes within": ('id,label\na,5" disc\n', {"a": ['5" disc']}),
    "a separator at each end": ("id,label,\na,x,\n", {"a": ["x"]}),
    "pandas' row numbers": (",id,label\n0,a,x\n1,b,y\n", {"a": ["x"], "b": ["y"]}),
    "ids in a column without a name": (",label\na,x\nb,y\n", {"a": ["x"], "b": ["y"]}),
    "spaces around names of columns": (" id , label \na,x\n", {"a": ["x"]}),
    "spaces around labels": ("id,label\na,  x \nb,x\n", {"a": ["x"], "b": ["x"]}),
    "columns in another order": ("label,id\nx,a\n", {"a": ["x"]}),
    "an empty cell": ("id,label\na,\nb,x\n", {"a": [], "b": ["x"]}),
    "a cell of spaces": ("id,label\na,  \nb,x\n", {"a": [], "b": ["x"]}),
    "an empty cell and a full one": ("id,label\na,\na,x\n", {"a": ["x"]}),
    "empty cells alone": ("id,label\na,\nb,\n", {"a": [], "b": []}),
    "NaN": ("id,label\na,nan\nb,NaN\nc,<NA>\nd,x\n", {"a": [], "b": [], "c": [], "d": ["x"]}),
    "a label twice": ("id,label\na,x\na,x\n", {"a": ["x"]}),
    "several rows": ("id,label\na,x\nb,y\na,y\n", {"a": ["x", "y"], "b": ["y"]}),
    "videos without features": ("id,label\nz,w\na,x\n", {"a": ["x"]}),
    "empty parts": ("id,label\na,x;;y;\nb,;\n", {"a": ["x", "y"], "b": []}),
    "names with spaces": ("id,label\na,brown creeper|wren\n", {"a": ["brown creeper", "wren"]}),
    "numbers with gaps": ("id,label\na,3\nb,30\n", {"a": ["3"], "b": ["30"]}),
    "numbers beyond int32": ("id,label\na,3000000000\nb,99999999999999999999999\n", {
        "a": ["3000000000"], "b": ["99999999999999999999999"]}),
    "names and numbers": ("id,label\na,7\nb,x\n", {"a": ["7"], "b": ["x"]}),
    "whole floats": ("id,label\na,0.0\nb,1.0\nc,\n", {"a": ["0"], "b": ["1"], "c": []}),
    "whole floats with gaps": ("id,label\na,3.0\nb,7\n", {"a": ["3"], "b": ["7"]}),
    "a 0/1 column": ("id,label\na,0\nb,1\n", {"a": ["0"], "b": ["1"]}),
    "numbers as NumPy prints them": (
        'id,label\na,[0 1]\nb,[]\nc,"[1, 2]"\n', {"a": ["0", "1"], "b": [], "c": ["1", "2"]}),
    "booleans": ("id,x,y\na,True,false\nb,FALSE,true\n", {"a": ["x"], "b": ["y"]}),
    "floats of 0 and 1": ("id,x,y\na,1.0,0.0\n", {"a": ["x"]}),
    "empty cells in multi-hot": ("id,x,y\na,1,\nb,,\n", {"a": ["x"], "b": []}),
    "multi-hot in several rows": ("id,x,y\na,1,0\na,0,1\n", {"a": ["x", "y"]}),
    "multi-hot beside a split": ("id,split,x,y\na,train,1,0\n", {"a": ["x"]}),
    "an empty column beside": ("id,label,note\na,x,\n", {"a": ["x"]}),
    "letters of many scripts": ("id,label\na,日本\nb,ünï\nc,🐦\n", {"a": ["日本"], "b": ["ünï"], "c": ["🐦"]}),
    "JSON of one line": ('{"id": "a", "label": "x"}\n', {"a": ["x"]}),
    "JSON of numbers": ('[{"id": "a", "label": 0}, {"id": "b", "label": [1, 0]}]', {"a": ["0"], "b": ["0", "1"]}),
    "JSON with null": ('{"a": null, "b": ["x", null]}', {"a": [], "b": ["x"]}),
    "JSON with a key twice": ('{"a": "x", "a": "y"}', {"a": ["x", "y"]}),
    "JSON of objects": ('{"a": {"label": "x", "split": "train"}}', {"a": ["x"]}),
    "JSON lines with a key missing": ('{"id": "a"}\n\n{"id": "b", "label": "x"}\n', {"a": [], "b": ["x"]}),
    "JSON with NaN": ('[{"id": "a", "label": NaN}, {"id": "b", "label": 1.0}]', {"a": [], "b": ["1"]}),
    "Parquet of floats": (parquet(id=["a", "b"], label=[0.0, float("nan")]), {"a": ["0"], "b": []}),
    "Parquet of bytes": (parquet(id=[b"a", b"b"], label=[b"x", None]), {"a": ["x"], "b": []}),
    "Parquet with features": (parquet(frames=[[0.5, 1.5]], id=["a"], label=["x"]), {"a": ["x"]}),
    "Parquet with null lists": (parquet(id=["a", "b"], label=pa.array([None, ["x"]])), {"a": [], "b": ["x"]}),
}  # fmt: skip


@pytest.mark.parametrize("case", RIGHT)
def test_odd_files_are_read_right(tmp_path, case):
    content, expected = RIGHT[case]
    assert named(read(tmp_path, content)) == expected


REFUSED = {
    "an empty file": (b"", "labels.csv cannot be read: the file is empty, not a table"),
    "spaces alone": ("  \n\n", "the file is empty, not a table"),
    "a header alone": ("id,label\n", "labels.csv has columns (id, label) and no rows; write a row for each video"),
    "no header": ("a,x\nb,y\n", "labels.csv: the first line should name the columns, and 'a' in it is the id"),
    "no header and one line": ("a,x\n", "'a' in it is the id of a video; add a header line, such as id,label"),
    "separators alone": (",,\n,,\n", "labels.csv: there is no line with names of columns; add a header line"),
    "a cell too many": ("id,label\na,x\nb,y,z\n", "labels.csv, line 3: there are 3 cells, and the header has 2 (id"),
    "a cell too few": ('id,label\na,"x\ny"\nb\n', "labels.csv, line 4: there is 1 cell, and the header has 2"),
    "an open quote": ('id,label\na,x\nb,"y\nc,z\n', "labels.csv, line 3: this cannot be read as a row of a table"),
    "text after a quote": ('id,label\na,"x"y\n', "labels.csv, line 2: this cannot be read as a row"),
    "a column twice": ("id,label,label\na,x,y\n", "labels.csv, line 1: two columns are named 'label'"),
    "two columns without names": (",,label\na,x,y\n", "two columns have no name; give each a name of its own"),
    "no column of labels": ("id\na\nb\n", "splits and groups there is no column that may hold labels (id)"),
    "splits alone": ("id,split\na,train\n", "there is no column that may hold labels (id, split)"),
    "several columns": ("id,label,length\na,x,7\n", "may be in any of 2 columns (label, length); name one with --"),
    "other separators": ("id/label\na/x\n", "columns are separated by comma, semicolon or tab"),
    "no id": ("id,label\na,x\n,y\n", "labels.csv, line 3: column id has no id; write the video's id or delete the row"),
    "other ids": ("id,label\nq,x\n", "no column (id, label) holds the ids of videos, such as 'a'; column id begins"),
    "ids with a suffix": ("id,label\na.wav,x\nb.wav,y\n", "2 of 2 match without the suffix '.wav': write 'a', not"),
    "a 2 in multi-hot": ("id,x,y\na,1,0\nb,2,1\n", "labels.csv, line 3: column x holds '2', where 0 or 1 is expected"),
    "text in multi-hot": ("id,x,y\na,1,0\nb,1,yes\nc,0,0\n", "line 3: column y holds 'yes', where 0 or 1 is expected"),
    "a negative number": ("id,label\na,0\nb,-1\n", "labels.csv, line 3: the label -1 is negative, and classes are"),
    "decimals": ("id,label\na,1\nb,0.5\n", "labels.csv, line 3: the label '0.5' is a decimal number, which"),
    "; and |": ("id,label\na,x;y\nb,x|z\n", "labels.csv, line 2: column label has a ; in 'x;y', and a | in 'x|z' in "),
    "numbers and a name": ("id,label\na,1 2\nb,x\n", "labels.csv, line 3: column label holds 'x', and '1 2' in "),
    "a nested list": ('id,label\na,"[[1], [2]]"\n', "a list as a program prints it, whose labels cannot be told apart"),
    "not UTF-8": (b"id,label\na,x\nb,\xe9\n", "labels.csv, line 3: byte 0xe9 is not UTF-8; save the file as UTF-8"),
    "a zero byte": (b"id,label\na,x\0\n", "labels.csv, line 2: there is a zero byte, so this is no text"),
    "a web page": ("<!doctype html><p>", "the file is a web page (HTML), not a table (CSV, TSV, Parquet, JSON"),
    "gzip": (b"\x1f\x8b\x08\0\0\0\0\0", "the file is gzipped, not a table (CSV, TSV, Parquet, JSON or JSON lines)"),
    "an array": (b"\x93NUMPY\x01\0v\0", "the file is a NumPy array (.npy), not a table"),
    "a pickle": (b"\x80\x04\x95\0\0\0\0", "the file is a Python pickle, not a table"),
    "a workbook": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "the file is an Excel workbook, not a table"),
    "a cut Parquet file": (parquet(id=["a"], label=["x"])[:-9], "labels.csv cannot be read as Parquet"),
    "Parquet of records": (parquet(id=["a"], label=[{"x": 1}]), "there is no column that may hold labels"),
    "cut JSON": ('{"a": "x", ', "labels.csv, line 1: this is no JSON"),
    "deep JSON": ("[" * 100_000, "labels.csv, line 1: this is no JSON (it is nested too deep)"),
    "JSON of lists": ('[["a", "x"]]', "labels.csv, entry 1: an object is expected, such as"),
    "JSON of texts": ('["a", "b"]', "labels.csv, entry 1: an object is expected"),
    "JSON with an object in a cell": ('[{"id": "a", "label": {"x": 1}}]', "entry 1: 'label' holds {'x': '1'}, where"),
    "JSON with lists of lists": ('{"a": [["x"]]}', "entry 1: 'labels' holds [['x']], where text"),
    "JSON with a key of an entry twice": ('[{"id": "a", "id": "b"}]', "entry 1: a key is there twice (id, id)"),
    "half a character": ('[{"id": "a", "label": "\\ud800"}]', "entry 1: 'label' holds '\\ud800', where text"),
    "JSON lines with a bad line": ('{"id": "a", "label": "x"}\n\n{"id"\n', "labels.csv, line 3: this is no JSON"),
    "JSON lines with a list": ('{"id": "a", "label": "x"}\n[1]\n', "labels.csv, line 2: an object is expected"),
    "an empty list": ("[]", "labels.csv has columns () and no rows"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_wrong_files_are_refused_by_row_with_the_remedy(tmp_path, case):
    content, message = REFUSED[case]
    with pytest.raises(StageError) as error:
        read(tmp_path, content)
    assert message in str(error.value)
    assert "labels.csv" in str(error.value)


FLAGGED = {
    "a missing id column": ("id,label\na,x\n", {"id_column": "ids"}, "--id: unknown column 'ids'. Did you mean id?"),
    "another id column": ("id,label\na,x\n", {"id_column": "label"}, "no cell of column label is the id of a video"),
    "a missing label column": ("id,label\na,x\n", {"label_column": "y"}, "--label-column: unknown column 'y'"),
    "no header, columns named": (
        "a,x\nb,y\n",
        {"id_column": "id"},
        "'a' in it is the id of a video; add a header line",
    ),
    "a name beyond the vocabulary": (
        "id,label\na,x\nb,creper\n",
        {"vocabulary": ["x", "creeper"]},
        "labels.csv, line 3: 'creper' is not in the vocabulary (nearest: 'creeper')",
    ),
    "a number beyond the vocabulary": (
        "id,label\na,0\nb,2\n",
        {"vocabulary": ["x", "y"]},
        "labels.csv, line 3: class 2 is beyond the vocabulary, whose 2 classes are numbered from 0 to 1",
    ),
    "a number beyond int32": (
        "id,label\na,9999999999\n",
        {"vocabulary": ["x", "y"]},
        "labels.csv, line 2: class 9999999999 is beyond the vocabulary",
    ),
    "a column beyond the vocabulary": (
        "id,x,z\na,1,0\nb,0,1\n",
        {"vocabulary": ["x", "y"]},
        "labels.csv, column z: 'z' is not in the vocabulary",
    ),
    "Parquet of records": (
        parquet(id=["a"], label=[{"x": 1}]),
        {"label_column": "label"},
        "column label cannot be read: its cells are struct<x: int64>, where text, numbers or lists of them are",
    ),
}


@pytest.mark.parametrize("case", FLAGGED)
def test_flags_that_do_not_fit_the_file_are_refused(tmp_path, case):
    content, flags, message = FLAGGED[case]
    with pytest.raises(StageError) as error:
        read(tmp_path, content, **flags)
    assert message in str(error.value)


def test_a_separator_is_taken_as_given(tmp_path):
    content = 'id,label\na,"x,y"\nb,x;y\n'
    assert named(read(tmp_path, content, separator=",")) == {"a": ["x", "y"], "b": ["x;y"]}
    assert named(read(tmp_path, content, separator="")) == {"a": ["x,y"], "b": ["x;y"]}


def test_commas_between_names_split_nothing_and_are_told(tmp_path):
    labels = read(tmp_path, 'id,label\na,"x, y"\nb,x\nc,y\nd,"x, w"\n')
    assert named(labels)["a"] == ["x, y"]
    (remark,) = labels.remarks
    assert remark.startswith("1 label such as 'x, y' is kept whole, and every part between commas is a class elsewhere")


def test_how_labels_were_found_is_told(tmp_path):
    assert read(tmp_path, "id,label\na,x\n").how == "one row a label, column label"
    assert read(tmp_path, "id,label\na,x;y\n").how == "one cell with labels separated by ';', column label"
    assert read(tmp_path, "id,x,y\na,1,\n").how == "multi-hot, 2 columns, one a class; 1 empty cell is read as 0"
    nan = read(tmp_path, "id,label\na,nan\nb,x\nc,X\n")
    assert nan.remarks == [
        "1 cell of column label says nan: read as empty",
        "'X' and 'x' are different classes; if they are one, write them alike",
    ]


def test_columns_of_splits_and_groups_are_no_labels(tmp_path):
    content = "id,Split,site,label\na,train,s,x\n"
    assert read(tmp_path, content, other_columns=["site"]).names == ["x"]
    assert read(tmp_path, content, label_column="Split").names == ["train"]


def test_files_of_the_same_columns_are_one_table(tmp_path):
    paths = [write(tmp_path, "id,label\na,x\n"), write(tmp_path, "label\tid\ny\ta\nz\tb\n", "b.tsv")]
    assert named(read_labels(paths, IDS)) == {"a": ["x", "y"], "b": ["z"]}
    paths.append(write(tmp_path, "id,label\nc,1 2\nd,w\n", "c.csv"))
    with pytest.raises(StageError, match=r"c\.csv, line 3.*'w'.*|labels\.csv, line 2: column label holds 'x'"):
        read_labels(paths, IDS)
    with pytest.raises(StageError, match=r"d\.csv has no column 'label', which .*labels\.csv has; .*same columns"):
        read_labels([paths[0], write(tmp_path, "id\nc\n", "d.csv")], IDS)


def test_a_label_that_a_video_has_twice_counts_once(tmp_path):
    assert read(tmp_path, "id,label\na,x\na,x\na,x\nb,y\nc,y\n").names == ["y", "x"]
    numbers = read(tmp_path, "id,label\na,0\na,00\nb,1\n")
    assert named(numbers) == {"a": ["0"], "b": ["1"]}


def test_a_table_that_was_read_is_not_read_again(tmp_path):
    path = write(tmp_path, "id,label\na,x\n")
    table = read_table(path)
    path.unlink()
    assert named(read_labels(table, IDS)) == {"a": ["x"]}


def test_classes_of_an_earlier_pack_keep_their_numbers(tmp_path):
    labels = read(tmp_path, "id,label\na,w\nb,x\nc,w\nd,v\n", known=["z", "x"])
    assert labels.names == ["z", "x", "w", "v"]
    assert {video: classes.tolist() for video, classes in labels.of.items()} == {"a": [2], "b": [1], "c": [2], "d": [3]}


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_million_rows_are_read_right(tmp_path, form):
    rows = np.arange(1_000_000)
    ids, names = [f"v{number}" for number in range(1000)], [f"c{number}" for number in range(7)]
    table = pa.table({"video": pa.array(ids).take(rows % 1000), "label": pa.array(names).take(rows // 1000 % 7)})
    path = tmp_path / f"labels.{form}"
    if form == "csv":
        with path.open("wb") as file:
            file.write(b"video,label\n")
            pa.csv.write_csv(table, file, pa.csv.WriteOptions(include_header=False, quoting_style="none"))
    else:
        pq.write_table(table, path)
    read = read_table(path)
    found = read_labels(read, ids)
    assert found.names == names
    assert all(found.of[id].tolist() == list(range(7)) for id in ids)
    assert read.where(999_999) == f"{path}, " + ("line 1000001" if form == "csv" else "row 1000000")


@pytest.mark.real_data
def test_real_labels(shared_data):
    birds = shared_data / "own" / "birds"
    ids = [f"recording_{number:03}" for number in range(1, 549)]
    labels = read_labels([birds / "labels.csv"], ids)
    assert (labels.names, labels.how, len(labels.of)) == (["brown creeper"], "one row a label, column species", 548)
    assert sum(len(classes) for classes in labels.of.values()) == 197
    utterances = shared_data / "own" / "japanese_vowels"
    ids = [path.stem for path in (utterances / "utterances").iterdir()]
    labels = read_labels([utterances / "utterances.csv"], ids)
    assert sorted(labels.names) == [f"speaker {number}" for number in range(1, 10)]
    assert {len(classes) for classes in labels.of.values()} == {1} and len(labels.of) == 640
