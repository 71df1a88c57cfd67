"""The index: one row a video, where its record lies, what it holds and to which split it belongs."""

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.artifacts import StageError, read_json, write_json
from pipeline.config import ConfigError, DatasetConfig, from_dict, one_of, to_dict
from pipeline.inputs.checking import ShardReport

ROWS, SUMMARY = "index.parquet", "dataset.json"
TRAIN, HOLDOUT = "train", "holdout"
ROWS_PER_GROUP = 1 << 17
LISTED = 100
"""Quarantined records, duplicates and leaked ids that the summary lists; all are counted."""
SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "shard": pa.int32(),
        "offset": pa.int64(),
        "length": pa.int32(),
        "num_frames": pa.int32(),
        "labels": pa.list_(pa.int16()),
        "split": pa.dictionary(pa.int32(), pa.string()),
    }
)


@dataclass(frozen=True)
class Source:
    """A shard, and the split that its file belongs to."""

    path: Path
    split: str


def holdout(id: str, percent: float) -> bool:
    """Whether a training video is held out: the same answer for an id on every machine, in every version."""
    return int.from_bytes(hashlib.sha256(id.encode()).digest()[:8], "big") < percent / 100 * 2**64


# ------------------------------------------------------------------------------------------------------------- writing


def write_index(
    folder: Path,
    dataset: DatasetConfig,
    sources: list[Source],
    reports: Iterable[ShardReport],
    root: Path | None = None,
) -> dict[str, Any]:
    """Write the index of shards as their reports come in; of earlier reports only the ids stay in memory.

    What train_splits name becomes `train` and `holdout`; other splits keep their name. A record whose id its split
    has already is dropped: the first one counts.

    Args:
        folder: an existing folder, written to in place.
        dataset: the declaration by which the shards were checked.
        sources: the shards.
        reports: one for each source, in their order; ValueError where they are of other shards.
        root: shards below it are stored relative to it, and found again when it moves together with `folder`.

    Returns:
        The summary, as in dataset.json: shards; counts and labelled videos by split; what was quarantined; duplicates;
        leakage, ids both trained on (or held out) and in another split; a digest of the content, wherever it lies.

    Raises:
        ConfigError: a split has a reserved name, or labels do not fit their column.
    """
    if dataset.num_classes > 1 << 15:
        raise ConfigError(f"dataset.num-classes: the index holds labels as int16, at most {1 << 15} classes")
    splits = _final_splits(dataset, sources)
    seen: dict[str, set[str]] = {split: set() for split in splits}
    labelled, shards = np.zeros(len(splits), np.int64), []
    quarantined, duplicates = _Listing(), _Listing()
    digest = hashlib.sha256(json.dumps([to_dict(dataset), splits], sort_keys=True).encode())
    pending, waiting = [], 0
    with pq.ParquetWriter(folder / ROWS, SCHEMA, compression="zstd", write_page_checksum=True) as writer:
        for number, (source, report) in enumerate(zip(sources, reports, strict=True)):
            if report.path != str(source.path):
                raise ValueError(f"report {number} is about {report.path}, not about {source.path}")
            path = _stored_path(source.path, root)
            for fault in report.quarantined:
                quarantined.add(file=path, offset=fault.offset, reason=fault.reason)
            kept, codes = [], []
            for i, id in enumerate(report.ids):
                split = source.split
                if split in dataset.train_splits:
                    split = HOLDOUT if holdout(id, dataset.holdout_percent) else TRAIN
                if id in seen[split]:
                    duplicates.add(id=id, split=split, file=path, offset=int(report.offsets[i]))
                    continue
                seen[split].add(id)
                kept.append(i)
                codes.append(splits.index(split))
            kept, codes = np.array(kept, np.int64), np.array(codes, np.int32)
            pending.append(_batch(number, report, kept, codes, splits, digest))
            labelled += np.bincount(codes[np.diff(report.label_offsets)[kept] > 0], minlength=len(splits))
            shards.append({"path": path, "split": source.split, "size": report.size, "records": report.records})
            waiting += len(kept)
            if waiting >= ROWS_PER_GROUP:
                writer.write_table(pa.Table.from_batches(pending))
                pending, waiting = [], 0
        writer.write_table(pa.Table.from_batches(pending, SCHEMA))
    summary = {
        "dataset": to_dict(dataset),
        "digest": digest.hexdigest()[:16],
        "counts": {split: len(ids) for split, ids in seen.items()},
        "labelled": dict(zip(splits, labelled.tolist())),
        "quarantined": quarantined.summary(),
        "duplicates": duplicates.summary(),
        "leakage": _leakage(seen).summary(),
        "root": None if root is None else os.path.relpath(root.resolve(), folder.resolve()),
        "shards": shards,
    }
    write_json(folder / SUMMARY, summary)
    return summary


class _Listing:
    """Counts everything, remembers the first of it."""

    def __init__(self) -> None:
        self.count = 0
        self.first: list[dict[str, Any]] = []

    def add(self, **entry: Any) -> None:
        self.count += 1
        if len(self.first) < LISTED:
            self.first.append(entry)

    def summary(self) -> dict[str, Any]:
        return {"count": self.count, "first": self.first}


def _final_splits(dataset: DatasetConfig, sources: list[Source]) -> list[str]:
    given = list(dict.fromkeys(source.split for source in sources))
    if taken := {TRAIN, HOLDOUT} & set(given) - set(dataset.train_splits):
        names = ", ".join(dataset.train_splits)
        raise ConfigError(f"split {taken.pop()}: the name is kept for what is made of dataset.train-splits ({names})")
    trained = [TRAIN, HOLDOUT] if set(given) & set(dataset.train_splits) else []
    return trained + [split for split in given if split not in dataset.train_splits]


def _stored_path(path: Path, root: Path | None) -> str:
    path, root = path.absolute(), root and root.absolute()
    return path.relative_to(root).as_posix() if root and path.is_relative_to(root) else str(path)


def _batch(
    number: int, report: ShardReport, kept: np.ndarray, codes: np.ndarray, splits: list[str], digest: Any
) -> pa.RecordBatch:
    """The rows of a shard that are kept; what they hold goes into the digest."""
    ids = [report.ids[i] for i in kept]
    values, offsets = take_lists(report.labels, report.label_offsets, kept)
    columns = [report.offsets[kept], report.lengths[kept], report.num_frames[kept]]
    digest.update(json.dumps([number, report.size, ids]).encode())
    for column in (*columns, report.checksums[kept], values, offsets, codes):
        digest.update(column.astype(column.dtype.newbyteorder("<"), copy=False).tobytes())
    labels = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(values.astype(np.int16)))
    split = pa.DictionaryArray.from_arrays(codes, pa.array(splits, pa.string()))
    shard = np.full(len(ids), number, np.int32)
    return pa.RecordBatch.from_arrays([pa.array(ids, pa.string()), shard, *columns, labels, split], schema=SCHEMA)


def take_lists(values: np.ndarray, offsets: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Some rows of a ragged array, as values and int64 offsets [n+1]."""
    lengths = offsets[rows + 1] - offsets[rows]
    ends = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    return values[np.repeat(offsets[rows] - ends[:-1], lengths) + np.arange(ends[-1])], ends


def _leakage(seen: dict[str, set[str]]) -> _Listing:
    trained = [seen[split] for split in (TRAIN, HOLDOUT) if split in seen]
    scored = [ids for split, ids in seen.items() if split not in (TRAIN, HOLDOUT)]
    listing = _Listing()
    for id in sorted(set().union(*(ours & theirs for ours in trained for theirs in scored))):
        listing.add(id=id, splits=[split for split, ids in seen.items() if id in ids])
    return listing


# ------------------------------------------------------------------------------------------------------------- reading


class Index:
    """An opened index. Rows are numbered from 0 through all splits.

    `shard` int32, `offset` int64, `length` int32 and `num_frames` int32 hold a value a row; `paths` and `shard_sizes`
    (bytes, when it was indexed) one a shard; `splits` maps each split to its number of rows.
    """

    def __init__(self, folder: Path, summary: dict[str, Any], table: pa.Table):
        root = (folder.resolve() / (summary["root"] or "")).resolve()
        self.folder = folder
        self.folder, self.summary = folder, summary
        self.dataset = from_dict(DatasetConfig, summary["dataset"], folder / SUMMARY)
        self.splits: dict[str, int] = summary["counts"]
        self.digest: str = summary["digest"]
        self.paths = [root / shard["path"] for shard in summary["shards"]]
        self.shard_sizes = np.array([shard["size"] for shard in summary["shards"]], np.int64)
        columns = {name: table[name].unify_dictionaries().combine_chunks() for name in SCHEMA.names}
        self.shard, self.offset, self.length, self.num_frames = (
            columns[name].to_numpy() for name in ("shard", "offset", "length", "num_frames")
        )
        self._ids, self._labels, self._split = columns["id"], columns["labels"], columns["split"]

    @classmethod
    def open(cls, folder: Path) -> "Index":
        """Read what `write_index` wrote; raises StageError where it is missing or damaged."""
        try:
            summary = read_json(folder / SUMMARY)
            with pq.ParquetFile(folder / ROWS, memory_map=True, page_checksum_verification=True) as file:
                table = file.read()
            if table.schema != SCHEMA or table.num_rows != sum(summary["counts"].values()):
                raise StageError(f"{folder / ROWS} does not belong to {SUMMARY}")
            return cls(folder, summary, table)
        except (StageError, ConfigError, KeyError, TypeError, AttributeError, OSError, pa.ArrowException) as error:
            raise StageError(f"{folder} holds no usable index ({error}): run `python -m pipeline.ingest`") from error

    def rows(self, split: str) -> np.ndarray:
        """int64, the rows of a split, ascending; raises ConfigError listing the splits where there is none such."""
        one_of(split, self.splits, "split")
        return np.flatnonzero(self._split.indices.to_numpy() == self._split.dictionary.index(split).as_py())

    def labels_of(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The labels of some rows: int32 values, and int64 offsets [n+1] of each row's among them."""
        values, offsets = take_lists(self._labels.values.to_numpy(), self._labels.offsets.to_numpy(), rows)
        return values.astype(np.int32), offsets

    def ids_of(self, rows: np.ndarray) -> list[str]:
        """The ids of some rows."""
        return self._ids.take(pa.array(rows)).to_pylist()

    def labelled(self, split: str) -> bool:
        """Whether any video of a split has labels; raises ConfigError for an unknown split."""
        return one_of(split, self.summary["labelled"], "split") > 0

    def scored_splits(self) -> list[str]:
        """The hold-out, if it has rows, and every split that is not trained on."""
        return [split for split, count in self.splits.items() if split != TRAIN and (split != HOLDOUT or count)]
