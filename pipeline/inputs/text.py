"""Text files that people bring: of any editor's encoding and ends of lines."""

import codecs
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from pipeline.config.errors import StageError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""What a file begins with, and what it is then; other files are UTF-8."""
_END = re.compile("\r\n|\r|\n")
_GZIP = b"\x1f\x8b"
"""What a gzipped file begins with."""


class UnreadableText(StageError):
    """A file that is not text, or not all of it: which line says so, why, and what to do."""

    def __init__(self, path: Path, line: int, reason: str, remedy: str):
        super().__init__(f"{path}, line {line}: {reason}; {remedy}")
        self.line, self.reason, self.remedy = line, reason, remedy


def read_text(path: Path) -> str:
    """Return a file's text without its byte order mark; the ends of its lines stay as they are.

    Raises:
        StageError: the file cannot be read, or is not UTF-8, nor UTF-16 or UTF-32 with a mark; the message names the
            line.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StageError(f"{path} cannot be read: {error.strerror}") from error
    mark, encoding = _encoding(content)
    try:
        text = content[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        raise _undecodable(path, 0, error) from None
    if "\0" in text:
        raise _zero_byte(path, len(_END.findall(text[: text.index("\0")])) + 1)
    return text


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines that say something, each with its number from 1, without the spaces around it.

    A line ends in LF, CR LF or CR; the last one need not. Raises StageError as `read_text` does.
    """
    for number, line in enumerate(_END.split(read_text(path)), 1):
        if stripped := line.strip():
            yield number, stripped


def stream_lines(path: Path) -> Iterator[str]:
    """Yield the lines of a text of any size, each with its end (LF, CR LF or CR), without a byte order mark.

    A file that begins as gzip does is unzipped, whatever its name.

    Raises:
        UnreadableText: the file is not UTF-8, nor UTF-16 or UTF-32 with a mark, or cannot be unzipped.
        StageError: the file cannot be opened.
    """
    number = 0
    try:
        with _opened(path) as file:
            mark, encoding = _encoding(file.read(4))
            file.seek(len(mark))
            for number, line in enumerate(io.TextIOWrapper(file, encoding, newline=""), 1):
                if "\0" in line:
                    raise _zero_byte(path, number)
                yield line
    except UnicodeDecodeError as error:
        raise _undecodable(path, number, error) from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UnreadableText(path, number + 1, f"cannot be unzipped ({error})", "copy it again") from error


def byte_order_mark(path: Path) -> str:
    """Return the encoding that a file's byte order mark names, such as utf-16-le; "" if it has no mark.

    Raises as `stream_lines` does.
    """
    try:
        with _opened(path) as file:
            mark, encoding = _encoding(file.read(4))
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UnreadableText(path, 1, f"cannot be unzipped ({error})", "copy it again") from error
    return encoding if mark else ""


def _opened(path: Path) -> BinaryIO:
    try:
        file = path.open("rb")
        zipped = file.read(len(_GZIP)) == _GZIP
    except OSError as error:
        raise StageError(f"{path} cannot be read: {error.strerror}") from error
    file.seek(0)
    if not zipped:
        return file
    file.close()
    return gzip.open(path)  # type: ignore[return-value] # a reader of bytes


def _encoding(head: bytes) -> tuple[bytes, str]:
    """Return the mark that a file begins with, b"" for none, and its encoding."""
    return next((each for each in _MARKS if head.startswith(each[0])), (b"", "utf-8"))


def _undecodable(path: Path, lines: int, error: UnicodeDecodeError) -> UnreadableText:
    """Return the error of a text whose first `lines` lines are whole; the bytes of `error` follow them."""
    line = lines + len(_END.findall(error.object[: error.start].decode(error.encoding, "ignore"))) + 1
    reason = f"byte 0x{error.object[error.start]:02x} is not {error.encoding.upper()}"
    return UnreadableText(path, line, reason, "save the file as UTF-8")


def _zero_byte(path: Path, line: int) -> UnreadableText:
    return UnreadableText(path, line, "there is a zero byte, so this is no text", "save the file as UTF-8")
