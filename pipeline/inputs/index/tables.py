"""The Parquet tables of an index: their columns, and how a shard's report becomes rows of them."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config import DatasetConfig
from pipeline.inputs.index import DUPLICATE, FOLD, LEFT_OUT_SCHEMA, SCHEMA, UNLABELED, take_lists
from pipeline.inputs.index.check import ShardReport

ROWS_PER_GROUP = 1 << 17
_PEAKS = pa.field("peaks", pa.list_(pa.float32()))
"""The largest absolute value of each feature, by which outliers are found; only datasets of floats have this column."""
_GROUP = pa.field("group", pa.string())
"""What a video belongs to; only datasets with a group_key have this column."""


def rows_schema(dataset: DatasetConfig) -> pa.Schema:
    """Return the schema of the table of videos."""
    schema = _with_more(SCHEMA, dataset)
    return schema.append(FOLD) if dataset.folds else schema


def left_out_schema(dataset: DatasetConfig) -> pa.Schema:
    """Return the schema of the table of records that are left out."""
    return _with_more(LEFT_OUT_SCHEMA, dataset)


def _with_more(schema: pa.Schema, dataset: DatasetConfig) -> pa.Schema:
    if not dataset.quantized:
        schema = schema.append(_PEAKS)
    return schema.append(_GROUP) if dataset.group_key else schema


class Table:
    """A Parquet file; each row group is written as soon as it is full."""

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

    def __enter__(self) -> "Table":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._flush()
        self._writer.close()


def select_rows(
    number: int, report: ShardReport, kept: np.ndarray, codes: np.ndarray, splits: list[str], schema: pa.Schema
) -> pa.RecordBatch:
    """Return the rows of a shard: its records `kept`, int64 [m], and the numbers `codes` of their splits, int32 [m]."""
    columns = _columns(report, kept, schema)
    columns["shard"] = np.full(len(kept), number, np.int32)
    columns["split"] = pa.DictionaryArray.from_arrays(codes, pa.array(splits, pa.string()))
    return pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)


def select_left_out(
    number: int,
    report: ShardReport,
    twice: np.ndarray,
    unlabeled: np.ndarray,
    aside: dict[int, str],
    schema: pa.Schema,
) -> pa.RecordBatch:
    """Return the records of a shard that are left out, as rows of that table.

    All columns are stored for the records of `twice`, `unlabeled` and `aside`, since whether the first and the last
    stay left out depends on other shards.

    Args:
        number: the number of the shard.
        report: the report of the shard.
        twice: the records whose id is taken already, int64 [m].
        unlabeled: the records to train on whose labels are not known, int64 [m].
        aside: why other records that could be read are left out, by their number.
        schema: the schema of the table.
    """
    bad = report.quarantined
    whole = np.concatenate([twice, unlabeled, np.array([*aside], np.int64)])
    reasons = [
        *[DUPLICATE] * len(twice),
        *[UNLABELED] * len(unlabeled),
        *aside.values(),
        *(fault.reason for fault in bad),
    ]
    columns = {
        name: pa.concat_arrays([found := pa.array(values, schema.field(name).type), pa.nulls(len(bad), found.type)])
        for name, values in _columns(report, whole, schema).items()
    }
    offsets = [*report.offsets[whole].tolist(), *(fault.offset for fault in bad)]
    columns["offset"] = pa.array(offsets, pa.int64())
    columns["reason"] = pa.array(reasons, pa.string())
    columns["shard"] = np.full(len(reasons), number, np.int32)
    return pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)


def _columns(report: ShardReport, chosen: np.ndarray, schema: pa.Schema) -> dict[str, pa.Array | np.ndarray]:
    """Return what the index keeps of some records of a shard, by column; peaks and groups if the schema has them."""
    values, ends = take_lists(report.labels, report.label_offsets, chosen)
    columns = {
        "id": pa.array([report.ids[i] for i in chosen], pa.string()),
        "offset": report.offsets[chosen],
        "length": report.lengths[chosen],
        "num_frames": report.num_frames[chosen],
        "labels": _lists(values, ends, ~report.labeled[chosen]),
        "checksum": report.checksums[chosen],
    }
    if _PEAKS.name in schema.names:
        peaks = report.peaks[chosen]
        columns[_PEAKS.name] = _lists(peaks.ravel(), np.arange(len(peaks) + 1) * peaks.shape[1])
    if _GROUP.name in schema.names:
        columns[_GROUP.name] = pa.array([report.groups[i] for i in chosen], pa.string())
    return columns


def _lists(values: np.ndarray, offsets: np.ndarray, missing: np.ndarray | None = None) -> pa.ListArray:
    mask = None if missing is None else pa.array(missing)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(values), mask=mask)
