"""Find the videos that a host's ids mean, and the ids that are nearly one."""

import re
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.config.errors import StageError
from pipeline.config.wording import counted
from pipeline.submission.like_classes import with_near
from pipeline.submission.like_sample import Sample

_SUFFIX = re.compile(r"\.[A-Za-z][A-Za-z0-9]{1,4}$")
_WINDOW = re.compile(r"_\d+$")


def find_rows(sample: Sample, ids: Sequence[str]) -> NDArray[np.int64]:
    """Return the place in `ids` of each id of the sample, int64 [n].

    Raises StageError if the sample has ids that are none of them; the message counts them, and shows near misses.
    """
    places = {video: place for place, video in enumerate(ids)}
    missing = [video for video in sample.ids if video not in places]
    if missing:
        near = near_misses(missing[:5], ids)
        windows = [video for video in near if _loose(video) != _loose(near[video])]
        remedy = "predict the split that the host asks for, see --split"
        if windows:
            remedy = f"{windows[0]!r} looks like a window of a video, and a row is written for a whole video only"
        elif near:
            remedy = "ingest the videos under the host's ids, or choose another split"
        shown = with_near([(video, near[video]) if video in near else (video,) for video in missing[:5]], len(missing))
        raise StageError(
            f"{sample.path}: {len(missing)} of its {counted(len(sample.ids), 'id')} not predicted: {shown}; {remedy}"
        )
    return np.array([places[video] for video in sample.ids], np.int64)


def near_misses(missing: Sequence[str], there: Iterable[str]) -> dict[str, str]:
    """Return, for some of the few ids that are missing, one of those that are there.

    It differs by a suffix, a folder, case, zeros in front, or the number of a window.
    """
    wanted: dict[str, list[str]] = {}
    for video in missing:
        for form in {_loose(video), _WINDOW.sub("", _loose(video))}:
            wanted.setdefault(form, []).append(video)
    found: dict[str, str] = {}
    for video in there:
        for other in wanted.get(_loose(video), ()):
            if _loose(other) == _loose(video) or other not in found:
                found[other] = video
    return found


def _loose(video: str) -> str:
    name = video.replace("\\", "/").strip().rpartition("/")[2]
    return _SUFFIX.sub("", name).casefold().lstrip("0")
