"""Run a stage, and end it with a message and an exit status."""

import contextlib
import importlib
import io
import os
import select
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pipeline.artifacts.locks import Busy
from pipeline.cli import failures
from pipeline.config import ConfigError
from pipeline.config.errors import StageError
from pipeline.runtime.output import shown_output
from pipeline.runtime.signals import Stopped
from pipeline.runtime.surroundings import keep_out

_LOCKS_LAST = 120.0
"""Seconds after which the locks of a lost machine are given up: NFS 4 takes 90."""


@shown_output()
def run_stage(main: Callable[[], None]) -> None:
    """Run a stage's main function; an error that the user can mend ends the process with its message.

    The exit status is 2 for wrong settings, as for unknown flags, and 1 for other errors. It is 1 too, without a
    message, when the program that reads the output, such as `head`, has ended. After a signal it is 128 and the
    signal's number: see `pipeline.runtime.signals`.
    """
    keep_out()
    try:
        try:
            main()
        finally:
            sys.stdout.flush()
    except (StageError, ConfigError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, ConfigError) else 1)
    except BrokenPipeError:
        if not _output_is_cut():
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # when Python ends, it writes the rest there
        sys.exit(1)
    except Exception as error:
        told = failures.explain(error, Path(sys.argv[0]).stem)
        if told is None:
            raise
        print(f"error: {told}", file=sys.stderr)
        failures.drop_output()
        sys.exit(1)
    except Stopped as stopped:
        print(stopped.message, file=sys.stderr)
        raise


def call_stage(name: str, arguments: Sequence[str]) -> None:
    """Run a stage inside another one, with a command line of its own; raises whatever its main function raises."""
    main = importlib.import_module(f"pipeline.{name}").main  # only now: stages never import each other
    outer = sys.argv
    sys.argv = [name, *arguments]
    try:
        main()
    finally:
        sys.argv = outer


def call_far(name: str, arguments: Sequence[str]) -> str:
    """Run a stage as a task of a cluster, where nobody sees its bars; return what it prints. Raises as `call_stage`.

    Where a lost node held a lock, its file system may take minutes to notice.
    """
    until = time.monotonic() + _LOCKS_LAST
    while True:
        told = io.StringIO()
        try:
            with contextlib.redirect_stdout(told):
                call_stage(name, arguments)
            return told.getvalue()
        except Busy:
            if time.monotonic() > until:
                raise
            time.sleep(1.0)


def _output_is_cut() -> bool:
    """Return whether the standard output is a pipe that no process reads from any more."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0))
