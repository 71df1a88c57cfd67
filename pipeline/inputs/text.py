"""Text files that people bring: of any editor's encoding and ends of lines."""

import codecs
import re
from collections.abc import Iterator
from pathlib import Path

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
    mark, encoding = next((each for each in _MARKS if content.startswith(each[0])), (b"", "utf-8"))
    content = content[len(mark) :]
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = len(_END.findall(content[: error.start].decode(encoding, "ignore"))) + 1
        raise StageError(
            f"{path}, line {line}: byte 0x{content[error.start]:02x} is not {encoding.upper()}; save the file as UTF-8"
        ) from None
    if "\0" in text:
        line = len(_END.findall(text[: text.index("\0")])) + 1
        raise StageError(f"{path}, line {line}: there is a zero byte, so this is no text; save the file as UTF-8")
    return text


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines that say something, each with its number from 1, without the spaces around it.

    A line ends in LF, CR LF or CR; the last one need not. Raises StageError as `read_text` does.
    """
    for number, line in enumerate(_END.split(read_text(path)), 1):
        if stripped := line.strip():
            yield number, stripped
