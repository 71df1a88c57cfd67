"""Writing the index: the reports of checked shards become its rows, its summary and the list of what is left out."""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.artifacts import write_json
from pipeline.config import ConfigError, DatasetConfig, to_dict
from pipeline.inputs.checking import ShardReport
from pipeline.inputs.identities import Leakage, held_out, keys_of
from pipeline.inputs.index import (
    DUPLICATE,
    HOLDOUT,
    LEFT_OUT,
    LEFT_OUT_SCHEMA,
    ROWS,
    SCHEMA,
    SUMMARY,
    TRAIN,
    Source,
    take_lists,
)
from pipeline.inputs.statistics import Statistics

ROWS_PER_GROUP = 1 << 17
LISTED = 100
"""Quarantined records, duplicates and leaked ids that the summary lists; all are counted, and in left_out.parquet."""


def write_index(
    folder: Path,
    dataset: DatasetConfig,
    sources: list[Source],
    reports: Iterable[ShardReport],
    root: Path | None = None,
    declared: DatasetConfig | None = None,
) -> dict[str, Any]:
    """Write the index of shards as their reports come in; of earlier reports 16 bytes a video stay in memory.

    What train_splits name becomes `train` and `holdout`; other splits keep their name. A record whose id its split
    has already is left out: the first one counts.

    Args:
        folder: an existing folder, written to in place.
        dataset: the declaration by which the shards were checked.
        sources: the shards.
        reports: one for each source, in their order; ValueError where they are of other shards.
        root: shards below it are stored relative to it, and found again when it moves together with `folder`.
        declared: what the preset declares by itself, where flags may have changed it to `dataset`.

    Returns:
        The summary, as in dataset.json: shards; what was declared; counts and labelled videos by split; what was
        quarantined; duplicates; leakage, ids both trained on (or held out) and in another split; statistics, the
        numbers of the card; a digest of the content, wherever it lies.

    Raises:
        ConfigError: a split has a reserved name, or labels do not fit their column.
    """
    if dataset.num_classes > 1 << 15:
        raise ConfigError(f"dataset.num-classes: the index holds labels as int16, at most {1 << 15} classes")
    splits = _final_splits(dataset, sources)
    # Videos that are trained on and those that are held out are one group: no id is in both.
    groups = [split for split in splits if split != HOLDOUT]
    leakage = Leakage(groups, TRAIN if TRAIN in splits else None, LISTED)
    quarantined, duplicates, shards = _Listing(), _Listing(), []
    statistics = Statistics(dataset, splits)
    digest = hashlib.sha256(json.dumps([to_dict(dataset), splits], sort_keys=True).encode())
    with _Table(folder / ROWS, SCHEMA) as rows, _Table(folder / LEFT_OUT, LEFT_OUT_SCHEMA) as left_out:
        for number, (source, report) in enumerate(zip(sources, reports, strict=True)):
            if report.path != str(source.path):
                raise ValueError(f"report {number} is about {report.path}, not about {source.path}")
            path = _stored_path(source.path, root)
            keys = keys_of(report.ids)
            if source.split in dataset.train_splits:
                codes = held_out(keys, dataset.holdout_percent).astype(np.int32)  # 0 train, 1 holdout
                new = leakage.add(report.ids, keys, TRAIN)
            else:
                codes = np.full(len(keys), splits.index(source.split), np.int32)
                new = leakage.add(report.ids, keys, source.split)
            kept, twice = np.flatnonzero(new), np.flatnonzero(~new)
            for fault in report.quarantined:
                quarantined.add(file=path, offset=fault.offset, reason=fault.reason)
            for i in twice:
                split, offset = splits[codes[i]], int(report.offsets[i])
                duplicates.add(id=report.ids[i], split=split, file=path, offset=offset)
            rows.add(_batch(number, report, kept, codes[kept], splits, digest))
            if len(twice) or report.quarantined:
                left_out.add(_left_out(number, report, twice))
            statistics.add(report, kept, codes[kept])
            about = {"size": report.size, "modified": report.modified, "records": report.records}
            shards.append({"path": path, "split": source.split, **about})
    summary = {
        "dataset": to_dict(dataset),
        "declared": to_dict(declared or dataset),
        "digest": digest.hexdigest()[:16],
        "counts": statistics.videos,
        "labelled": statistics.labelled,
        "quarantined": quarantined.summary(),
        "duplicates": duplicates.summary(),
        "leakage": {"count": leakage.count, "first": _leaks(leakage, dataset)},
        "statistics": statistics.summary(),
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


class _Table:
    """A Parquet file that is written in row groups, as soon as one is full."""

    def __init__(self, path: Path, schema: pa.Schema):
        self._schema = schema
        self._writer = pq.ParquetWriter(path, schema, compression="zstd", write_page_checksum=True)
        self._pending: list[pa.RecordBatch] = []
        self._waiting = 0

    def add(self, batch: pa.RecordBatch) -> None:
        if batch.num_rows:
            self._pending.append(batch)
            self._waiting += batch.num_rows
        if self._waiting >= ROWS_PER_GROUP:
            self._flush()

    def _flush(self) -> None:
        self._writer.write_table(pa.Table.from_batches(self._pending, self._schema))
        self._pending, self._waiting = [], 0

    def __enter__(self) -> "_Table":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._flush()
        self._writer.close()


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
    checksums = report.checksums[kept]
    digest.update(json.dumps([number, report.size, ids]).encode())
    for column in (*columns, checksums, values, offsets, codes):
        digest.update(column.astype(column.dtype.newbyteorder("<"), copy=False).tobytes())
    split = pa.DictionaryArray.from_arrays(codes, pa.array(splits, pa.string()))
    shard = np.full(len(ids), number, np.int32)
    batch = [pa.array(ids, pa.string()), shard, *columns, _lists(values, offsets), split, checksums]
    return pa.RecordBatch.from_arrays(batch, schema=SCHEMA)


def _left_out(number: int, report: ShardReport, twice: np.ndarray) -> pa.RecordBatch:
    """What of a shard is no row: records whose id is taken, whole but for their frames, and quarantined ones."""
    bad = report.quarantined
    lists = _lists(*take_lists(report.labels, report.label_offsets, twice))
    columns = {
        "offset": pa.array([*report.offsets[twice].tolist(), *(fault.offset for fault in bad)], pa.int64()),
        "reason": pa.array([*[DUPLICATE] * len(twice), *(fault.reason for fault in bad)], pa.string()),
        "id": pa.array([*(report.ids[i] for i in twice), *[None] * len(bad)], pa.string()),
        "labels": pa.concat_arrays([lists, pa.nulls(len(bad), lists.type)]),
        "shard": np.full(len(twice) + len(bad), number, np.int32),
    }
    for name, values in (
        ("length", report.lengths),
        ("num_frames", report.num_frames),
        ("checksum", report.checksums),
    ):
        given = pa.array(values[twice])
        columns[name] = pa.concat_arrays([given, pa.nulls(len(bad), given.type)])
    return pa.RecordBatch.from_arrays([columns[name] for name in LEFT_OUT_SCHEMA.names], schema=LEFT_OUT_SCHEMA)


def _leaks(leakage: Leakage, dataset: DatasetConfig) -> list[dict[str, Any]]:
    """The ids that the summary lists, with the splits that each is in."""
    first = leakage.first()
    held = held_out(keys_of([id for id, _ in first]), dataset.holdout_percent).tolist()
    return [
        {"id": id, "splits": [HOLDOUT if split == TRAIN and out else split for split in groups]}
        for (id, groups), out in zip(first, held)
    ]


def _lists(values: np.ndarray, offsets: np.ndarray) -> pa.ListArray:
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(values.astype(np.int16)))
