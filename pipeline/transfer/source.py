"""The interface of a source of files, its errors, and the policy for trying again."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, TypeVar

import tenacity
import urllib3

from pipeline.runtime.output import redacted

T = TypeVar("T")

LONGEST_WAIT = 600.0
"""Seconds in all; a server that asks to wait longer is given up."""


@dataclass(frozen=True)
class Remote:
    """A file that a source has."""

    name: str
    """Path below the destination, with forward slashes; it has been checked not to lead out of it."""
    size: int | None = None
    """Bytes, if the source says so."""
    md5: str | None = None
    """In hexadecimal digits, if the source says so."""
    crc32c: int | None = None

    def is_verifiable(self) -> bool:
        """Return whether its bytes can be verified."""
        return self.md5 is not None or self.crc32c is not None


@dataclass
class Body:
    """The bytes of a file from an offset on."""

    start: int
    """Offset of the first byte: the one asked for, or 0 if the source can only start there."""
    size: int | None
    """Bytes of the whole file, if the source says so."""
    chunks: Iterator[bytes]


class Source(Protocol):
    """Gives files. It does not retry; its caller does."""

    def open(self, file: Remote, offset: int = 0) -> AbstractContextManager[Body]:
        """Open a file at an offset. Raises Unavailable or Refused, also while its chunks are read."""

    def measure(self, file: Remote) -> Remote:
        """Return a file with the size and checksums that the source can tell; raises Unavailable or Refused."""
        return file


class TransferError(Exception):
    """A transfer failed. The message has no secret of an address in it, whoever wrote it: it ends up in files too."""

    def __init__(self, message: str):
        super().__init__(redacted(message))


class Unavailable(TransferError):
    """A passing fault, such as a lost connection or a busy server: try again, here or at another mirror."""

    def __init__(self, message: str, after: float | None = None):
        super().__init__(message)
        self.after = after
        """Seconds to wait first, if the server says so."""


class RateLimited(Unavailable):
    """The server has said when it may be asked again, and that is later; nothing was asked."""


class Refused(TransferError):
    """A lasting fault, such as a missing file or a missing permission: trying again does not help."""


class Stopped(Exception):
    """The user ended the transfer, or a fault that affects every file did."""


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds to wait by Retry-After, which holds a number or a date; None without one."""
    try:
        return urllib3.Retry().parse_retry_after(headers["Retry-After"])
    except (KeyError, ValueError, OverflowError, urllib3.exceptions.InvalidHeader):
        return None


@dataclass(frozen=True)
class RetryPolicy:
    """How often a transfer is tried, and how soon again."""

    attempts: int = 8
    """The number of attempts in a row that make no progress, after which it is given up."""
    pause: float = 1.0
    """The longest pause before the second attempt, in seconds; it doubles each time."""
    longest: float = 60.0
    """The longest pause in seconds."""

    def call(
        self,
        action: Callable[[], T],
        stopping: threading.Event | None = None,
        reached: Callable[[], int] = lambda: 0,
    ) -> T:
        """Return the action's result; try again while it raises Unavailable, and raise the last error in the end.

        Each pause is random, up to a bound that doubles, so that many clients that failed together do not return
        together.

        Args:
            stopping: set it to end the waiting; Stopped is raised then.
            reached: returns how far the action has come; coming further than before resets the count of attempts.
        """
        furthest, rested = reached(), 0.0
        stopping = stopping or threading.Event()
        backoff = tenacity.wait_random_exponential(self.pause, self.longest)

        def count(state: tenacity.RetryCallState) -> None:
            nonlocal furthest, rested
            error = state.outcome.exception()
            if reached() > furthest:
                furthest, rested, state.attempt_number = reached(), 0.0, 1
            rested += error.after or 0
            # An attempt that only waited for a busy server does not count.
            state.attempt_number -= isinstance(error, RateLimited)

        def wait(state: tenacity.RetryCallState) -> float:
            after = state.outcome.exception().after
            return backoff(state) if after is None else after and after + backoff(state)

        def once() -> T:
            if stopping.is_set():
                raise Stopped
            return action()

        return tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(Unavailable),
            after=count,
            wait=wait,
            stop=tenacity.stop_any(tenacity.stop_after_attempt(self.attempts), lambda state: rested > LONGEST_WAIT),
            sleep=stopping.wait,
            reraise=True,
        )(once)
