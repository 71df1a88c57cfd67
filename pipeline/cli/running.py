"""How a stage is run, and ends."""

import os
import select
import sys
from collections.abc import Callable

from pipeline.config import ConfigError
from pipeline.config.errors import StageError


def run_stage(main: Callable[[], None]) -> None:
    """Run a stage's main function; errors that the user can mend end it with their message.

    The status is 2 for settings that cannot be, as for unknown flags, and else 1: also, without a message, at the end
    of what reads its output, `head` for one.
    """
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
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python writes the rest there when it ends
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit("stopped; the same command goes on from here")


def _output_is_cut() -> bool:
    """Whether the standard output is a pipe that nobody reads from any more."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(events & select.POLLERR for _, events in poll.poll(0))
