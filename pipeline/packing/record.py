"""Remember what has been packed: settings, features, classes and videos, for the pack that adds to it."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.artifacts.done import check_format, format_fields
from pipeline.artifacts.failures import is_refusal
from pipeline.artifacts.files import atomic_folder, read_json, write_json
from pipeline.artifacts.hidden import visible
from pipeline.config import FeatureConfig, from_dict, to_dict
from pipeline.config.errors import StageError

FOLDER = "packed"
"""Name of the record's folder in that of the dataset."""
_SETTINGS, _VIDEOS = "pack.json", "videos.parquet"
_SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "split": pa.string(),
        "num_frames": pa.int32(),
        "labels": pa.list_(pa.int32()),  # null if the video is unlabelled
        "group": pa.string(),
    }
)


@dataclass
class PackedVideos:
    """Videos with what is known of them beside their features, N of each."""

    ids: list[str]
    splits: list[str]
    lengths: np.ndarray
    """int64, frames as they are stored."""
    labels: list[np.ndarray | None]
    """int32, ascending; None if the video is unlabelled."""
    groups: list[str] | None

    def take(self, rows: np.ndarray) -> "PackedVideos":
        """Return the videos at these rows."""
        chosen = rows.tolist()
        return PackedVideos(
            [self.ids[row] for row in chosen],
            [self.splits[row] for row in chosen],
            self.lengths[rows],
            [self.labels[row] for row in chosen],
            [self.groups[row] for row in chosen] if self.groups else None,
        )

    def __add__(self, other: "PackedVideos") -> "PackedVideos":
        groups = (self.groups or []) + (other.groups or [])
        lengths = np.concatenate([self.lengths, other.lengths])
        labels = [*self.labels, *other.labels]
        return PackedVideos(self.ids + other.ids, self.splits + other.splits, lengths, labels, groups or None)

    def differences(self, rows: np.ndarray, other: "PackedVideos", others: np.ndarray) -> dict[str, list[str]]:
        """Return what of the videos at `rows` differs from that of the same videos at `others`: names to ids."""
        found: dict[str, list[str]] = {"split": [], "number of frames": [], "labels": [], "group": []}
        for row, place in zip(rows.tolist(), others.tolist()):
            id = self.ids[row]
            if self.splits[row] != other.splits[place]:
                found["split"].append(id)
            if self.lengths[row] != other.lengths[place]:
                found["number of frames"].append(id)
            old, new = self.labels[row], other.labels[place]
            if (old is None) != (new is None) or not np.array_equal(old, new):
                found["labels"].append(id)
            if (self.groups and self.groups[row]) != (other.groups and other.groups[place]):
                found["group"].append(id)
        return {what: ids for what, ids in found.items() if ids}


@dataclass
class PackRecord:
    """Everything that earlier packs of a dataset have stored."""

    settings: dict[str, Any]
    """The settings on which the shards depend."""
    features: list[FeatureConfig]
    class_names: list[str]
    shards: dict[str, int]
    """Path below raw/ -> bytes."""
    preset: str
    """Digest of the preset as it was written."""
    videos: PackedVideos

    @classmethod
    def read(cls, dataset: Path) -> "PackRecord | None":
        """Return the record in a dataset's folder, or None if nothing was packed there.

        Raises StageError if it is damaged or of a newer format.
        """
        path = dataset / FOLDER / _SETTINGS
        if not path.exists():
            return None
        values = read_json(path)
        check_format(path, values)
        try:
            features = [from_dict(FeatureConfig, each, path) for each in values["features"]]
            table = pq.read_table(path.with_name(_VIDEOS), schema=_SCHEMA)
            return cls(
                values["settings"],
                features,
                values["class_names"],
                values["shards"],
                values["preset"],
                _videos_of(table),
            )
        except (KeyError, TypeError, ValueError, OSError, pa.ArrowException) as error:
            if is_refusal(error):
                raise
            raise StageError(
                f"{path.parent} is no record of packed files ({error}): delete {dataset} and pack all files again"
            ) from error

    def write(self, dataset: Path) -> None:
        """Write the record into a dataset's folder, whole or not at all."""
        with atomic_folder(dataset / FOLDER) as folder:
            pq.write_table(_table_of(self.videos), folder / _VIDEOS)
            write_json(
                folder / _SETTINGS,
                {
                    **format_fields(),
                    "settings": self.settings,
                    "features": [to_dict(feature) for feature in self.features],
                    "class_names": self.class_names,
                    "preset": self.preset,
                    "shards": self.shards,
                },
            )

    def next_numbers(self) -> dict[str, int]:
        """Return the number of the next shard of each split."""
        numbers: dict[str, int] = {}
        for shard in self.shards:
            split, _, name = shard.rpartition("/")
            numbers[split] = max(numbers.get(split, 0), int(Path(name).stem.rpartition("-")[2]) + 1)
        return numbers


def unrecorded(raw: Path, record: PackRecord | None) -> list[Path]:
    """Return the shards below raw/ that pack made and no record names.

    Raises StageError: there are other files.
    """
    known = record.shards if record else {}
    found = [file for file in visible(raw, "*/*.tfrecord") if file.relative_to(raw).as_posix() not in known]
    for file in found:
        if not re.fullmatch(rf"{re.escape(file.parent.name)}-\d{{5,}}\.tfrecord", file.name):
            raise StageError(f"{file} is no file that pack made: choose another --name or --data-dir, or move it away")
    return found


def _table_of(videos: PackedVideos) -> pa.Table:
    return pa.table(
        {
            "id": videos.ids,
            "split": videos.splits,
            "num_frames": videos.lengths,
            "labels": [None if labels is None else labels.tolist() for labels in videos.labels],
            "group": pa.nulls(len(videos.ids), pa.string()) if videos.groups is None else videos.groups,
        },
        schema=_SCHEMA,
    )


def _videos_of(table: pa.Table) -> PackedVideos:
    labels = [None if each is None else np.array(each, np.int32) for each in table["labels"].to_pylist()]
    groups = table["group"].to_pylist()
    return PackedVideos(
        table["id"].to_pylist(),
        table["split"].to_pylist(),
        table["num_frames"].to_numpy().astype(np.int64),
        labels,
        groups if any(group is not None for group in groups) else None,
    )
