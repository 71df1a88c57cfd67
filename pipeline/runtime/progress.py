"""Progress bars: drawn again in place on a terminal; elsewhere, as in a log, a line a minute and one at the end."""

import sys
import time
from typing import Any

from tqdm import tqdm

from pipeline.runtime.output import is_terminal

_EVERY = 60.0
"""Seconds from line to line where there is no terminal."""


def progress_bar(*arguments: Any, **settings: Any) -> tqdm:
    """Return a bar as `tqdm` does, with its arguments."""
    return _kind()(*arguments, **settings)


def progress_of_reading(stream: Any, total: int, **settings: Any) -> Any:
    """Return a context manager that yields the stream with a bar over its `total` bytes; settings are those of tqdm."""
    return _kind().wrapattr(stream, "read", total, **settings)


def _kind() -> type[tqdm]:
    return tqdm if is_terminal(sys.stderr) else _Lines


class _Lines(tqdm):
    """A bar that prints lines."""

    def __init__(self, *arguments: Any, **settings: Any):
        self._printed = time.monotonic()
        super().__init__(*arguments, **settings | {"mininterval": _EVERY})

    def display(self, msg=None, pos=None):
        if (now := time.monotonic()) >= self._printed + _EVERY:
            self._printed = now
            self._print()

    def clear(self, nolock=False):
        """Do nothing: what is printed stays."""

    def close(self):
        if not getattr(self, "disable", True) and self.leave:
            self._print()
        self.leave, self._printed = False, float("inf")  # nothing else
        super().close()

    @classmethod
    def write(cls, s, file=None, end="\n", nolock=False):
        print(s, file=file, end=end)

    def _print(self) -> None:
        self.fp.write(f"{self}\n")
        self.fp.flush()
