"""Text as editors write it: encodings with their marks, ends of lines, and what is no text."""

import codecs
import gzip

import pytest

from pipeline.config.errors import StageError
from pipeline.inputs import text
from pipeline.inputs.text import UnreadableText, byte_order_mark, read_lines, read_text, stream_lines

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
    assert list(stream_lines(path)) == ["é, 日本\n", "b c\n"]
    assert byte_order_mark(path) == next((name for mark, name in text._MARKS if content.startswith(mark)), "")
    path.write_bytes(gzip.compress(content))
    assert list(stream_lines(path)) == ["é, 日本\n", "b c\n"]


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
    assert "".join(stream_lines(path)) == read_text(path)
    assert [line.strip() for line in stream_lines(path) if line.strip()] == [line for _, line in lines]


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
    with pytest.raises(UnreadableText, match=message) as caught:
        list(stream_lines(path))
    assert f"line {caught.value.line}: {caught.value.reason}; {caught.value.remedy}" in str(caught.value)


def test_a_fault_far_away_is_refused_by_its_line(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"12345678\n" * 30_000 + b"\xe9\n")
    with pytest.raises(UnreadableText, match="line 30001: byte 0xe9 is not UTF-8"):
        list(stream_lines(path))
    path.write_bytes(gzip.compress(b"12345678\n" * 30_000)[:-9])
    with pytest.raises(UnreadableText, match=r"line 30001: cannot be unzipped \(.*\); copy it again"):
        list(stream_lines(path))
    path.write_bytes(gzip.compress(b"")[:5])
    for read in (byte_order_mark, lambda path: list(stream_lines(path))):
        with pytest.raises(UnreadableText, match="line 1: cannot be unzipped"):
            read(path)


def test_what_cannot_be_read_is_said(tmp_path):
    with pytest.raises(StageError, match=r"missing\.txt cannot be read: No such file"):
        read_text(tmp_path / "missing.txt")
    with pytest.raises(StageError, match=r"missing\.txt cannot be read: No such file"):
        list(stream_lines(tmp_path / "missing.txt"))
    with pytest.raises(StageError, match="cannot be read: Is a directory"):
        read_text(tmp_path)
