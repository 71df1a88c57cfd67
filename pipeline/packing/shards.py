"""Write videos to shards: TFRecords of bounded size, in any number of processes, whole or not at all."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pipeline.artifacts.files import atomic_file, read_json, write_json
from pipeline.config import FeatureConfig
from pipeline.inputs.records import encoding, tfrecord
from pipeline.inputs.records.recipes import recipes_of
from pipeline.packing.sources.source import UnreadableFeature
from pipeline.packing.storing import store
from pipeline.packing.videos import Videos

SHARD_BYTES, SHARD_VIDEOS = 64 << 20, 1024
"""A shard has at most so many bytes of features, or one video; and at most so many videos."""
_BUFFER = 1 << 20
"""Bytes that are written at once: most videos are smaller."""
GROUP_KEY = "group"
"""Key of a record under which the group of a video is stored."""


class Shard(NamedTuple):
    """A file to write, and which videos it is to hold."""

    path: str
    """`<split>/<split>-00017.tfrecord`"""
    first: int
    """Of the videos of the job, which are ordered by split."""
    videos: int


@dataclass(frozen=True)
class Job:
    """Everything that a process needs to write shards."""

    videos: Videos
    features: list[FeatureConfig]
    labels: list[np.ndarray | None]
    """N: int, the classes of each video; None if it is unlabelled."""
    groups: list[str] | None
    """N, the group of each video, if there are any."""


class ShardReport(NamedTuple):
    """What a shard holds, and which videos could not be packed."""

    videos: int
    size: int
    """Bytes of the file."""
    left_out: list[tuple[str, str, str]]
    """Id, where it lies, and why it was left out."""


def plan_shards(splits: Sequence[str], lengths: np.ndarray, frame_bytes: int, numbers: dict[str, int]) -> list[Shard]:
    """Divide videos, ordered by split, into shards.

    Args:
        splits: N, the split of each video.
        lengths: int64 [N], frames of each.
        frame_bytes: bytes of a frame as it is stored.
        numbers: the number of the next shard of each split; 0 where it is missing.
    """
    shards: list[Shard] = []
    numbers = dict(numbers)
    first, size = 0, 0
    for row, split in enumerate(splits):
        own = int(lengths[row]) * frame_bytes
        full = row > first and (size + own > SHARD_BYTES or row - first >= SHARD_VIDEOS)
        if row > first and (full or split != splits[first]):
            shards.append(_shard(splits[first], first, row - first, numbers))
            first, size = row, 0
        size += own
    if len(splits):
        shards.append(_shard(splits[first], first, len(splits) - first, numbers))
    return shards


def _shard(split: str, first: int, count: int, numbers: dict[str, int]) -> Shard:
    number = numbers.get(split, 0)
    numbers[split] = number + 1
    return Shard(f"{split}/{split}-{number:05}.tfrecord", first, count)


def write_shard(job: Job, folder: Path, placed: Path, shard: Shard) -> ShardReport:
    """Write a shard below `folder`, and a report beside it, unless both are there; return the report.

    The shard may have been moved below `placed` already, by a run that was killed then.

    A video that cannot be packed is left out and reported. A shard without any is not written.
    """
    path = folder / shard.path
    report = path.with_suffix(".json")
    if report.exists():
        found = read_json(report)
        there = (each for each in (path, placed / shard.path) if each.exists())
        if not found["videos"] or any(each.stat().st_size == found["size"] for each in there):
            return ShardReport(found["videos"], found["size"], [tuple(each) for each in found["left_out"]])
    left_out: list[tuple[str, str, str]] = []
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as temporary, temporary.open("wb", _BUFFER) as file:
        count = tfrecord.write_records(file, _records(job, shard, left_out))
    if not count:
        path.unlink()
    result = ShardReport(count, path.stat().st_size if count else 0, left_out)
    write_json(report, result._asdict())
    return result


def _records(job: Job, shard: Shard, left_out: list[tuple[str, str, str]]) -> Iterator[bytes]:
    for row in range(shard.first, shard.first + shard.videos):
        try:
            streams = job.videos.read(row)
            where = job.videos.where(row)
            stored = {f.key: store(stream, f, where) for f, stream in zip(job.features, streams)}
        except UnreadableFeature as error:
            left_out.append((job.videos.ids[row], error.where, str(error)))
            continue
        context: dict[str, Any] = {"id": job.videos.ids[row], **recipes_of(job.features)}
        if (labels := job.labels[row]) is not None:
            context["labels"] = np.asarray(labels, np.int64)
        if job.groups:
            context[GROUP_KEY] = job.groups[row]
        yield encoding.encode_sequence_example(context, stored)
