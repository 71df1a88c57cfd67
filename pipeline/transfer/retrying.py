"""How often something is tried again that may work the next time, and how long is waited before."""

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import tenacity

from pipeline.transfer.source import RateLimited, Unavailable

T = TypeVar("T")

LONGEST_WAIT = 600.0
"""Seconds: a server that asks to wait for longer, at once or bit by bit, is given up."""


class Stopped(Exception):
    """The user, or a fault that concerns every file, ended it."""


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
        furthest, fruitless, rested = reached(), 0, 0.0
        stopping = stopping or threading.Event()

        def count(state: tenacity.RetryCallState) -> None:
            nonlocal furthest, fruitless, rested
            error = state.outcome.exception()
            if reached() > furthest:
                furthest, fruitless, rested = reached(), 0, 0.0
            rested += error.after or 0
            # Who merely waits with others for a busy server has not tried.
            fruitless += not isinstance(error, RateLimited)

        def exhausted(state: tenacity.RetryCallState) -> bool:
            return fruitless >= self.attempts or rested > LONGEST_WAIT

        def wait(state: tenacity.RetryCallState) -> float:
            after = state.outcome.exception().after
            backoff = random.uniform(0, min(self.longest, self.pause * 2 ** max(0, fruitless - 1)))
            return backoff if after is None else after and after + backoff

        def once() -> T:
            if stopping.is_set():
                raise Stopped
            return action()

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(Unavailable),
            after=count,
            wait=wait,
            stop=exhausted,
            sleep=stopping.wait,
            reraise=True,
        )
        return retrying(once)
