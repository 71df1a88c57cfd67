"""Run a stage, and end it with a message and an exit status."""

import os
import select
import sys
from collections.abc import Callable

from pipeline.config import ConfigError
from pipeline.config.errors import StageError
from pipeline.runtime.output import shown_output


@shown_output()
def run_stage(main: Callable[[], None]) -> None:
    """Run a stage's main function; an error that the user can mend ends the process with its message.

    The exit status is 2 for wrong settings, as for unknown flags, and 1 for other errors. It is 1 too, without a
    message, when the program that reads the output, such as `head`, has ended.
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
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # when Python ends, it writes the rest there
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit("stopped; the same command goes on from here")


def _output_is_cut() -> bool:
    """Return whether the standard output is a pipe that no process reads from any more."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(events & select.POLLERR for _, events in poll.poll(0))
