"""What a page of tags shows of a video: curves, bars, marks and pictures, as plain values for its template."""

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.inference.answers.answering import Answer
from pipeline.inference.windows.intervals import Interval
from pipeline.inference.windows.times import Windows, WindowSettings
from pipeline.reporting import numbers

Thumbnail = tuple[float, bytes]
"""A time in seconds, and a JPEG file."""
_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 86400)
_TICKS, _POINTS, _PICTURES, _MARKS = 6, 1000, 24, 5
"""The most steps of the ruler, points of a curve, thumbnails, and frames that are marked. Every second
thumbnail stands in the strip; all of them are shown at their times."""
_SHOWN = 3
"""How many tags are shown where none is sure enough."""
_FAR = 1.25
"""A marked frame counts at least this many times as much as the mean."""


class SeenVideo(NamedTuple):
    """A video and what a model says of it over time."""

    id: str
    where: str
    """The file, and the entry in it."""
    windows: Windows
    scores: NDArray[np.floating]
    """Of each class in each window, [W,V]."""
    intervals: Sequence[Interval]
    shares: NDArray[np.floating] | None = None
    """How much each frame counts, [n], in all 1; None if nothing tells."""
    thumbnails: Sequence[Thumbnail] = ()

    @classmethod
    def of(cls, answer: Answer) -> "SeenVideo":
        """Return what is seen of a video whose windows have been scored; its pictures are made now."""
        video, windows, scores, shares = answer.scored
        return cls(video.id, video.where, windows, scores, answer.intervals, shares, video.thumbnails())


@dataclass(frozen=True)
class Tagging:
    """What all videos have in common."""

    model: str
    """The name of what predicts."""
    names: Sequence[str]
    """Of the classes."""
    settings: WindowSettings
    thresholds: NDArray[np.floating]
    """From which score on a class is assigned, [V]."""


def clock(seconds: float) -> str:
    """Return a time as a player shows it, with tenths where there are some: 0:05, 0:07.5, 1:02:03."""
    tenths = round(10 * seconds)
    minutes, rest = divmod(tenths, 600)
    whole = f"{minutes // 60}:{minutes % 60:02}" if minutes >= 60 else f"{minutes}"
    return f"{whole}:{rest // 10:02}" + (f".{rest % 10}" if rest % 10 else "")


def most_counting(shares: NDArray[np.floating]) -> list[int]:
    """Return the frames with the largest shares [n], at most a few, in order; none is near another that has more."""
    near = max(1, len(shares) // 25)
    found: list[int] = []
    for frame in np.argsort(-shares, kind="stable").tolist():
        if len(found) == _MARKS or shares[frame] < _FAR * shares.mean():
            break
        if all(abs(frame - other) > near for other in found):
            found.append(frame)
    return sorted(found)


def page_values(video: SeenVideo, tagging: Tagging, index: str | None) -> dict[str, Any]:
    """Return what the page of a video is made of; `index` is the address of the index, if there is one."""
    windows, seconds = video.windows, video.windows.seconds
    by_peak = sorted(video.intervals, key=lambda each: -each.score)
    labels = list(dict.fromkeys(each.label for each in by_peak))
    said = f"{len(labels)} tag{'s' * (len(labels) != 1)}" if labels else ""
    if not labels:
        labels = np.argsort(-video.scores.max(axis=0), kind="stable")[:_SHOWN].tolist()
    best = int(video.scores[:, labels[0]].argmax())
    return {
        "index": index,
        "title": video.id,
        "where": video.where,
        "model": tagging.model,
        "said": said,
        "seconds": seconds,
        "window": windows.length / windows.fps,
        "every": tagging.settings.step / windows.fps,
        "step": max((each for each in _STEPS if each <= seconds / 200), default=_STEPS[0]),
        "at": round(float(windows.middles()[best]), 3),
        "thumbnails": _thumbnails(video.thumbnails, seconds),
        "tags": [_tag(label, video, tagging) for label in labels],
        "weights": _weights(video),
        "ticks": list(_ticks(seconds)),
        "rows": [
            {**each._asdict(), "name": tagging.names[each.label]}
            for each in sorted(video.intervals, key=lambda each: (each.start, -each.score))
        ],
        "told": {
            "seconds": seconds,
            "edges": windows.edges().round(3).tolist(),
            "scores": [video.scores[:, label].astype(float).round(6).tolist() for label in labels],
        },
    }


def _tag(label: int, video: SeenVideo, tagging: Tagging) -> dict[str, Any]:
    seconds, scores, name = video.windows.seconds, video.scores[:, label], tagging.names[label]
    bound = float(tagging.thresholds[label])
    return {
        "name": name,
        "best": float(scores.max()),
        "points": _points(video.windows.middles() / seconds, scores),
        "bound": round(100 * (1 - bound), 1) if bound <= 1 else None,
        "intervals": [
            {
                "left": round(100 * each.start / seconds, 3),
                "width": round(100 * (each.end - each.start) / seconds, 3),
                "peak": round(each.peak, 3),
                "words": f"{name} from {clock(each.start)} to {clock(each.end)}, up to {numbers.percent(each.score)} "
                f"at {clock(each.peak)}",
            }
            for each in video.intervals
            if each.label == label
        ],
    }


def _weights(video: SeenVideo) -> dict[str, Any] | None:
    shares = video.shares
    if shares is None or not shares.size or np.ptp(shares) <= 1e-3 * shares.max():
        return None
    times = (np.arange(len(shares)) + 0.5) / video.windows.fps
    most = [
        {
            "left": round(100 * times[frame] / video.windows.seconds, 3),
            "at": round(float(times[frame]), 3),
            "words": f"the frame at {clock(times[frame])} counts {shares[frame] / shares.mean():.1f} times the mean",
        }
        for frame in most_counting(shares)
    ]
    return {"points": _points(times / video.windows.seconds, shares / shares.max()), "most": most}


def _points(places: NDArray[np.floating], values: NDArray[np.floating]) -> str:
    """Return the points of a curve in a field of 1000 by 100, from its left end to its right.

    Args:
        places: from 0 to 1, ascending.
        values: from 0 to 1. Of many points that lie together the highest is shown.
    """
    starts = np.unique(np.linspace(0, len(values), min(len(values), _POINTS), endpoint=False).astype(int))
    across = 1000 * np.add.reduceat(places, starts) / np.diff(starts, append=len(values))
    down = 100 * (1 - np.maximum.reduceat(values, starts))
    across, down = np.r_[0, across, 1000], np.r_[down[0], down, down[-1]]
    return "L".join(f"{x:.1f} {y:.1f}" for x, y in zip(across, down))


def _thumbnails(given: Sequence[Thumbnail], seconds: float) -> list[dict[str, Any]]:
    places = np.linspace(0, len(given) - 1, min(len(given), _PICTURES)).round().astype(int)
    return [
        {"at": round(min(at, seconds), 3), "source": _source(picture), "words": f"the picture at {clock(at)}"}
        for at, picture in (given[place] for place in places)
    ]


def _source(picture: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(picture).decode()}"


def _ticks(seconds: float) -> Iterator[dict[str, Any]]:
    step = next((each for each in _STEPS if seconds / each <= _TICKS), _STEPS[-1])
    times = np.arange(0, seconds - 0.6 * step, step)
    for time in times.tolist():
        yield {"seconds": time, "left": round(100 * time / seconds, 3), "last": False}
    yield {"seconds": seconds, "left": 100, "last": True}


def entry_values(video: SeenVideo, tagging: Tagging, address: str) -> dict[str, Any]:
    """Return what the index says of a video whose page has an address."""
    best: dict[int, Interval] = {}
    for each in sorted(video.intervals, key=lambda each: -each.score):
        best.setdefault(each.label, each)
    tags = [{**each._asdict(), "name": tagging.names[each.label]} for each in best.values()]
    peak = next(iter(best.values())).peak if best else video.windows.seconds / 2
    nearest = min(video.thumbnails, key=lambda each: abs(each[0] - peak), default=None)
    return {
        "id": video.id,
        "address": address,
        "seconds": video.windows.seconds,
        "text": " ".join([video.id, *(tag["name"] for tag in tags)]),
        "tags": tags,
        "picture": _source(nearest[1]) if nearest else None,
    }
