"""Bring the features of each video together: which videos have them all, and how their frames are aligned."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.config.errors import StageError
from pipeline.config.wording import counted, listed
from pipeline.packing.settings import Align
from pipeline.packing.sources.source import FeatureSource, UnreadableFeature

FEW_FRAMES, FEW_PERCENT = 2, 2.0
"""Streams that differ by at most so many frames, or so many percent of the longer one, are cropped without a word."""
ALIGN = (
    "--align crop cuts them to the shortest, --align resample takes the rows nearest in time to those of the first "
    "feature"
)
"""The remedy for streams that differ by more."""


@dataclass
class Videos:
    """The videos that every feature has."""

    sources: Sequence[FeatureSource]
    """One for each of G features."""
    ids: list[str]
    """N, in the order of the first feature."""
    places: np.ndarray
    """int64 [N,G], the number of each video in each source."""
    lengths: np.ndarray
    """int64 [N], frames once the streams are aligned."""
    align: Align
    """How the streams of a video are made equally long."""

    def take(self, rows: np.ndarray) -> "Videos":
        """Return the videos at these rows."""
        ids = [self.ids[row] for row in rows.tolist()]
        return Videos(self.sources, ids, self.places[rows], self.lengths[rows], self.align)

    def where(self, video: int) -> str:
        """Return where a video's first feature lies, for messages."""
        return self.sources[0].where(int(self.places[video, 0]))

    def frames_told(self, video: int) -> str:
        """Return how many frames each feature of a video has, for messages."""
        places = zip(self.sources, self.places[video].tolist())
        return ", ".join(f"{source.name} {source.lengths[place]}" for source, place in places)

    def read(self, video: int) -> list[np.ndarray]:
        """Read the features of a video, [n,F] each, with as many frames in all of them.

        Raises UnreadableFeature.
        """
        streams = [source.read(place) for source, place in zip(self.sources, self.places[video].tolist())]
        for source, place, stream in zip(self.sources, self.places[video].tolist(), streams):
            if len(stream) != source.lengths[place]:
                raise UnreadableFeature(source.where(place), "the file has changed while it was packed; pack it again")
        return align_streams(streams, int(self.lengths[video]), self.align)


def join_features(sources: Sequence[FeatureSource], align: Align | None) -> tuple[Videos, list[str]]:
    """Return the videos that all features have, and a sentence for each kind of video that is left out.

    Args:
        sources: the features, in the order in which the model gets them.
        align: what to do with streams of unequal length; None crops them where they differ by at most 2 frames or 2 %,
            and refuses others.

    Raises StageError: no video has all features, or the streams of one must not be aligned.
    """
    videos, alone, unequal = match_features(sources, align)
    lacking = [
        f"{counted(len(ids), 'video')} with {sources[one].name} and without {sources[other].name}: {listed(ids)}"
        for (one, other), ids in alone.items()
    ]
    if not videos.ids:
        raise StageError(
            f"no video has all of {', '.join(source.name for source in sources)}: their ids differ. "
            + "; ".join(f"{source.name} has {listed(source.ids)}" for source in sources)
        )
    if len(unequal):
        row = int(unequal[0])
        raise StageError(
            f"the features of {counted(len(unequal), 'video')} differ in their numbers of frames; the first is "
            f"{videos.ids[row]!r} ({videos.where(row)}): {videos.frames_told(row)}. {ALIGN}"
        )
    return videos, lacking


def match_features(
    sources: Sequence[FeatureSource], align: Align | None
) -> tuple[Videos, dict[tuple[int, int], list[str]], np.ndarray]:
    """Return the videos that all features have, and what does not match.

    Args:
        sources, align: as of `join_features`.

    Returns:
        the videos; for two numbers of features the ids that have the first and lack the second; and int64, the rows of
        videos whose streams must not be aligned.
    """
    numbers = [{id: place for place, id in enumerate(source.ids)} for source in sources]
    ids = [id for id in sources[0].ids if all(id in each for each in numbers[1:])]
    alone = {
        (one, other): lacking
        for one, own in enumerate(numbers)
        for other, others in enumerate(numbers)
        if (lacking := [id for id in own if id not in others])
    }
    places = np.array([[each[id] for each in numbers] for id in ids], np.int64).reshape(len(ids), len(sources))
    streams = np.stack([source.lengths[places[:, g]] for g, source in enumerate(sources)], axis=1)  # N,G
    least, most = streams.min(axis=1), streams.max(axis=1)
    unequal = least < most
    if align is None:
        unequal &= most - least > np.maximum(FEW_FRAMES, FEW_PERCENT / 100 * most)
    elif align != "refuse":
        unequal[:] = False
    lengths = streams[:, 0] if align == "resample" else least
    return Videos(sources, ids, places, lengths, align or "crop"), alone, np.flatnonzero(unequal)


def align_streams(streams: list[np.ndarray], length: int, align: Align) -> list[np.ndarray]:
    """Return streams [n,F] with `length` rows each: their first ones, or with resample those nearest in time.

    Row k of `length` is in the middle of its part of the video, (k + 1/2) / length; the row of a stream of n is the one
    whose part holds that moment.
    """
    if align == "resample":
        moments = 2 * np.arange(length, dtype=np.int64) + 1
        return [stream[moments * len(stream) // (2 * length)] for stream in streams]
    return [stream[:length] for stream in streams]
