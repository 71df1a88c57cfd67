"""Videos of one's own, each where it lies, and how they are read as a model wants them."""

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.config import DatasetConfig, FeatureConfig
from pipeline.inputs.reading.own_records import DEQUANTIZE, UnreadableVideo, read_records
from pipeline.packing.sources.source import UnreadableFeature
from pipeline.packing.storing import store
from pipeline.packing.videos import Videos

APART = "\0"
"""Between a file and an id: what lies in one file belongs together by both."""


class OwnVideo(NamedTuple):
    """A video that is there, and perhaps not read yet."""

    id: str
    where: str
    """The file, and the entry in it, for messages."""
    places: tuple[tuple[Path, str], ...]
    """Every file of it, and the entry in that; empty where the file is the video."""
    read: Callable[[], np.ndarray]
    """Returns its frames, the dataset's dtype [n,F]; raises UnreadableFeature, or OSError."""
    thumbnails: Callable[[], Sequence[tuple[float, bytes]]] = tuple
    """Returns pictures of it, each a time in seconds and a JPEG file; features alone have none."""


@dataclass
class OwnGroup:
    """Videos with all features of a model, from files that are read alike."""

    videos: Videos
    """Of each feature, or of all of them side by side."""
    dataset: DatasetConfig
    with_files: bool
    """Whether an id has its file before it."""

    def id(self, row: int) -> str:
        """Return the id of a video, without its file."""
        return own_id(self.videos.ids[row], self.with_files)

    def video(self, row: int) -> OwnVideo:
        """Return a video that is read later."""
        places: dict[tuple[Path, str], None] = {}
        for source, place in zip(self.videos.sources, self.videos.places[row].tolist()):
            first, *others = source.files_of(place)
            entry = source.where(place).removeprefix(str(first)).removeprefix(", ")
            places |= dict.fromkeys([(first, entry), *((other, "") for other in others)])
        return OwnVideo(self.id(row), self.videos.where(row), tuple(places), functools.partial(self._read, row))

    def _read(self, row: int) -> np.ndarray:
        features = self.dataset.features
        streams = self.videos.read(row)
        where = [source.where(place) for source, place in zip(self.videos.sources, self.videos.places[row].tolist())]
        if len(streams) < len(features):
            streams = np.split(streams[0], np.cumsum([feature.size for feature in features])[:-1], axis=1)
            where *= len(features)
        frames = np.concatenate([as_stored(*each) for each in zip(streams, features, where)], axis=1)
        return frames[:1] if self.dataset.level == "video" else frames


def own_id(key: str, with_files: bool) -> str:
    """Return the id of a video from the key by which its features are found."""
    return key.partition(APART)[2] if with_files else key


def videos_of_records(path: Path, dataset: DatasetConfig) -> Iterator[OwnVideo | UnreadableVideo]:
    """Yield the videos of a file of TFRecords, as `read_records` does."""
    try:
        for each in read_records(path, dataset):
            if isinstance(each, UnreadableVideo):
                yield each
            else:
                read = functools.partial(np.asarray, each.frames)
                yield OwnVideo(each.id, f"{path}, {each.entry}", ((path, each.entry),), read)
    except OSError as error:
        yield UnreadableVideo(str(path), f"the file cannot be read: {error}")


def as_stored(values: np.ndarray, feature: FeatureConfig, where: str) -> np.ndarray:
    """Return values [n,F] as the model was trained on them; raises UnreadableFeature."""
    if feature.dtype != "uint8" and values.dtype == np.uint8:
        raise UnreadableFeature(where, f"values are uint8 but must be floats: {DEQUANTIZE}")
    if feature.dtype == "uint8" and values.dtype.kind in "iu":
        if values.min() < 0 or values.max() > 255:
            reason = f"values are {values.dtype} and not all from 0 to 255"
            raise UnreadableFeature(where, f"{reason}; give bytes, or the floats that they stand for")
        values = values.astype(np.uint8)
    return store(values, feature, where)
