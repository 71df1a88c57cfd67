"""What a source of files offers, how it fails, and how often it is asked again."""

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
"""Seconds: a server that asks to wait for longer, at once or bit by bit, is given up."""


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

    def open(self, file: Remote, offset: int = 0) -> AbstractContextManager[Body]:
        """Its bytes from an offset on; raises Unavailable or Refused, also while its chunks are read."""

    def measure(self, file: Remote) -> Remote:
        """A file of unknown size with what can be known before it is read; raises Unavailable or Refused."""
        return file


class TransferError(Exception):
    """A transfer failed. The message has no secret of an address in it, whoever wrote it: it ends up in files too."""

    def __init__(self, message: str):
        super().__init__(redacted(message))


class Unavailable(TransferError):
    """It did not work this time: a connection lost, a busy server, a stall. Try again, here or at another mirror."""

    def __init__(self, message: str, after: float | None = None):
        super().__init__(message)
        self.after = after
        """Seconds to wait, where the server says so."""


class RateLimited(Unavailable):
    """Nothing was asked: the server has said to somebody when it may be, and that is not yet."""


class Refused(TransferError):
    """It will not work here, however often it is tried: no such file, no right to read it."""


class Stopped(Exception):
    """The user, or a fault that concerns every file, ended it."""


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds that a server asks to wait by Retry-After, a number of them or a date; None where it asks nothing."""
    try:
        return urllib3.Retry().parse_retry_after(headers["Retry-After"])
    except (KeyError, ValueError, OverflowError, urllib3.exceptions.InvalidHeader):
        return None


@dataclass(frozen=True)
class RetryPolicy:
    """How often a transfer is tried, and how soon again."""

    attempts: int = 8
    """In a row that bring nothing new."""
    pause: float = 1.0
    """Seconds before the second of them, at most; doubled each time."""
    longest: float = 60.0
    """Seconds, up to which the pause grows."""

    def call(
        self,
        action: Callable[[], T],
        stopping: threading.Event | None = None,
        reached: Callable[[], int] = lambda: 0,
    ) -> T:
        """The action's result, tried again as long as it raises Unavailable; raises the last of these.

        Pauses are drawn evenly up to a bound that doubles, so that many who failed together don't return together.

        Args:
            stopping: ends the waiting; Stopped is raised then.
            reached: how far the action came; having come further than ever counts as success.
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
            # Who merely waits with others for a busy server has not tried.
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
