"""Writing the index: the reports of checked shards become its rows, its summary and the list of what is left out."""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.artifacts.done import format_fields
from pipeline.artifacts.files import write_json
from pipeline.config import ConfigError, DatasetConfig, to_dict
from pipeline.inputs.index import HOLDOUT, LEFT_OUT, ROWS, SUMMARY, TRAIN, Source, take_lists
from pipeline.inputs.index.check import Quarantined, ShardReport
from pipeline.inputs.index.ids import Leakage, hash_ids, is_held_out
from pipeline.inputs.index.outliers import OutlierLimits
from pipeline.inputs.index.statistics import Statistics
from pipeline.inputs.index.tables import Table, left_out_schema, rows_schema, select_left_out, select_rows

LISTED = 100
"""Quarantined records, duplicates and leaked ids that the summary lists; all are counted, and in left_out.parquet."""


def write_index(
    folder: Path,
    dataset: DatasetConfig,
    sources: list[Source],
    reports: Iterable[ShardReport],
    root: Path | None = None,
    declared: DatasetConfig | None = None,
    limits: OutlierLimits | None = None,
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
        limits: videos with values beyond them are left out, and counted as quarantined.

    Returns:
        The summary, as in dataset.json: shards; what was declared; counts and labeled videos by split; what was
        quarantined; duplicates; empty, files that gave no video; cut, how many videos have more than max_frames
        frames, and of how many; constant, features that have one value; leakage, ids both trained on (or held out) and
        in another split; statistics, the numbers of the card; a digest of the content, wherever it lies.

    Raises:
        ConfigError: a split has a reserved name.
    """
    splits = _final_splits(dataset, sources)
    # Videos that are trained on and those that are held out are one group: no id is in both.
    groups = [split for split in splits if split != HOLDOUT]
    leakage = Leakage(groups, TRAIN if TRAIN in splits else None, LISTED)
    quarantined, duplicates, empty, shards = _Listing(), _Listing(), _Listing(), []
    statistics = Statistics(dataset, splits)
    digest = hashlib.sha256(json.dumps([to_dict(dataset), splits], sort_keys=True).encode())
    of_rows, of_left_out = rows_schema(dataset), left_out_schema(dataset)
    with Table(folder / ROWS, of_rows) as rows, Table(folder / LEFT_OUT, of_left_out) as left_out:
        for number, (source, report) in enumerate(zip(sources, reports, strict=True)):
            if report.path != str(source.path):
                raise ValueError(f"report {number} is about {report.path}, not about {source.path}")
            path = _stored_path(source.path, root)
            aside = limits.reasons(report) if limits else {}
            good = np.arange(len(report.ids))
            good = np.delete(good, [*aside]) if aside else good
            ids = [report.ids[i] for i in good]
            keys = hash_ids(ids)
            if source.split in dataset.train_splits:
                codes = is_held_out(keys, dataset.holdout_percent).astype(np.int32)  # 0 train, 1 holdout
                new = leakage.add(ids, keys, TRAIN)
            else:
                codes = np.full(len(keys), splits.index(source.split), np.int32)
                new = leakage.add(ids, keys, source.split)
            kept, twice = good[new], good[~new]
            bad = [*report.quarantined, *(Quarantined(path, int(report.offsets[i]), why) for i, why in aside.items())]
            for fault in bad:
                quarantined.add(file=path, offset=fault.offset, reason=fault.reason)
            for i, code in zip(twice, codes[~new]):
                duplicates.add(id=report.ids[i], split=splits[code], file=path, offset=int(report.offsets[i]))
            if not len(good):
                empty.add(file=path, records=report.records)
            rows.add(select_rows(number, report, kept, codes[new], splits, of_rows))
            _hash(digest, number, report, kept, codes[new])
            if len(twice) or bad:
                left_out.add(select_left_out(number, report, twice, aside, of_left_out))
            statistics.add(report, kept, codes[new], [fault.reason for fault in bad])
            about = {"size": report.size, "modified": report.modified, "records": report.records, "cut": report.cut}
            shards.append({"path": path, "split": source.split, **about})
    summary = {
        **format_fields(),
        "dataset": to_dict(dataset),
        "declared": to_dict(declared or dataset),
        "digest": digest.hexdigest()[:16],
        "counts": statistics.videos,
        "labelled": statistics.labeled,
        "quarantined": quarantined.summary(),
        "duplicates": duplicates.summary(),
        "empty": empty.summary(),
        "cut": statistics.cut,
        "constant": statistics.constant,
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


def _hash(digest: Any, number: int, report: ShardReport, kept: np.ndarray, codes: np.ndarray) -> None:
    """Let what the rows of a shard hold go into the digest."""
    values, offsets = take_lists(report.labels, report.label_offsets, kept)
    digest.update(json.dumps([number, report.size, [report.ids[i] for i in kept]]).encode())
    columns = [report.offsets[kept], report.lengths[kept], report.num_frames[kept], report.checksums[kept]]
    for column in (*columns, values, offsets, codes):
        digest.update(column.astype(column.dtype.newbyteorder("<"), copy=False).tobytes())


def _leaks(leakage: Leakage, dataset: DatasetConfig) -> list[dict[str, Any]]:
    """The ids that the summary lists, with the splits that each is in."""
    first = leakage.first()
    held = is_held_out(hash_ids([id for id, _ in first]), dataset.holdout_percent).tolist()
    return [
        {"id": id, "splits": [HOLDOUT if split == TRAIN and out else split for split in groups]}
        for (id, groups), out in zip(first, held)
    ]
