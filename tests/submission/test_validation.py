"""Each way to damage a submission is found where it is, with what to do; a valid file has no faults."""

import codecs
import gzip
import zipfile

import pytest

from pipeline.submission import check_submission, read_submission, scanning
from pipeline.submission.lines import HEADER, SubmissionFault
from pipeline.submission.validation import FAULT_LIMIT

IDS = ["aDoE", "1e10", "NaN", "-abc", "0012", "true"]
ROWS = [f"{video},71 0.985 3 0.912 0 0.31" for video in IDS]
ONE = ROWS[1:]  # the rows below a line that a test damages


def put(path, lines, end="\n"):
    path.write_bytes("\n".join([HEADER, *lines]).encode() + end.encode())
    return path


@pytest.fixture
def path(tmp_path):
    return tmp_path / "submission.csv"


# -------------------------------------------------------------------------------------------------------------- faults


def test_a_valid_file_has_no_faults(path):
    assert check_submission(put(path, ROWS), IDS) == []
    assert check_submission(path) == []
    assert check_submission(path, reversed(IDS), num_classes=72, top_k=3) == []


PAIRS = " ".join(f"{label} 0.5" for label in range(21))


@pytest.mark.parametrize(
    ("row", "column", "reason"),
    [
        ("aDoE", "character 5", "0 commas"),
        ("aDoE,71 0.9,3 0.5", "character 12", "2 commas"),
        ("aDoE,71 0.9,", "character 12", "2 commas"),
        ("aDoE,", "pair 1", "no pairs"),
        ("aDoE, ", "pair 1", "no pairs"),
        ("aDoE,71 0.9 3", "pair 2", "odd number of fields, 3"),
        ("aDoE,71", "pair 1", "odd number of fields, 1"),
        ("aDoE,71 0.9  3 0.5", "character 13", "a space too many"),
        ("aDoE, 71 0.9", "character 6", "a space too many"),
        ("aDoE,71 0.9 ", "character 12", "a space too many"),
        (f"aDoE,{PAIRS}", "pair 21", "21 pairs"),
        ("aDoE,71 0.9 3 0.5 71 0.4", "pair 3", "label 71 occurs twice"),
        ("aDoE,71 0.9 3862 0.5", "pair 2", "label '3862' is out of range"),
        ("aDoE,-1 0.9", "pair 1", "label '-1' is out of range"),
        ("aDoE,99999999999999999999 0.9", "pair 1", "out of range"),
        (f"aDoE,{'9' * 5000} 0.9", "pair 1", "out of range"),
        ("aDoE,71.0 0.9", "pair 1", "label '71.0' is not an integer"),
        ("aDoE,x 0.9", "pair 1", "label 'x' is not an integer"),
        ("aDoE,7_1 0.9", "pair 1", "label '7_1' is not an integer"),
        ("aDoE,071 0.9", "pair 1", "not written plainly, as 71"),
        ("aDoE,71 NaN", "pair 1", "confidence 'NaN' is not finite"),
        ("aDoE,71 inf", "pair 1", "confidence 'inf' is not finite"),
        ("aDoE,71 -Infinity", "pair 1", "is not finite"),
        ("aDoE,71 -0.1", "pair 1", "confidence '-0.1' is negative"),
        ("aDoE,71 1.00001", "pair 1", "confidence '1.00001' is above 1"),
        ("aDoE,71 1e999", "pair 1", "is above 1"),
        ("aDoE,71 0.5 3 0.6 0 0.55", "pair 2", "confidence 0.6 ascends, after 0.5"),
        ("aDoE,71 0.5 3 0.50001", "pair 2", "ascends"),
        ("aDoE,71 high", "pair 1", "confidence 'high' is not a number"),
        ("aDoE,71 0_1", "pair 1", "confidence '0_1' is not a number"),
        (f"aDoE,71 {'9' * 100_000}x", "pair 1", "is not a number"),
        ("aDoE,71 ٠.٥", "pair 1", "is not a number"),
        ("aDoE,71 0.5\t", "pair 1", "is not a number"),
        ("aDoE,71 0.5\u00a0", "pair 1", "is not a number"),
        ("aDoE,71 0.5\r3", "pair 1", "is not a number"),
        ('aDoE,"71 0.5"', "pair 1", "is not an integer"),
        ('"aDoE",71 0.5', "VideoId", "quote"),
        (",71 0.5", "VideoId", "empty"),
        ("", "character 1", "blank"),
        ("  ", "character 1", "blank"),
    ],
)
def test_a_faulty_row(path, row, column, reason):
    put(path, [ROWS[1], row, *ROWS[2:]])
    fault = check_submission(path)[0]
    assert (fault.line, fault.column) == (3, column)
    assert reason in fault.reason and fault.remedy
    assert {fault.line for fault in check_submission(path)} == {3}
    if row.startswith("aDoE,"):
        assert check_submission(path, IDS) == check_submission(path)  # the id is there, whatever its pairs are like
    if "21 pairs" not in reason:  # how many is no matter when it is only scored
        with pytest.raises(ValueError, match=r"submission\.csv: line 3, "):
            list(read_submission(path, 3862))


def test_every_fault_of_a_row_is_named(path):
    put(path, [*ONE, "aDoE,71 0.2 71 0.1 x nan 5000 0.3"])
    found = [(fault.line, fault.column, fault.reason.split(" ")[0]) for fault in check_submission(path)]
    assert found == [(7, f"pair {place}", word) for place, word in
                     [(2, "label"), (3, "label"), (3, "confidence"), (4, "label"), (4, "confidence")]]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "line", "column", "reason"),
    [
        (b"", 1, "header", "empty"),
        (b"aDoE,71 0.5\n", 1, "header", "the header is missing"),
        (b"VideoId,Pairs\naDoE,71 0.5\n", 1, "header", "reads 'VideoId,Pairs'"),
        (b"videoid,labelconfidencepairs\naDoE,71 0.5\n", 1, "header", "reads"),
        (b"\naDoE,71 0.5\n", 1, "header", "reads ''"),
        (codecs.BOM_UTF8 + HEADER.encode() + b"\naDoE,71 0.5\n", 1, "character 1", "byte order mark"),
        (HEADER.encode() + b"\r\naDoE,71 0.5\r\nbbbb,71 0.5\r\n", 1, "character 29", "CR LF"),
        (HEADER.encode() + b"\nbbbb,71 0.5\naDoE,71 0.5\r\n", 3, "character 12", "CR LF"),
        (HEADER.encode() + b"\nbbbb,71 0.5\naDoE,71 0.5", 3, "character 12", "no newline"),
        (HEADER.encode() + b"\naDoE,71 0.5\n\n", 3, "character 1", "blank"),
        (HEADER.encode() + b"\naDoE,71 0.5\nbb\xffb,71 0.5\n", 3, "character 3", "byte 0xff is not UTF-8"),
        (HEADER.encode() + b"\n", 1, "file", "no videos"),
        (HEADER.encode(), 1, "character 29", "no newline"),
        (HEADER.encode().replace(b",", b";") + b"\naDoE,71 0.5\n", 1, "header", "reads"),
    ],
)
def test_a_faulty_file(path, content, line, column, reason):
    path.write_bytes(content)
    (fault,) = check_submission(path)
    assert (fault.line, fault.column) == (line, column)
    assert reason in fault.reason and fault.remedy


@pytest.mark.parametrize(
    ("damage", "line", "remedy"),
    [
        (lambda text: text.partition("\n")[2], 1, f"add the line {HEADER}"),
        (lambda text: text.replace(f"{ROWS[2]}\n", ""), 6, "write the file again with `python -m pipeline.submit`"),
        (lambda text: text + f"{ROWS[2]}\n", 8, "keep one line for each video"),
        (lambda text: text + "other,1 0.5\n", 8, "predict the split that is asked for"),
        (lambda text: text.replace(ROWS[2], f"NaN,{PAIRS}"), 4, "keep the best 20"),
        (lambda text: text.replace(ROWS[2], f"{ROWS[2]} 5"), 4, "write the file again"),
        (lambda text: text.replace(ROWS[2], f"{ROWS[2]} 3 0.1"), 4, "keep its best confidence"),
        (lambda text: text.replace(ROWS[2], f"{ROWS[2]} 3862 0.1"), 4, "labels are 0 to 3861"),
        (lambda text: text.replace(ROWS[2], f"{ROWS[2]} -1 0.1"), 4, "labels are 0 to 3861"),
        *(
            (lambda text, bad=bad: text.replace(ROWS[2], f"NaN,71 {bad}"), 4, "confidences are numbers from 0 to 1")
            for bad in ("nan", "inf", "-0.5", "1.5")
        ),
        (lambda text: text.replace(ROWS[2], f"{ROWS[2]} 5 0.4"), 4, "write the most confident label first"),
        (lambda text: text.replace("\n", "\r\n"), 1, "end lines with LF alone"),
        (lambda text: "\ufeff" + text, 1, "save it without"),
        (lambda text: text.replace("1e10,", "1E+10,"), 3, "do not open it in a spreadsheet"),
        (lambda text: text[:-3], 7, "write the file again"),
    ],
)
def test_each_damage_is_named_with_its_line_and_its_remedy(path, damage, line, remedy):
    path.write_text(damage("\n".join([HEADER, *ROWS]) + "\n"), newline="")
    fault = check_submission(path, IDS)[0]
    assert fault.line == line and remedy in fault.remedy


def test_a_row_that_was_cut_off_is_named_with_the_missing_newline(path):
    put(path, [*ONE, "aDoE,71 0.985 3"], end="")
    newline, row = check_submission(path, IDS)
    assert (newline.line, row.line, row.column) == (7, 7, "pair 2")
    assert "cut off" in newline.reason and "odd" in row.reason


def test_a_missing_header_does_not_hide_the_first_row(path):
    path.write_bytes("\n".join(ROWS).encode() + b"\n")
    assert [fault.column for fault in check_submission(path, IDS)] == ["header"]


def test_ids_that_are_missing_double_or_unknown(path):
    put(path, [ROWS[0], ROWS[1], ROWS[0], ROWS[2], "zzzz,1 0.5", "ADOE,1 0.5"])
    double, unknown, other, missing = check_submission(path, IDS)
    assert (double.line, double.column) == (4, "VideoId") and "'aDoE' is on line 2 already" in double.reason
    assert unknown.line == 6 and unknown.reason == "unknown id 'zzzz'"
    assert other.line == 7 and other.reason == "unknown id 'ADOE'"
    assert missing.line == 7 and "missing from the file: 3: '-abc', '0012', 'true'" in missing.reason
    assert [fault.line for fault in check_submission(path)] == [4]


def test_a_double_far_away_is_found(path, monkeypatch):
    monkeypatch.setattr(scanning, "_BLOCK", 40)
    put(path, [*ROWS, ROWS[1]])
    (double,) = check_submission(path, IDS)
    assert double.line == 8 and "on line 3 already" in double.reason


@pytest.mark.parametrize(
    ("damaged", "original"),
    [("1E+10", "1e10"), ("10000000000", "1e10"), ("12", "0012"), ("#NAME?", "-abc"), ("TRUE", "true")],
)
def test_a_spreadsheet_is_recognized(path, damaged, original):
    rows = [row.replace(f"{original},", f"{damaged},", 1) for row in ROWS]
    unknown, missing = check_submission(put(path, rows), IDS)
    assert unknown.line == 2 + IDS.index(original)
    assert f"unknown id {damaged!r}, while {original!r} is missing: a spreadsheet rewrote it" == unknown.reason
    assert "do not open it in a spreadsheet" in unknown.remedy
    assert repr(original) in missing.reason


@pytest.mark.parametrize("damaged", ["1-Mar", "Mar-01", "2018-03-01", "3/1/2018"])
def test_a_date_is_recognized(path, damaged):
    unknown, _ = check_submission(put(path, [f"{damaged},1 0.5", *ONE]), [*IDS, "mar1"])[:2]
    assert unknown.line == 2 and "date" in unknown.reason and "spreadsheet" in unknown.remedy


def test_ids_are_compared_byte_for_byte(path):
    put(path, [f"{video},1 0.5" for video in ("1e10", "10e9", "nan", "NaN", "0012", "12", "é", "e\u0301")])
    assert check_submission(path) == []
    assert len(check_submission(path, ["1e10", "10e9", "nan", "NaN", "0012", "12", "é", "é"])) == 1


def test_faults_beyond_the_limit_are_counted(path):
    rows = [f"v{number},1 2" for number in range(FAULT_LIMIT + 30)]
    faults = check_submission(put(path, rows), ["other"])
    assert len(faults) == FAULT_LIMIT + 2
    assert [fault.line for fault in faults[:4]] == [2, 2, 3, 3]  # the confidence and the id
    assert "'other'" in faults[-2].reason
    assert faults[-1].reason == f"{2 * len(rows) - FAULT_LIMIT} more faults after the first {FAULT_LIMIT}"


def test_a_fault_reads_as_a_sentence():
    assert (
        str(SubmissionFault(3, "pair 2", "what is wrong", "what to do")) == "line 3, pair 2: what is wrong; what to do"
    )


def test_a_damaged_gzip_is_a_fault(tmp_path):
    whole = gzip.compress("\n".join([HEADER, *ROWS, ""]).encode())
    for content in (whole[:-10], whole[:20] + b"\xff" * 20 + whole[40:]):
        path = tmp_path / "submission.csv.gz"
        path.write_bytes(content)
        assert "unzipped" in check_submission(path)[0].reason
        with pytest.raises(ValueError, match="unzipped"):
            list(read_submission(path, 3862))


def test_a_file_of_another_kind_is_named(tmp_path):
    text = "\n".join([HEADER, *ROWS, ""])
    with zipfile.ZipFile(tmp_path / "sheet.csv", "w") as archive:
        archive.writestr("xl/workbook.xml", "")
    (tmp_path / "page.csv").write_text("<html>404")
    (tmp_path / "zipped.csv").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "plain.csv.gz").write_text(text)
    for name, reason in (
        ("sheet.csv", "it is an Excel workbook, not the challenge's CSV; write the file again"),
        ("page.csv", "it is a web page"),
        ("zipped.csv", "it is gzipped; give it a name that ends in .gz"),
        ("plain.csv.gz", "it is a table in text (CSV) and not gzipped; give it a name without .gz"),
    ):
        (fault,) = check_submission(tmp_path / name)
        assert reason in str(fault)
