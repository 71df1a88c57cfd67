"""Bring the features of each video together: which videos have them all, and how their frames are aligned."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.config.errors import StageError
from pipeline.config.wording import counted
from pipeline.packing.features import FeatureSource, UnreadableFeature

Align = Literal["crop", "resample", "refuse"]
FEW_FRAMES, FEW_PERCENT = 2, 2.0
"""Streams that differ by at most so many frames, or so many percent of the longer one, are cropped without a word."""
_LISTED = 5


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
    numbers = [{id: place for place, id in enumerate(source.ids)} for source in sources]
    ids = [id for id in sources[0].ids if all(id in each for each in numbers[1:])]
    lacking = []
    for source, own in zip(sources, numbers):
        for other, others in zip(sources, numbers):
            if alone := [id for id in own if id not in others]:
                lacking.append(
                    f"{counted(len(alone), 'video')} with {source.name} and without {other.name}: {listed(alone)}"
                )
    if not ids:
        raise StageError(
            f"no video has all of {', '.join(source.name for source in sources)}: their ids differ. "
            + "; ".join(f"{source.name} has {listed(source.ids)}" for source in sources)
        )
    places = np.array([[each[id] for each in numbers] for id in ids], np.int64).reshape(len(ids), len(sources))
    streams = np.stack([source.lengths[places[:, g]] for g, source in enumerate(sources)], axis=1)  # N,G
    lengths = _aligned_lengths(sources, ids, places, streams, align)
    return Videos(sources, ids, places, lengths, align or "crop"), lacking


def align_streams(streams: list[np.ndarray], length: int, align: Align) -> list[np.ndarray]:
    """Return streams [n,F] with `length` rows each: their first ones, or with resample those nearest in time.

    Row k of `length` is in the middle of its part of the video, (k + 1/2) / length; the row of a stream of n is the one
    whose part holds that moment.
    """
    if align == "resample":
        moments = 2 * np.arange(length, dtype=np.int64) + 1
        return [stream[moments * len(stream) // (2 * length)] for stream in streams]
    return [stream[:length] for stream in streams]


def listed(ids: Sequence[str]) -> str:
    """Return the first five ids, for messages."""
    return ", ".join(ids[:_LISTED]) + (", ..." if len(ids) > _LISTED else "")


def _aligned_lengths(
    sources: Sequence[FeatureSource], ids: list[str], places: np.ndarray, streams: np.ndarray, align: Align | None
) -> np.ndarray:
    if align == "resample":
        return streams[:, 0]
    least, most = streams.min(axis=1), streams.max(axis=1)
    far = most - least > np.maximum(FEW_FRAMES, FEW_PERCENT / 100 * most)
    unequal = np.flatnonzero(far if align is None else least < most)
    if len(unequal) and align != "crop":
        row = int(unequal[0])
        frames = ", ".join(f"{source.name} {length}" for source, length in zip(sources, streams[row].tolist()))
        raise StageError(
            f"the features of {counted(len(unequal), 'video')} differ in their numbers of frames; the first is "
            f"{ids[row]!r} ({sources[0].where(int(places[row, 0]))}): {frames}. --align crop cuts them to the "
            "shortest, --align resample takes the rows nearest in time to those of the first feature"
        )
    return least
