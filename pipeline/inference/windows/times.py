"""Which windows of a video are scored: from seconds to frames and back; numbers alone."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.config.errors import ConfigError


@dataclass(frozen=True)
class Windows:
    """The windows of one video, all of them equally long; only a video that is shorter has a shorter one."""

    starts: NDArray[np.int64]
    """The first frame of each, ascending, [W]; W is at least 1."""
    length: int
    """Number of frames of each."""
    num_frames: int
    """Number of frames of the video."""
    fps: float
    """Frames of a second."""

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def seconds(self) -> float:
        """The length of the video."""
        return self.num_frames / self.fps

    def middles(self) -> NDArray[np.float64]:
        """Return the time in the middle of each window, in seconds, [W]."""
        return (self.starts + self.length / 2) / self.fps

    def edges(self) -> NDArray[np.float64]:
        """Return the times between which each window tells of the video, in seconds, [W+1].

        A window tells of the time that is nearer to its own middle than to any other's. So these times divide the video
        without gaps: the first is 0, the last the video's end.
        """
        middles = self.middles()
        return np.concatenate([[0.0], (middles[1:] + middles[:-1]) / 2, [self.seconds]])


@dataclass(frozen=True)
class WindowSettings:
    """How long windows are, and how far apart they begin; where one of both is None, windows overlap by half."""

    window: float | None
    """Length in seconds."""
    every: float | None
    """From the beginning of one to that of the next, in seconds."""
    fps: float = 1.0
    """Frames of a second."""

    def __post_init__(self) -> None:
        if self.step > self.length:
            raise ConfigError(
                f"--every {self.every:g} is longer than --window {self.window:g}: frames between would not be seen"
            )

    @property
    def length(self) -> int:
        """The frames of a window."""
        return self._frames("window", 2 * (self.every or 0) if self.window is None else self.window)

    @property
    def step(self) -> int:
        """The frames from the beginning of one window to that of the next."""
        return self._frames("every", (self.window or 0) / 2 if self.every is None else self.every)

    def of(self, num_frames: int) -> Windows:
        """Return the windows of a video of `num_frames`, at least 1; the last one ends with the video.

        Where the step does not divide the rest, the last window begins earlier than a step after the one before.
        """
        length = min(self.length, num_frames)
        starts = np.arange(0, num_frames - length + 1, self.step)
        if starts[-1] + length < num_frames:
            starts = np.append(starts, num_frames - length)
        return Windows(starts, length, num_frames, self.fps)

    def _frames(self, flag: str, seconds: float) -> int:
        frames = round(seconds * self.fps)
        if frames < 1:
            raise ConfigError(
                f"--{flag} of {seconds:g} seconds is less than a frame at --fps {self.fps:g}: give at least "
                f"{1 / self.fps:g} seconds, or the frames of a second that the features have"
            )
        return frames
