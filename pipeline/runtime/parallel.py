"""What works beside the main thread: processes that end when it does, and one thread that is an item ahead."""

import concurrent.futures
import contextlib
import functools
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")
R = TypeVar("R")


_processors = 0
"""How many processors this process is to use of those that it may; 0: all."""


def default_workers() -> int:
    """As many as this process may use processors."""
    if _processors:
        return _processors
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def limit_processors(number: int) -> None:
    """Let this process count on so many processors: others are at work on those that it may use too."""
    global _processors
    _processors = number


def map_in_processes(
    function: Callable[..., R], items: Sequence[T], workers: int, at_once: int = 1, shared: tuple = ()
) -> Iterator[R]:
    """`function` of each item, in the order of the items, from `workers` fresh processes.

    `at_once` items go to a process together, which counts where they are small. Few items are under way at a time, so
    that a slow reader of the results does not fill the memory. A process has one thread of BLAS: with a thread for
    every processor in each of them they wait for one another, for most of the time. `shared` are arguments before the
    item; a process gets them once, however large they are.
    """
    if workers <= 1 or len(items) <= 1:
        yield from map(functools.partial(function, *shared), items)
        return
    # Fresh processes: a fork of one with threads (Arrow has some) can hang.
    context = multiprocessing.get_context("spawn")
    with _silent_tracker(), _deaf_to_terminals():
        executor = concurrent.futures.ProcessPoolExecutor(workers, context, _prepare, (os.getpid(), shared))
    with executor as pool:
        under_way: list[concurrent.futures.Future[list[R]]] = []
        try:
            for start in range(0, len(items), at_once):
                with _deaf_to_terminals():  # the first call starts the processes
                    under_way.append(pool.submit(_each, function, items[start : start + at_once]))
                if len(under_way) >= 8 * workers:
                    yield from under_way.pop(0).result()
            while under_way:
                yield from under_way.pop(0).result()
        finally:
            for future in under_way:
                future.cancel()


class Died(NamedTuple):
    """What `stream_from_processes` yields in place of what a process would have yielded that has died."""

    status: int | None
    """Exit status; the negative number of a signal."""


def stream_from_processes(
    function: Callable[..., Iterator[R]], items: Sequence[T], workers: int, shared: tuple = ()
) -> Iterator[tuple[int, R | Died]]:
    """What `function` yields for each item, with the item's number, as it comes from `workers` fresh processes.

    What one item yields comes in its order, and between it what others yield. A process waits until what it has yielded
    is taken. One that dies, as decoders of damaged files may, ends its item with `Died`, and another one goes on.
    Arguments are as of `map_in_processes`.
    """
    if workers <= 1 or len(items) <= 1:
        for number, item in enumerate(items):
            for value in function(*shared, item):
                yield number, value
        return
    context = multiprocessing.get_context("spawn")
    at_work: dict[Any, tuple[Any, int]] = {}
    numbers = iter(range(len(items)))

    def start() -> None:
        if (number := next(numbers, None)) is None:
            return
        ours, theirs = context.Pipe()
        with _silent_tracker(), _deaf_to_terminals():
            process = context.Process(
                target=_answer, args=(theirs, function, (os.getpid(), shared), items[number]), daemon=True
            )
            process.start()
        theirs.close()
        at_work[ours] = process, number

    def next_item(ours: Any, process: Any) -> None:
        if (number := next(numbers, None)) is None:
            ours.send(None)
            del at_work[ours]
            process.join()
        else:
            ours.send((items[number],))
            at_work[ours] = process, number

    try:
        for _ in range(min(workers, len(items))):
            start()
        while at_work:
            for ours in multiprocessing.connection.wait(list(at_work)):
                process, number = at_work[ours]
                try:
                    kind, value = ours.recv()
                except (EOFError, ConnectionError):
                    process.join()
                    del at_work[ours]
                    yield number, Died(process.exitcode)
                    start()
                    continue
                if kind == "error":
                    raise value
                if kind == "end":
                    next_item(ours, process)
                else:
                    yield number, value
    finally:
        for process, _ in at_work.values():
            process.terminate()
            process.join()


def _answer(connection: Any, function: Callable[..., Iterator[R]], prepared: tuple[int, tuple], item: T) -> None:
    """In a process of `stream_from_processes`: work on one item after the other."""
    _prepare(*prepared)
    with contextlib.suppress(BrokenPipeError):
        try:
            asked: tuple[T] | None = (item,)
            while asked is not None:
                for value in function(*_shared, *asked):
                    connection.send(("value", value))
                connection.send(("end", None))
                asked = connection.recv()
        except Exception as error:
            connection.send(("error", error))


def prefetch(items: Iterator[T], depth: int = 1) -> Iterator[T]:
    """The same items, none of them None, made in a thread while those before are in use: at most `depth` wait."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        upcoming = deque(pool.submit(next, items, None) for _ in range(depth))
        while (item := upcoming.popleft().result()) is not None:
            upcoming.append(pool.submit(next, items, None))
            yield item


@contextlib.contextmanager
def _silent_tracker() -> Iterator[None]:
    """Start multiprocessing's tracker of resources without its warning that it cleared up after a stopped process."""
    before = os.environ.get("PYTHONWARNINGS")
    os.environ["PYTHONWARNINGS"] = ",".join([*([before] if before else []), "ignore:resource_tracker"])
    try:
        yield
    finally:
        del os.environ["PYTHONWARNINGS"]
        if before is not None:
            os.environ["PYTHONWARNINGS"] = before


@contextlib.contextmanager
def _deaf_to_terminals() -> Iterator[None]:
    """Start processes that do not hear what a terminal sends to all, such as Ctrl-C: they end when this one does."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_shared: tuple = ()
"""In a process that `map_in_processes` started: the arguments that it shares."""


def _each(function: Callable[..., R], items: Sequence[T]) -> list[R]:
    return [function(*_shared, item) for item in items]


def _prepare(parent: int, shared: tuple) -> None:
    global _shared
    _shared = shared
    import numpy  # noqa: F401 - brings the BLAS whose threads are to be few
    import threadpoolctl

    threadpoolctl.threadpool_limits(1)
    _end_with_parent(parent)


def _end_with_parent(parent: int) -> None:
    """Watch for the parent's death: a killed parent cannot tell its workers to stop."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
