"""Intervals as subtitles that players show: WebVTT and SubRip."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple


class Cue(NamedTuple):
    """What is shown between two times, in seconds."""

    start: float
    end: float
    lines: list[str]
    """A line for each label, the surest first."""


def cues_of(intervals: Sequence[dict[str, Any]]) -> Iterator[Cue]:
    """Yield the cues of a video's intervals, as `interval_values` tells them; no two cues are at one time.

    A new one begins whenever a label comes or goes, since players stack cues of one time in an order of their own.
    """
    times = sorted({each[side] for each in intervals for side in ("start", "end")})
    for start, end in itertools.pairwise(times):
        shown = [each for each in intervals if each["start"] <= start and end <= each["end"]]
        if shown:
            shown.sort(key=lambda each: -each["score"])
            yield Cue(start, end, [f"{_one_line(each['name'])} {100 * each['score']:.0f} %" for each in shown])


def web_vtt(intervals: Sequence[dict[str, Any]]) -> str:
    """Return the text of a WebVTT file. Source: W3C, WebVTT."""
    blocks = ["WEBVTT"]
    for cue in cues_of(intervals):
        text = "\n".join(cue.lines).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        blocks.append(f"{clock(cue.start, '.')} --> {clock(cue.end, '.')}\n{text}")
    return "\n\n".join(blocks) + "\n"


def sub_rip(intervals: Sequence[dict[str, Any]]) -> str:
    """Return the text of a SubRip file. It has no escapes, so that < and > become ‹ and ›: players read tags there."""
    blocks = []
    for number, cue in enumerate(cues_of(intervals), 1):
        text = "\n".join(cue.lines).replace("<", "‹").replace(">", "›")
        blocks.append(f"{number}\n{clock(cue.start, ',')} --> {clock(cue.end, ',')}\n{text}\n")
    return "\n".join(blocks)


def clock(seconds: float, point: str) -> str:
    """Return a time as hours, minutes, seconds and thousandths: 01:02:03.456."""
    thousandths = round(1000 * seconds)
    minutes, rest = divmod(thousandths, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}{point}{rest % 1000:03}"


def _one_line(name: str) -> str:
    """Return a name without ends of lines: an empty line would end a cue."""
    return " ".join(name.split())
