"""A sample is read from any program's text, and refused where it is no sample."""

import gzip
import tracemalloc

import pytest
from fixtures.samples import put, table

from pipeline.config.errors import StageError
from pipeline.submission import like_sample
from pipeline.submission.like_classes import Classes
from pipeline.submission.like_sample import read_sample

CLASSES = Classes(["Dog", "Train, horn", "Robin"])
ROWS = [["id", "Robin", "Train, horn"], ["b", "0.5", "0"], ["a", "", "1"]]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize(("separator", "line_end"), [(",", "\n"), (";", "\r\n"), ("\t", "\r")])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_any_programs_text_is_read(tmp_path, encoding, separator, line_end, pack):
    (tmp_path / "sample.csv").write_bytes(pack(table(ROWS, separator, line_end).encode(encoding)))
    sample = read_sample(tmp_path / "sample.csv", CLASSES, {"a", "b", "c"})
    assert (sample.columns, sample.id_column, sample.ids) == (ROWS[0], 0, ["b", "a"])
    assert (sample.separator, sample.line_end, sample.cells.numbers) == (separator, line_end, (2, 1))


@pytest.mark.parametrize(
    ("rows", "ids", "at"),
    [
        (["label,clip", "0,a", "0,b"], {"a", "b"}, 1),
        (["label,clip", "0,a", "1,b"], {"a", "b"}, 1),
        (["label,clip", "0,a", "1,b"], None, 1),  # both differ in all rows, and only one is called so
        (["label,x", "0,a", "0,b"], None, 1),
        (["x,label", "a,0", "b,1"], None, 0),
        (["0,1,x", "0,1,0", "1,1,1"], {"0", "1", "2"}, 2),  # ids that are numbers, too
        (["x,0,1", "0,1,0", "1,1,1"], {"0", "1", "2"}, 0),
    ],
)
def test_the_column_of_the_ids_is_found(tmp_path, rows, ids, at):
    if rows[0] == "0,1,x":  # every column holds ids: the first of those with most
        rows = ["0,1,x", "0,1,0", "1,1,1", "1,0,2"]
    assert read_sample(put(tmp_path / "sample.csv", *rows), None, ids).id_column == at


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"id\na\n", "line 1: 'id' is one column"),
        (b"id,Dog\n", "no rows follow the header"),
        (b"id,Dog,Robin\na,0,0\nb,0\n", "line 3: 2 cells, where the header has 3 columns"),
        (b"id,Dog,Robin\na,0,0\na,0,0\n", "line 3: id 'a' is on line 2 already; a file has one row for each video"),
        (b"id,Dog,Dog\na,0,0\n", "line 1: column 'Dog' is there twice"),
        (b"a,0,1\nb,0,1\n", "line 1: 'a' is no name of a column: the header is missing"),
        (b"x,0.5,1\ny,0,1\n", r"line 1: '0\.5' is no name of a column: the header is missing"),
        (b"id,Usage,Robin\na,0,0\n", r"1 of its 2 columns beside the ids not a class of the dataset: 'Usage'"),
        (b'id,Dog,Robin\na,0,"0\n', "line 2: unexpected end of data"),
        (b"id,Dog\n\xe9,0\n", "line 2: byte 0xe9 is not UTF-8"),
        (b"\x89HDF\r\n\x1a\n", "the file is an HDF5 file, not a sample submission"),
        (b"<html>", "a web page"),
        (gzip.compress(b"id,Dog\na,0\n" * 99, mtime=0)[:-9], "cannot be unzipped"),
    ],
)
def test_what_is_no_sample_is_refused(tmp_path, content, message):
    (tmp_path / "sample.csv").write_bytes(content)
    with pytest.raises(StageError, match=rf"sample\.csv.*{message}"):
        read_sample(tmp_path / "sample.csv", CLASSES, {"a", "b"})


def test_a_missing_sample_is_named(tmp_path):
    with pytest.raises(StageError, match=r"--like .*none\.csv: there is no such file"):
        read_sample(tmp_path / "none.csv", CLASSES, None)


def test_a_class_whose_name_is_a_number_is_no_row(tmp_path):
    path = put(tmp_path / "sample.csv", "id,0.5,x", "a,0,0")
    assert read_sample(path, Classes(["x", "0.5"]), {"a"}).cells.numbers == (1, 0)


def test_memory_holds_the_ids_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(like_sample, "_HEAD_CHARACTERS", 1 << 12)
    names = [f"c{number}" for number in range(200)]
    rows = (f"v{number}{',0.25' * len(names)}" for number in range(1000))
    path = put(tmp_path / "sample.csv", ",".join(["id", *names]), *rows)
    tracemalloc.start()
    try:
        read_sample(path, None, None)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < path.stat().st_size / 2
