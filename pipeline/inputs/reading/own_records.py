"""Read videos from the user's own TFRecords, which no index knows; report the faulty ones."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.config import DatasetConfig
from pipeline.inputs.records import tfrecord
from pipeline.inputs.records.parsing import ParseError, parse_features, readable_id

DEQUANTIZE = "give the values as they were before they were quantized"
"""The remedy for bytes where a model needs floats."""


class Video(NamedTuple):
    """A video with its frames."""

    id: str
    """The video's own id, or else the file's name and the video's number from 0."""
    entry: str
    """Where it lies in the file."""
    frames: np.ndarray
    """The dataset's dtype [n,F]; n is at least 1."""


class UnreadableVideo(NamedTuple):
    """Where and why a video, or a whole file, cannot be read."""

    where: str
    reason: str

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}"


def read_records(path: Path, dataset: DatasetConfig) -> Iterator[Video | UnreadableVideo]:
    """Yield every video of a file of TFRecords; for one that is faulty yield an UnreadableVideo, and go on.

    Records are as the dataset declares them; labels and ids are optional. Raises OSError.
    """
    for number, record in enumerate(tfrecord.scan_records(path)):
        entry = f"record {number} at byte {record.offset}"
        where = f"{path}, {entry}"
        if record.fault is not None:
            yield UnreadableVideo(where, f"{record.fault}; copy the file again")
            continue
        try:
            features = parse_features(record.payload, dataset)
            frames = np.concatenate(features, axis=1)
        except ParseError as error:
            yield UnreadableVideo(where, f"{error}; {_remedy(str(error), dataset)}")
            continue
        if not np.isfinite(frames).all():
            yield UnreadableVideo(where, "there are values that are not finite; extract the features again")
            continue
        yield Video(readable_id(record.payload, dataset) or f"{path.name}:{number}", entry, frames)


def _remedy(reason: str, dataset: DatasetConfig) -> str:
    if dataset.quantized and "float_list" in reason:
        calls = ", ".join(
            f"{feature.name} by quantize(v, {feature.minimum:g}, {feature.maximum:g})" for feature in dataset.features
        )
        return f"quantize them as the training features were, with pipeline.inputs.records.quantized: {calls}"
    if dataset.dtype == "float32" and "bytes_list" in reason:
        return DEQUANTIZE
    features = ", ".join(f"{feature.key}, {feature.size} {feature.dtype}" for feature in dataset.features)
    return f"the model needs, for each {dataset.level}: {features}"
