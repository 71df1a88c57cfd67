"""Each way to damage a file is found where it is, with what to do, whatever the sample is like."""

import codecs
import csv
import gzip
import io

import pytest
from fixtures.samples import cases, put, table
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from reference.like import plainly

from pipeline.submission.like_check import check_like
from pipeline.submission.like_classes import Classes
from pipeline.submission.like_sample import read_sample
from pipeline.submission.validation import FAULT_LIMIT

CLASSES = Classes(["Dog", "Great tit", "Robin"])

# ----------------------------------------------------------------------------------------- one thing broken, any sample


def without_row(case, rows, row):
    rows.pop(row)
    return len(rows), "id", "ids missing from the file: 1"


def row_twice(case, rows, row):
    rows.insert(row + 1, rows[row])
    return row + 2, "id", f"is on line {row + 1} already"


def rows_swapped(case, rows, row):
    assume(row + 1 < len(rows))
    rows[row], rows[row + 1] = rows[row + 1], rows[row]
    return row + 2, "id", "in the sample"


def unknown_id(case, rows, row):
    rows[row][case.id_column] += "?"
    return row + 1, "id", "unknown id"


def short_row(case, rows, row):
    rows[row].pop()
    assume(case.id_column < len(rows[row]) and rows[row] != [""])
    return row + 1, f"column {len(case.columns)}", "where the header has"


def blank_line(case, rows, row):
    rows.insert(row, [])
    return row + 1, "character 1", "blank"


def other_column(case, rows, row):
    at = 1 - min(case.id_column, 1)
    rows[0][at] += "?"
    return 1, "header", "1 column lacking: "


def columns_swapped(case, rows, row):
    for each in rows:
        each[0], each[1] = each[1], each[0]
    return 1, "header", "column 1 is"


def bad_number(case, rows, row, number):
    at = 1 - min(case.id_column, 1)
    if case.form == "columns":
        rows[row][at] = number
        return row + 1, case.columns[at], "confidence" if number else "empty"
    assume(case.form == "pairs" and number and case.between not in number)
    rows[row][at] = case.between.join([case.words[0], number])
    return row + 1, "answer, pair 1", "confidence"


def bad_label(case, rows, row, label):
    assume(case.form != "columns" and (case.between or label == "zzz"))
    at, score = 1 - min(case.id_column, 1), ["0.5"] * (case.form == "pairs")
    if label == "twice":
        assume(case.most > 1)
        rows[row][at] = case.between.join([case.words[0], *score] * 2)
        return row + 1, f"answer, {case.form[:-1]} 2", "occurs twice"
    if label == "many":
        words = [token for word in ["zzz"] * (case.most + 1) for token in (word, *score)]
        rows[row][at] = case.between.join(words)
        return row + 1, f"answer, {case.form[:-1]} {case.most + 1}", f"{case.most + 1} "
    rows[row][at] = case.between.join([label, *score])
    return row + 1, f"answer, {case.form[:-1]} 1", "is not a class"


DAMAGES = [
    *(without_row, row_twice, rows_swapped, unknown_id, short_row, blank_line, other_column, columns_swapped),
    *(
        lambda *how, number=number: bad_number(*how, number)
        for number in ("nan", "inf", "-0.1", "1.01", "x", "", "0,5", " 0.5", "1_0", "٠")
    ),
    *(lambda *how, label=label: bad_label(*how, label) for label in ("zzz", "twice", "many")),
]


@given(cases(), st.sampled_from(DAMAGES), st.data())
@settings(max_examples=120, deadline=None)
def test_what_is_broken_is_named(tmp_path_factory, case, damage, data):
    path, sample_path = tmp_path_factory.getbasetemp() / "broken.csv", tmp_path_factory.getbasetemp() / "sample"
    sample_path.write_bytes(case.content)
    sample = read_sample(sample_path, Classes(case.names), set(case.predictions.ids))
    rows = list(csv.reader(io.StringIO(plainly(case).decode(), newline=""), delimiter=case.separator))
    line, column, reason = damage(case, rows, data.draw(st.integers(1, len(rows) - 1)))
    path.write_bytes(table(rows, case.separator, case.line_end).encode())
    fault = check_like(path, sample)[0]
    assert (fault.line, fault.column) == (line, column)
    assert reason in fault.reason and fault.remedy


# ----------------------------------------------------------------------------------------------- faults of whole files

HEADER, ROWS = "id,Dog,Robin", ["a,0.5,1", "B.wav,0,0", "0012,1e-05,0"]


@pytest.fixture
def sample(tmp_path):
    return read_sample(put(tmp_path / "sample.csv", HEADER, *ROWS), CLASSES, None)


@pytest.mark.parametrize(
    ("content", "line", "column", "reason"),
    [
        (b"", 1, "file", "the file is empty"),
        (b"\n", 1, "file", "the header is missing"),
        ("\n".join([*ROWS, ""]).encode(), 1, "file", "the header is missing"),
        (codecs.BOM_UTF8 + "\n".join([HEADER, *ROWS, ""]).encode(), 1, "character 1", "byte order mark (UTF-8)"),
        ("\n".join([HEADER, *ROWS, ""]).encode("utf-16"), 1, "character 1", "byte order mark (UTF-16-LE)"),
        ("\n".join([HEADER, *ROWS]).encode(), 4, "file", "cut off"),
        ("\n".join([HEADER, *ROWS[:2], "é"]).encode("latin-1"), 4, "file", "byte 0xe9 is not UTF-8"),
        ("\n".join([HEADER, ROWS[0], 'x,"0.5,1', ""]).encode(), 3, "file", "the row cannot be read"),
        (gzip.compress(b"id", mtime=0), 1, "file", "it is gzipped"),
        (b"<html>404</html>", 1, "file", "it is a web page"),
    ],
)
def test_a_file_that_is_broken_as_a_whole(tmp_path, sample, content, line, column, reason):
    (tmp_path / "x.csv").write_bytes(content)
    (fault,) = check_like(tmp_path / "x.csv", sample)
    assert (fault.line, fault.column) == (line, column)
    assert reason in fault.reason and fault.remedy


def test_a_gzipped_file_is_checked_as_it_is_named(tmp_path, sample):
    whole = gzip.compress("\n".join([HEADER, *ROWS, ""]).encode())
    for name, content, reasons in (
        ("x.csv.gz", whole, []),
        ("x.csv.gz", whole[:-9], ["cannot be unzipped"]),
        ("y.csv.gz", b"id,Dog,Robin\n", ["not gzipped"]),
    ):
        (tmp_path / name).write_bytes(content)
        faults = check_like(tmp_path / name, sample)
        assert len(faults) == len(reasons) and all(map(str.__contains__, map(str, faults), reasons))


def test_ends_of_lines_and_quotes_are_free(tmp_path, sample):
    assert check_like(put(tmp_path / "x.csv", '"id","Dog",Robin', '"a","0.5",1', *ROWS[1:], end="\r\n"), sample) == []


@pytest.mark.parametrize(("id", "near"), [("b", "B.wav"), ("clips/b.ogg", "B.wav"), ("12", "0012"), ("A", "a")])
def test_an_id_that_is_nearly_one_is_shown_with_it(tmp_path, sample, id, near):
    rows = [row.replace(f"{near},", f"{id},") for row in ROWS]
    unknown, missing = check_like(put(tmp_path / "x.csv", HEADER, *rows), sample)
    assert unknown.reason == f"unknown id {id!r}, where the sample has {near!r}"
    assert missing.reason == f"ids missing from the file: 1: {near!r}" and missing.line == 4


def test_the_rows_are_checked_under_columns_of_other_names_and_order(tmp_path, sample):
    rows = ["Robin,Cat,id", "1,0.5,a", "0,7,B.wav", "0,0,0012"]
    header, value = check_like(put(tmp_path / "x.csv", *rows), sample)
    assert header.reason == "1 column lacking: 'Dog'; 1 column not in the sample: 'Cat'"
    assert (value.line, value.column, value.reason) == (3, "Cat", "confidence '7' is above 1")
    for rows in (["Dog,Robin", "0,0"], ["id", "a"]):
        (fault,) = check_like(put(tmp_path / "x.csv", *rows), sample)
        assert "lacking" in fault.reason


def test_faults_beyond_the_limit_are_counted(tmp_path, sample):
    rows = [f"v{number},2,0" for number in range(FAULT_LIMIT)]
    faults = check_like(put(tmp_path / "x.csv", HEADER, *rows), sample)
    assert len(faults) == FAULT_LIMIT + 2 and "ids missing" in faults[-2].reason
    assert faults[-1].reason == f"{FAULT_LIMIT} more faults after the first {FAULT_LIMIT}"


def test_how_many_labels_may_be_said(tmp_path):
    sample = read_sample(put(tmp_path / "sample.csv", "id,labels", "a,0 1"), CLASSES, None)
    path = put(tmp_path / "x.csv", "id,labels", "a,0 1 2")
    (fault,) = check_like(path, sample)
    assert (fault.column, fault.reason) == ("labels, label 3", "3 labels") and "--submission.top-k" in fault.remedy
    assert check_like(path, sample, 3) == []


def test_without_the_classes_labels_are_numbers_if_the_samples_are(tmp_path):
    sample = read_sample(put(tmp_path / "sample.csv", "id,labels", "a,0 1"), None, None)
    assert check_like(put(tmp_path / "x.csv", "id,labels", "a,5000 7"), sample) == []
    (fault,) = check_like(put(tmp_path / "x.csv", "id,labels", "a,5000 Dog"), sample)
    assert fault.reason == "label 'Dog' is not a number of a class"
