"""Read the videos of one predict ahead of a model, and note those that are known already or cannot be read."""

from collections import deque
from collections.abc import Callable, Iterator

import numpy as np

from pipeline.artifacts.failures import EXHAUSTED
from pipeline.inference.given.videos import OwnVideo
from pipeline.inputs.reading.own_records import UnreadableVideo
from pipeline.packing.sources.source import UnreadableFeature


def read_videos(
    found: Iterator[OwnVideo | UnreadableVideo],
    is_known: Callable[[OwnVideo], bool],
    waiting: deque[tuple[OwnVideo | UnreadableVideo, bool]],
    take: Callable[[np.ndarray], np.ndarray] = lambda frames: frames,
) -> Iterator[np.ndarray]:
    """Yield what is taken of the frames of each video that is to be predicted; note all videos, and whether they are.

    Args:
        found: the videos; those that are unreadable are noted.
        is_known: whether a video need not be predicted.
        waiting: gets each video, and whether its frames are yielded.
        take: makes what is kept of a video's frames [n,F]; all of them without it.
    """
    for each in found:
        if isinstance(each, UnreadableVideo):
            waiting.append((each, False))
            continue
        let_go = each._replace(read=_let_go)  # what is read already may be large
        try:
            if is_known(each):
                waiting.append((let_go, False))
                continue
            frames = take(each.read())
        except UnreadableFeature as error:
            waiting.append((UnreadableVideo(error.where, str(error)), False))
            continue
        except OSError as error:
            if error.errno in EXHAUSTED:
                raise
            waiting.append((UnreadableVideo(each.where, f"the file cannot be read: {error}"), False))
            continue
        waiting.append((let_go, True))
        yield frames


def _let_go() -> np.ndarray:
    """Stand for the reading of a video that need not be read any more."""
    raise ValueError("the video is read already")
