"""Merge neighboring windows that a class is assigned of to intervals; numbers alone."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.inference.windows.times import Windows


class Interval(NamedTuple):
    """When a class is seen in a video; times are seconds from its beginning."""

    label: int
    start: float
    end: float
    peak: float
    """The middle of the window with the highest score."""
    score: float
    """The highest score."""


def find_intervals(
    scores: NDArray[np.floating], windows: Windows, thresholds: NDArray[np.floating], top: int | None = None
) -> list[Interval]:
    """Return the intervals of a video, by their start, those of one start by descending score.

    Args:
        scores: of each class in each window, [W,V].
        windows: of the video; each tells of the time between two of its `edges`.
        thresholds: from which score on a class is assigned, [V].
        top: only the classes with this many highest scores; None for all that are assigned.
    """
    edges, middles = windows.edges(), windows.middles()
    said = scores >= thresholds
    classes = np.flatnonzero(said.any(axis=0))
    if top is not None:
        classes = classes[np.argsort(-scores[:, classes].max(axis=0), kind="stable")[:top]]
    found = []
    for label in classes.tolist():
        turns = np.flatnonzero(np.diff(said[:, label], prepend=False, append=False))
        for first, stop in turns.reshape(-1, 2).tolist():
            best = first + int(scores[first:stop, label].argmax())
            times = edges[first], edges[stop], middles[best]
            found.append(Interval(label, *map(float, times), float(scores[best, label])))
    return sorted(found, key=lambda each: (each.start, -each.score, each.label))


def interval_values(interval: Interval, names: Sequence[str]) -> dict[str, Any]:
    """Return what is told of an interval: names, times to a thousandth of a second."""
    times = {name: round(getattr(interval, name), 3) for name in ("start", "end", "peak")}
    return {"label": interval.label, "name": names[interval.label], **times, "score": round(interval.score, 6)}
