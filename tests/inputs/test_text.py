"""Text as editors write it: encodings with their marks, ends of lines, and what is no text."""

import codecs

import pytest

from pipeline.config.errors import StageError
from pipeline.inputs.text import read_lines, read_text

TEXT = "é, 日本\nb c\n"


@pytest.mark.parametrize(
    "content",
    [
        TEXT.encode(),
        codecs.BOM_UTF8 + TEXT.encode(),
        codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"),
        codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
        codecs.BOM_UTF32_LE + TEXT.encode("utf-32-le"),
        codecs.BOM_UTF32_BE + TEXT.encode("utf-32-be"),
    ],
)
def test_encodings_are_told_by_their_marks(tmp_path, content):
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    assert read_text(path) == TEXT
    assert list(read_lines(path)) == [(1, "é, 日本"), (2, "b c")]


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"a\r\nb\r\n", [(1, "a"), (2, "b")]),
        (b"a\rb\r", [(1, "a"), (2, "b")]),
        (b"a\nb", [(1, "a"), (2, "b")]),
        (b"\n a\t \n\n \nb\n", [(2, "a"), (5, "b")]),
        ("a\x0bb\x0cc\x85d\u2028e\n".encode(), [(1, "a\x0bb\x0cc\x85d\u2028e")]),
        (b"", []),
        (codecs.BOM_UTF8, []),
    ],
)
def test_lines_end_as_on_any_system_and_nowhere_else(tmp_path, content, lines):
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    assert list(read_lines(path)) == lines


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a\r\nb\rc\xe9\n", "a.txt, line 3: byte 0xe9 is not UTF-8; save the file as UTF-8"),
        (codecs.BOM_UTF16_LE + "a\n".encode("utf-16-le") + b"b", "a.txt, line 2: byte 0x62 is not UTF-16-LE; save"),
        ("a\nb".encode("utf-16-le"), "a.txt, line 1: there is a zero byte, so this is no text; save the file as UTF-8"),
        (b"a\n\x1f\x8b\x08", "a.txt, line 2: byte 0x8b is not UTF-8"),
    ],
)
def test_what_is_no_text_is_refused_by_file_and_line(tmp_path, content, message):
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    with pytest.raises(StageError, match=message):
        list(read_lines(path))


def test_what_cannot_be_read_is_said(tmp_path):
    with pytest.raises(StageError, match=r"missing\.txt cannot be read: No such file"):
        read_text(tmp_path / "missing.txt")
    with pytest.raises(StageError, match="cannot be read: Is a directory"):
        read_text(tmp_path)
