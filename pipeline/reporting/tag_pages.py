"""Pages of tags over time: one of each video, and an index of several with a search; HTML that needs no other file."""

import base64
import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray

from pipeline.artifacts.file_names import FileNames
from pipeline.artifacts.files import atomic_file
from pipeline.inference.answers.tag_files import PAGE, check_folder
from pipeline.inference.windows.intervals import Interval
from pipeline.inference.windows.times import Windows, WindowSettings
from pipeline.reporting import numbers
from pipeline.reporting.palette import CSS

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


@dataclass(frozen=True)
class Tagging:
    """What all videos have in common."""

    model: str
    """The name of what predicts."""
    names: Sequence[str]
    """Of the classes."""
    settings: WindowSettings
    thresholds: NDArray[np.floating]
    """From which score on a class is said, [V]."""


class TagPages:
    """Pages on their way; made by `tag_pages`."""

    def __init__(self, path: Path, several: bool, tagging: Tagging):
        self.path = path
        self._folder = path.with_suffix("") if several else None
        self._tagging = tagging
        self._names = FileNames()
        self._listed: list[dict[str, Any]] = []
        self._environment = _environment()

    def add(self, video: SeenVideo) -> None:
        """Write a video's page."""
        if self._folder is None:
            self._write(self.path, "tag_page.html", "tag_page.js", _page(video, self._tagging, None))
            return
        name = self._names.of(video.id, PAGE)
        index = quote(f"../{self.path.name}")
        self._write(self._folder / name, "tag_page.html", "tag_page.js", _page(video, self._tagging, index))
        self._listed.append(_listed(video, self._tagging, quote(f"{self._folder.name}/{name}")))

    def write(self) -> None:
        """Write the index, if there are several videos and any could be read."""
        if self._listed:
            title = f"{len(self._listed)} videos"
            context = {"title": title, "model": self._tagging.model, "videos": self._listed}
            self._write(self.path, "tag_index.html", "tag_index.js", context)

    def _write(self, path: Path, template: str, script: str, context: dict[str, Any]) -> None:
        text = Path(__file__).with_name(script).read_text(encoding="utf-8")
        styles = (CSS, CSS.with_name("tags.css"))
        common = {
            "style": Markup("".join(each.read_text(encoding="utf-8") for each in styles)),
            "script": Markup(text),
            "script_hash": base64.b64encode(hashlib.sha256(text.encode()).digest()).decode(),
        }
        page = self._environment.get_template(template).render(common | context).strip() + "\n"
        with atomic_file(path) as temporary:
            temporary.write_text(page, encoding="utf-8")


@contextlib.contextmanager
def tag_pages(path: Path, several: bool, tagging: Tagging) -> Iterator[TagPages]:
    """Yield the pages at a path: the page of a video; or an index, and each video's page in a folder of its name.

    Raises:
        StageError: the folder has other files than pages and subtitles.
        OSError: the system refuses to write.
    """
    if several:
        check_folder(path, "--page")
    yield TagPages(path, several, tagging)


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


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,  # the names of labels and videos are not to be trusted
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= numbers.FILTERS | {"clock": clock}
    return environment


def _page(video: SeenVideo, tagging: Tagging, index: str | None) -> dict[str, Any]:
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


def _listed(video: SeenVideo, tagging: Tagging, address: str) -> dict[str, Any]:
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
