"""What a source of files offers: their list, and the bytes of each from any offset."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass(frozen=True)
class Remote:
    """A file that a source has."""

    name: str
    """Path below the destination, with forward slashes; checked: it never leads out of it."""
    size: int | None = None
    """Bytes, where the source says so."""
    md5: str | None = None
    """In hexadecimal digits, where the source says so."""
    crc32c: int | None = None

    def is_verifiable(self) -> bool:
        """Whether its bytes can be told from wrong ones."""
        return self.md5 is not None or self.crc32c is not None


@dataclass
class Body:
    """The bytes of a file, from an offset on."""

    start: int
    """Offset of the first byte: the one asked for, or 0 where the source cannot begin elsewhere."""
    size: int | None
    """Of the whole file, where the source says so."""
    chunks: Iterator[bytes]


class Source(Protocol):
    """Where files come from. It retries nothing: that is for who asks."""

    def files(self) -> list[Remote]:
        """All there are; raises Unavailable or Refused."""

    def open(self, file: Remote, offset: int = 0) -> AbstractContextManager[Body]:
        """Its bytes from an offset on; raises Unavailable or Refused, also while its chunks are read."""


@runtime_checkable
class Measuring(Source, Protocol):
    """A source whose list has no sizes, and that tells them one by one."""

    def measure(self, file: Remote) -> Remote:
        """The file with what can be known before it is read; raises Unavailable or Refused."""


class Unavailable(Exception):
    """It did not work this time: a connection lost, a busy server, a stall. Try again, here or at another mirror."""

    def __init__(self, message: str, after: float | None = None):
        super().__init__(message)
        self.after = after
        """Seconds to wait, where the server says so."""


class RateLimited(Unavailable):
    """Nothing was asked: the server has said to somebody when it may be, and that is not yet."""


class Refused(Exception):
    """It will not work here, however often it is tried: no such file, no right to read it."""
