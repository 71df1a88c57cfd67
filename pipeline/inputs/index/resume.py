"""Reuse reports of shards that were checked before, by an ingest that was killed or for an existing index."""

import contextlib
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.artifacts.done import digest_json
from pipeline.artifacts.failures import is_refusal
from pipeline.artifacts.files import read_json, temporary_path
from pipeline.artifacts.stored_json import parse_json
from pipeline.config import DatasetConfig, differences, to_dict
from pipeline.config.errors import StageError
from pipeline.inputs.index import LEFT_OUT, ROWS, SUMMARY, Source
from pipeline.inputs.index.check import Quarantined, ShardReport, check_shard
from pipeline.inputs.index.sources import size_and_mtime
from pipeline.inputs.index.statistics import value_histograms
from pipeline.inputs.index.tables import left_out_schema, rows_schema
from pipeline.inputs.records import tfrecord

_ARRAYS = {
    "offsets": np.int64,
    "lengths": np.int32,
    "checksums": np.uint32,
    "num_frames": np.int32,
    "labels": np.int32,
    "labeled": np.bool_,
    "label_offsets": np.int64,
    "values": np.int64,
    "peaks": np.float32,
}

# ------------------------------------------------------------------------------------------------ an unfinished ingest


def check_shard_once(path: Path, dataset: DatasetConfig, folder: Path) -> ShardReport:
    """Return the report of a shard: the one kept in `folder` if the shard has not changed; otherwise check the shard.

    A new report is kept unless the file could not be read. A report that was only half written is detected and made
    again.

    Args:
        path: the shard.
        dataset: the declaration to check it by.
        folder: keeps reports that were made by this declaration, and no others.
    """
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return _load(folder / digest_json(str(path), size_and_mtime(path)))
    report = check_shard(path, dataset)
    if report.readable:
        _save(folder / digest_json(str(path), (report.size, report.modified)), report)
    return report


def _save(path: Path, report: ShardReport) -> None:
    """Save a report as a TFRecord. Its checksums show whether it is complete, so there is no wait for the disk."""
    values = {name: value for name, value in vars(report).items() if name not in _ARRAYS}
    text = json.dumps(values | {"quarantined": [dataclasses.astuple(fault) for fault in report.quarantined]})
    with temporary_path(path) as temporary:
        with temporary.open("wb") as file:
            tfrecord.write_records(file, [text.encode(), *(getattr(report, name).tobytes() for name in _ARRAYS)])
        temporary.replace(path)


def _load(path: Path) -> ShardReport:
    text, *arrays = (record.payload for record in tfrecord.scan_records(path) if record.fault is None)
    values = parse_json(text)
    values["quarantined"] = [Quarantined(*fault) for fault in values["quarantined"]]
    for (name, dtype), data in zip(_ARRAYS.items(), arrays, strict=True):
        values[name] = np.frombuffer(data, dtype)
    values["values"] = values["values"].reshape(-1, 256)
    values["peaks"] = values["peaks"].reshape(len(values["ids"]), len(values["values"]))
    return ShardReport(**values)


# -------------------------------------------------------------------------------------------------- a finished index


class IndexedReports:
    """Takes an index apart into the reports that it was made from."""

    def __init__(self, folder: Path, dataset: DatasetConfig, root: Path | None):
        """`root` is that of `write_index`. Raises StageError if the index cannot be appended to."""
        again = "run ingest without --append"
        try:
            self._summary: dict[str, Any] = read_json(folder / SUMMARY)
            if changed := differences(self._summary["dataset"], to_dict(dataset)):
                raise StageError(f"made with other settings ({'; '.join(changed)})")
            self._rows = pq.read_table(folder / ROWS, page_checksum_verification=True)
            self._left_out = pq.read_table(folder / LEFT_OUT, page_checksum_verification=True)
            schemas = self._rows.schema, self._left_out.schema
            noted = all("cut" in shard for shard in self._summary["shards"])
            if schemas != (rows_schema(dataset), left_out_schema(dataset)) or not noted:
                raise StageError("it was written by another version, whose tables have other columns")
            self._values = value_histograms(self._summary["statistics"], dataset)
            home = (folder.resolve() / (self._summary["root"] or "")).resolve() if root is None else root.absolute()
            self._shards = {
                home / shard["path"]: (number, shard) for number, shard in enumerate(self._summary["shards"])
            }
        except (StageError, KeyError, TypeError, AttributeError, ValueError, OSError, pa.ArrowException) as error:
            if is_refusal(error):
                raise
            raise StageError(f"{folder} cannot be appended to: {error}; {again}") from error
        # Both tables, of rows and of what is left out, are in the shards' order.
        self._starts, self._left_out_starts = (
            np.searchsorted(table["shard"].to_numpy(), np.arange(len(self._shards) + 1))
            for table in (self._rows, self._left_out)
        )

    def known(self, sources: list[Source]) -> set[Path]:
        """Return the sources that need not be read, since the index has them.

        Raises StageError if a file of the index is missing from the sources, is in another split, or has changed.
        """
        splits = {source.path.absolute(): source for source in sources}
        for path, (_, shard) in self._shards.items():
            source = splits.get(path)
            if source is None or source.split != shard["split"]:
                what = "is not among the files" if source is None else f"is of split {source.split} now"
            elif size_and_mtime(source.path) != (shard["size"], shard["modified"]):
                what = "changed after it was indexed"
            else:
                continue
            raise StageError(f"{path} {what}; run ingest without --append")
        return {source.path for source in sources if source.path.absolute() in self._shards}

    def reports(self, paths: list[Path]) -> Iterator[ShardReport]:
        """Yield the reports of some shards; the first one holds the value counts of them all."""
        values = self._values
        for path in paths:
            yield self._report(path, values)
            values = np.zeros_like(values)

    def _report(self, path: Path, values: np.ndarray) -> ShardReport:
        import pyarrow.compute as pc

        number, shard = self._shards[path.absolute()]
        rows = self._rows.slice(self._starts[number], self._starts[number + 1] - self._starts[number])
        start, stop = self._left_out_starts[number : number + 2]
        left_out = self._left_out.slice(start, stop - start)
        whole = pc.is_valid(left_out["id"])
        columns = [name for name in rows.column_names if name in left_out.column_names]
        records = pa.concat_tables([rows.select(columns), left_out.filter(whole).select(columns)]).sort_by("offset")
        labels = records["labels"].combine_chunks()
        sizes = pc.fill_null(pc.list_value_length(labels), 0)
        peaks = np.zeros((records.num_rows, len(values)), np.float32)
        if "peaks" in columns:
            peaks = records["peaks"].combine_chunks().flatten().to_numpy().reshape(peaks.shape)
        bad = left_out.filter(pc.invert(whole)).select(["offset", "reason"]).to_pylist()
        return ShardReport(
            path=str(path),
            size=shard["size"],
            modified=shard["modified"],
            records=shard["records"],
            ids=records["id"].to_pylist(),
            offsets=records["offset"].to_numpy(),
            lengths=records["length"].to_numpy(),
            checksums=records["checksum"].to_numpy(),
            num_frames=records["num_frames"].to_numpy(),
            cut=shard["cut"],
            labels=labels.flatten().to_numpy(),
            labeled=labels.is_valid().to_numpy(zero_copy_only=False),
            groups=records["group"].to_pylist() if "group" in columns else [],
            label_offsets=np.concatenate([[0], np.cumsum(sizes.to_numpy(), dtype=np.int64)]),
            quarantined=[Quarantined(str(path), fault["offset"], fault["reason"]) for fault in bad],
            values=values,
            peaks=peaks,
        )


def reports_in_order(
    sources: list[Source], indexed: IndexedReports | None, known: set[Path], checked: Iterator[ShardReport]
) -> Iterator[ShardReport]:
    """Yield the reports of all sources in order: from the index for `known` sources, from `checked` for the others."""
    recalled = indexed.reports([source.path for source in sources if source.path in known]) if indexed else iter(())
    for source in sources:
        yield next(recalled if source.path in known else checked)
