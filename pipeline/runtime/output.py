"""What people read of strangers' text: control characters escaped, and secrets in addresses left out.

Ids, names of files and classes, answers of servers and the texts of exceptions come from elsewhere. A terminal obeys
control characters in them, and an address may carry a signature or a password.
"""

import contextlib
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TextIO

_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""What a terminal or a browser obeys or cannot show: all controls but tab and line feed, the separators of lines and
paragraphs, bidirectional embeddings, overrides and isolates, and lone surrogates (bytes of a file's name that are not
UTF-8)."""
_BAR = re.compile(r"\r?(?:\x1b\[A)*")
"""How tqdm begins what it writes: at the start of the line, or some lines up."""
_USER = re.compile(r"(?<=://)[^/?#\s'\"]*@")
_QUERY = re.compile(r"""
    ( [a-z][a-z0-9+.-]*://[^\s?\#'"<>]*     # an address with a scheme
    | /[^\s?\#'"<>]*(?=\?[^\s=]*=) )        # or from its path on, as urllib3's messages have it
    [?\#] (?! \.\.\.(?![\w%&=/+-]) )           # and where it is not left out yet
    [^\s"<>\\]+? (?= [].,:;)'}]* (?:[\s"<>\\]|$) )  # its query, without the punctuation of the sentence
""", re.X | re.I)  # fmt: skip
_SIGNATURE = re.compile(
    r"\b(X-(?:Amz|Goog)-(?:Signature|Credential|Security-Token)|AWSAccessKeyId|GoogleAccessId|Signature)=[^\s&'\"\\]+",
    re.I,
)
"""Parts of a signed query that stand alone."""


def redacted(text: str) -> str:
    """Return a text without the secrets of the addresses in it: no user and password, `?...` for every query."""
    if "/" not in text and "=" not in text:
        return text
    return _SIGNATURE.sub(r"\1=...", _QUERY.sub(r"\1?...", _USER.sub("", text)))


def printable(text: str) -> str:
    r"""Return a text with control characters escaped as \x1b, \u202e or \udcff; tabs and line feeds stay."""
    return _CONTROLS.sub(_escape, text)


def shown(text: str) -> str:
    """Return a text as it may be printed or logged: `redacted` and `printable`."""
    return printable(redacted(text))


def printable_json(value: Any, indent: int | None = None) -> str:
    r"""Return a value as JSON that keeps letters of all languages; control characters are escaped as \u009b."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)  # only strings can hold any


@contextlib.contextmanager
def shown_output() -> Iterator[None]:
    """Standard output and error show no control character and no secret in the block, whoever writes there.

    The streams are the one place through which every message goes: also the bars and their texts, warnings, and what
    libraries log. A bar may go back to the start of its line, and up to its line, on the standard error.
    """
    out, err = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _Shown(out, shown), _Shown(err, _shown_beside_bars)  # type: ignore[assignment]
    try:
        yield
    finally:
        sys.stdout, sys.stderr = out, err


def is_terminal(stream: TextIO) -> bool:
    """Return whether a stream is shown on a terminal, also inside a block of `shown_output`."""
    return (stream._stream if isinstance(stream, _Shown) else stream).isatty()


class _Shown:
    """A stream that shows strangers' text; everything but writing is the stream's own."""

    def __init__(self, stream: TextIO, show: Callable[[str], str]):
        self._stream, self._show = stream, show

    def write(self, text: str) -> int:
        self._stream.write(self._show(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def isatty(self) -> bool:
        """False, so that nobody writes the sequences that color text, such as tyro's help."""
        return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _shown_beside_bars(text: str) -> str:
    start = _BAR.match(text).end()  # type: ignore[union-attr] # it matches nothing, too
    return text[:start] + shown(text[start:])


def _escape(found: re.Match[str]) -> str:
    number = ord(found[0])
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"
