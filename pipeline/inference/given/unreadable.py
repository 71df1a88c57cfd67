"""Tell which videos cannot be read: the first of each reason as they are met, and in the end how many in all."""

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from pipeline.config.errors import StageError
from pipeline.config.wording import counted
from pipeline.inputs.reading.own_records import UnreadableVideo

_NAMED = 20
"""Videos that are named, of those with one reason."""


class Unreadable:
    """Counts what cannot be read, and names it."""

    def __init__(self) -> None:
        self._reasons: Counter[str] = Counter()

    def tell(self, fault: UnreadableVideo, write: Callable[..., Any] = print) -> None:
        """Name what cannot be read, unless many with this reason are named already."""
        self._reasons[fault.reason] += 1
        if self._reasons[fault.reason] <= _NAMED:
            write(str(fault), file=sys.stderr)

    def end(self, good: int, damaged: Sequence[str], needs: str) -> None:
        """Tell how many are not named, and which files are damaged; raise StageError if not all is well.

        Args:
            good: the number of videos that could be read.
            damaged: what could not be read to its end, and counts as good.
            needs: what the model needs, in words.
        """
        for reason, count in self._reasons.items():
            if count > _NAMED:
                print(f"and {count - _NAMED} more: {reason}", file=sys.stderr)
        for told in damaged:
            print(told, file=sys.stderr)
        if bad := self._reasons.total():
            told = counted(good + bad, "video or file", "videos or files")
            raise StageError(f"{bad} of {told} could not be read: see above. The model needs {needs}")
        if damaged:
            told = counted(len(damaged), "file is", "files are")
            raise StageError(f"{told} damaged: see above; copy or make them again")
