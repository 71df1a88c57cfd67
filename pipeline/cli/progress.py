"""Tell which stage of how many runs, and how long each of them took."""

import time
from collections.abc import Callable


class StageProgress:
    """Counts the stages of a whole run. `seconds` maps each stage that ended to the time that it took."""

    def __init__(self, stages: int, clock: Callable[[], float] = time.monotonic):
        self._stages, self._clock = stages, clock
        self._begun = self._start = clock()
        self._number = 0
        self._running = ""
        self.seconds: dict[str, float] = {}

    def begin(self, name: str) -> None:
        """Print the time of the stage before, and that this one begins."""
        self.end()
        self._number, self._running, self._begun = self._number + 1, name, self._clock()
        print(f"\nStage {self._number} of {self._stages}: {name}", flush=True)

    def end(self) -> None:
        """Print the time of the stage that ran, if one did."""
        if self._running:
            self.seconds[self._running] = seconds = self._clock() - self._begun
            print(f"in {minutes(seconds)}", flush=True)
        self._running = ""

    @property
    def whole(self) -> float:
        """Seconds since the first stage began."""
        return self._clock() - self._start


def minutes(seconds: float) -> str:
    """Return a time as 0:05, 12:30 or 1:02:03."""
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"
