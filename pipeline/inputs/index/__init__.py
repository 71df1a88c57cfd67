"""The index of a dataset: a row for each video says where its record lies, what it holds, and which split it is in."""

import copy
import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.artifacts.done import check_format
from pipeline.artifacts.failures import is_refusal
from pipeline.artifacts.files import read_at, read_json
from pipeline.config import ConfigError, DatasetConfig, find_by_name, from_dict
from pipeline.config.errors import StageError
from pipeline.config.ranges import MOST_FRAMES
from pipeline.inputs.class_names import KEY, SUMMARY, unnamed

ROWS, LEFT_OUT = "index.parquet", "left_out.parquet"
TRAIN, HOLDOUT = "train", "holdout"
DUPLICATE = "its split has the id already"
UNLABELED = "it is to be trained on or held out, and has no labels"
"""The reasons that are given when a good record is left out."""
SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "shard": pa.int32(),
        "offset": pa.int64(),
        "length": pa.int32(),
        "num_frames": pa.int32(),
        "labels": pa.list_(pa.int32()),  # null if it is not known which the video has
        "split": pa.dictionary(pa.int32(), pa.string()),
        "checksum": pa.uint32(),  # of the record, masked as TFRecord stores it
    }
)
FOLD = pa.field("fold", pa.int8())
"""The column that an index with folds has: the number of the video's fold from 1 on, 0 if it is not trained on."""
OPENED = SCHEMA.remove(SCHEMA.get_field_index("checksum"))
"""The columns that training and predicting need."""
_NARROW = OPENED.set(OPENED.get_field_index("labels"), pa.field("labels", pa.list_(pa.int16())))
"""The same in an index of before there were more than 32,768 classes; what has no labels has an empty list there."""
LEFT_OUT_SCHEMA = pa.schema(
    {
        "shard": pa.int32(),
        "offset": pa.int64(),
        "reason": pa.string(),
        # filled for good records; null if the record is quarantined
        **{name: SCHEMA.field(name).type for name in ("id", "length", "num_frames", "labels", "checksum")},
    }
)

_LOOKED_AT = 16
HEADS = "was written by a version that read only the first frames of a long video, and there are such videos"


class HeadsError(StageError):
    """An index was written by a version that read only the first frames of a longer video, and has such videos."""


_FAULTS = (StageError, ConfigError, LookupError, TypeError, AttributeError, ValueError, OverflowError, OSError)
"""What a damaged index raises, depending on what is damaged."""


@dataclass(frozen=True)
class Source:
    """A shard, and the split that it belongs to."""

    path: Path
    split: str


def take_lists(values: np.ndarray, offsets: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the given rows of a ragged array, as values and int64 offsets [n+1]."""
    lengths = offsets[rows + 1] - offsets[rows]
    ends = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    return values[np.repeat(offsets[rows] - ends[:-1], lengths) + np.arange(ends[-1])], ends


class Index:
    """An opened index. Rows are numbered from 0 across all splits.

    `shard` int32, `offset` int64, `length` int32 and `num_frames` int32 have a value for each row. `paths`,
    `shard_sizes` (bytes) and `shard_times` (nanoseconds) have a value for each shard; sizes and times are those from
    when it was indexed. `splits` maps each split to its number of rows. If `verify` is set, whoever opens a shard
    verifies its checksums.

    `folds` is the number of folds, 0 if there are none. With folds, `train` and `holdout` are the same videos: each of
    them is predicted by a model that was not trained on it. `fold` gives the index that this model is trained on, where
    `held_out` is the number of the fold that is held out; anywhere else it is 0.
    """

    def __init__(self, folder: Path, summary: dict[str, Any], table: pa.Table, verify: bool = False):
        root = (folder.resolve() / (summary["root"] or "")).resolve()
        self.folder, self.summary, self.verify = folder, summary, verify
        self.dataset = from_dict(DatasetConfig, summary["dataset"], folder / SUMMARY)
        self.splits: dict[str, int] = summary["counts"]
        self.folds = self.dataset.folds if self.has_training else 0
        self.digest: str = summary["digest"]
        self.paths = [root / shard["path"] for shard in summary["shards"]]
        self.shard_sizes = np.array([shard["size"] for shard in summary["shards"]], np.int64)
        self.shard_times = np.array([shard["modified"] for shard in summary["shards"]], np.int64)
        columns = {name: table[name].unify_dictionaries().combine_chunks() for name in OPENED.names}
        self.shard, self.offset, self.length, self.num_frames = (
            columns[name].to_numpy() for name in ("shard", "offset", "length", "num_frames")
        )
        self._ids, self._labels, self._split = columns["id"], columns["labels"], columns["split"]
        self.held_out = 0
        if self.folds:
            self._fold = table[FOLD.name].to_numpy()
            self.splits = {**self.splits, HOLDOUT: self.splits[TRAIN]}

    @classmethod
    def open(cls, folder: Path, verify: bool = False) -> "Index":
        """Open the index that `write_index` wrote; raises StageError if it is missing or damaged.

        With `verify`, the checksums of every shard are verified when it is first opened, whatever its size and time.
        """
        try:
            summary = read_json(folder / SUMMARY)
            check_format(folder / SUMMARY, summary)
            with pq.ParquetFile(folder / ROWS, memory_map=True, page_checksum_verification=True) as file:
                if file.metadata.num_rows != sum(summary["counts"].values()):  # before any row is laid out
                    raise StageError(f"{folder / ROWS} does not belong to {SUMMARY} beside it")
                table = file.read([*OPENED.names, FOLD.name])
            opened = OPENED.append(FOLD) if from_dict(DatasetConfig, summary["dataset"]).folds else OPENED
            if table.schema == _NARROW:
                table = table.cast(OPENED)
            if table.schema != opened:
                raise StageError(f"{folder / ROWS} does not belong to {SUMMARY} beside it")
            index = cls(folder, summary, table, verify)
            index._check()
            return index
        except HeadsError:
            raise
        except (*_FAULTS, pa.ArrowException) as error:
            if is_refusal(error):
                raise
            remedy = "run `python -m pipeline.ingest` with the same --preset"
            raise StageError(f"{folder} holds no usable index ({error}): {remedy}") from error

    def _check(self) -> None:
        """Raise StageError if a row asks for what cannot be: a shard, bytes, frames, a label or a split beyond all."""
        for name, values, least, most in (
            ("shard", self.shard, 0, len(self.paths) - 1),
            ("offset", self.offset, 0, 2**62),
            ("length", self.length, 0, 2**31 - 1),
            ("num_frames", self.num_frames, 1, MOST_FRAMES),
            ("labels", self._labels.values.to_numpy(), 0, self.dataset.num_classes - 1),
            ("split", self._split.indices.to_numpy(), 0, len(self.splits) - 1),
            *([("fold", self._fold[self.rows(TRAIN)], 1, self.folds)] if self.folds else []),
        ):
            if len(values) and not least <= values.min() <= values.max() <= most:
                raise StageError(f"{ROWS} has {name} from {values.min()} to {values.max()}, not from {least} to {most}")
        if self._has_heads():
            raise HeadsError(f"{self.folder} {HEADS}: run `python -m pipeline.ingest` with the same --preset")
        if set(self._split.dictionary.to_pylist()) - self.splits.keys():
            raise StageError(f"{ROWS} has other splits than {SUMMARY}")

    def _has_heads(self) -> bool:
        """Return whether the index counts only the first max_frames frames of a longer video, as its version read them.

        Such an index does not tell the longest video. The longest records are looked at; a reader refuses any other.
        """
        from pipeline.inputs.records.parsing import ParseError, parse_features  # which needs this package

        suspects = np.flatnonzero(self.num_frames == self.dataset.max_frames)
        if "longest" in self.summary.get("cut", {}) or self.dataset.level == "video":
            return False
        for row in suspects[np.argsort(-self.length[suspects], kind="stable")[:_LOOKED_AT]].tolist():
            try:
                with self.paths[self.shard[row]].open("rb") as file:
                    payload = read_at(file.fileno(), int(self.length[row]), int(self.offset[row]))
                if len(parse_features(payload, self.dataset)[0]) > self.dataset.max_frames:
                    return True
            except (OSError, ParseError):  # gone, or changed: whoever reads it says so
                continue
        return False

    @functools.cached_property
    def checksums(self) -> np.ndarray:
        """The checksum of each row's record, uint32, masked as TFRecord stores it; read on first use.

        Raises StageError if the index was written anew since it was opened.
        """
        table = pq.read_table(self.folder / ROWS, columns=["checksum"], page_checksum_verification=True)
        if table.num_rows != len(self.shard):
            raise StageError(f"{self.folder} changed while it was in use; run the same command again")
        return table["checksum"].to_numpy()

    def rows(self, split: str) -> np.ndarray:
        """Return the rows of a split, int64, ascending; raises ConfigError, listing the splits, for an unknown one."""
        find_by_name(split, self.splits, "split")
        stored = self._stored(split)
        chosen = self._split.indices.to_numpy() == self._split.dictionary.index(stored).as_py()
        if self.held_out and split in (TRAIN, HOLDOUT):
            chosen = chosen & ((self._fold == self.held_out) == (split == HOLDOUT))
        return np.flatnonzero(chosen)

    def _stored(self, split: str) -> str:
        """Return the split that a split's videos are stored as."""
        return TRAIN if split == HOLDOUT and (self.folds or self.held_out) else split

    def fold(self, number: int) -> "Index":
        """Return the same index with one fold, from 1 on, as its hold-out, and all others as its split `train`.

        Its digest is its own, and it has no folds.
        """
        if not 1 <= number <= self.folds:
            raise ConfigError(f"{self.folder} has {self.folds} folds; there is no fold {number}")
        view = copy.copy(self)
        view.folds, view.held_out = 0, number
        view.digest = hashlib.sha256(f"{self.digest} fold {number}".encode()).hexdigest()[:16]
        held = int(np.count_nonzero(self._fold == number))
        view.splits = {**self.splits, TRAIN: self.splits[TRAIN] - held, HOLDOUT: held}
        return view

    def fold_of(self, rows: np.ndarray) -> np.ndarray:
        """Return the fold of some rows, int8 [n]; 0 for those that are not trained on, and where there are no folds."""
        return self._fold[rows] if self.folds else np.zeros(len(rows), np.int8)

    def labels_of(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the labels of some rows: int32 values, and int64 offsets [n+1] that say which belong to which row."""
        values, offsets = take_lists(self._labels.values.to_numpy(), self._labels.offsets.to_numpy(), rows)
        return values, offsets

    def labels_known(self, rows: np.ndarray) -> np.ndarray:
        """Return of which rows the labels are known, bool [n], be it that there are none: only these are scored."""
        return self._labels.is_valid().to_numpy(zero_copy_only=False)[rows]

    def ids_of(self, rows: np.ndarray) -> list[str]:
        """Return the ids of some rows."""
        return self._ids.take(pa.array(rows)).to_pylist()

    def labeled(self, split: str) -> bool:
        """Return whether of any video of a split the labels are known; raises ConfigError for an unknown split."""
        find_by_name(split, self.splits, "split")
        return self.summary["labelled"][self._stored(split)] > 0

    @property
    def has_training(self) -> bool:
        """Whether the index has videos to train on."""
        return bool(self.splits.get(TRAIN))

    @property
    def holdout_labeled(self) -> bool:
        """Whether the index has a hold-out with labels, to score on."""
        return bool(self.splits.get(HOLDOUT)) and self.labeled(HOLDOUT)

    @property
    def has_class_names(self) -> bool:
        """Whether `ingest` was given the names of the classes."""
        return bool(self.summary.get(KEY))

    @property
    def class_names(self) -> list[str]:
        """A name for each class; "class 17" where `ingest` was given none."""
        return self.summary.get(KEY) or unnamed(self.dataset.num_classes)

    def other_splits(self) -> list[str]:
        """The splits that are neither trained on nor held out; predictions of one of them are submitted."""
        return [split for split in self.splits if split not in (TRAIN, HOLDOUT)]

    def scored_splits(self) -> list[str]:
        """The splits that are not trained on: the hold-out, if it has rows, and all others."""
        return [split for split, count in self.splits.items() if split != TRAIN and (split != HOLDOUT or count)]
