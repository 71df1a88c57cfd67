"""Write the index: turn the reports of checked shards into its rows, its summary and the list of what is left out."""

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from pipeline.artifacts.done import format_fields
from pipeline.artifacts.files import write_json
from pipeline.config import ConfigError, DatasetConfig, to_dict
from pipeline.inputs.class_names import KEY as NAMES
from pipeline.inputs.index import HOLDOUT, LEFT_OUT, ROWS, SUMMARY, TRAIN, Source, take_lists
from pipeline.inputs.index.check import Quarantined, ShardReport
from pipeline.inputs.index.folds import add_folds, assign_folds
from pipeline.inputs.index.ids import KEY, Leakage, hash_ids, is_held_out
from pipeline.inputs.index.outliers import OutlierLimits
from pipeline.inputs.index.statistics import Statistics
from pipeline.inputs.index.tables import Table, left_out_schema, rows_schema, select_left_out, select_rows

LISTED = 100
"""How many quarantined records, duplicates and leaked ids the summary lists. It counts them all, and left_out.parquet
holds all records that are left out."""


def write_index(
    folder: Path,
    dataset: DatasetConfig,
    sources: list[Source],
    reports: Iterable[ShardReport],
    root: Path | None = None,
    declared: DatasetConfig | None = None,
    limits: OutlierLimits | None = None,
    class_names: list[str] | None = None,
) -> dict[str, Any]:
    """Write the index of shards as their reports come in; 16 bytes for each video of earlier reports stay in memory.

    With folds it is twice as much.

    The splits that train_splits names become `train` and `holdout`; other splits keep their names. Where there is a
    split `holdout`, it is the hold-out: all videos of train_splits are trained on. With folds nothing is held out, and
    each video of `train` is in one of them. If several records of a split have
    the same id, the first one counts and the others are left out. So are records of train_splits and of the hold-out
    that do not say which labels they have.

    Args:
        folder: an existing folder, written to in place.
        dataset: the declaration by which the shards were checked.
        sources: the shards.
        reports: a report for each source, in the same order; ValueError if one is about another shard.
        root: paths of shards below this folder are stored relative to it, so that they are found again when it moves
            together with `folder`.
        declared: what the preset declares, before flags change it to `dataset`.
        limits: videos with values beyond these limits are left out, and counted as quarantined.
        class_names: a name for each class, where they are known; they are not part of the digest.

    Returns:
        The summary, as in dataset.json: shards; what was declared; counts and labeled videos by split; what was
        quarantined; duplicates; unlabelled, the videos of splits to train on whose labels are not known; empty, the
        files that gave no video; cut, how many videos have more than max_frames frames, of how many, and the most that
        one has; constant, the features that have only one value; folds, if there are any, with the videos of each and
        the number of groups; leakage, the ids that are both trained on (or held
        out) and in another split; statistics, the numbers of the card; and a digest of the content, which does not
        depend on where it lies.

    Raises:
        ConfigError: a split has a reserved name, or there are folds and a split `holdout`.
    """
    splits = _final_splits(dataset, sources)
    own_holdout = any(source.split == HOLDOUT for source in sources)
    percent = 0.0 if own_holdout or dataset.folds else dataset.holdout_percent
    # The videos that are trained on and those that a hash takes from them form one group: no id may be in both.
    groups = [split for split in splits if own_holdout or split != HOLDOUT]
    leakage = Leakage(groups, TRAIN if TRAIN in splits else None, LISTED)
    quarantined, duplicates, unlabeled, empty, shards = _Listing(), _Listing(), _Listing(), _Listing(), []
    statistics = Statistics(dataset, splits)
    digest = hashlib.sha256(json.dumps([to_dict(dataset), splits], sort_keys=True).encode())
    of_rows, of_left_out = rows_schema(replace(dataset, folds=0)), left_out_schema(dataset)
    owners: list[np.ndarray] = []  # with folds, the key of each row's group; empty where it is not trained on
    with Table(folder / ROWS, of_rows) as rows, Table(folder / LEFT_OUT, of_left_out) as left_out:
        for number, (source, report) in enumerate(zip(sources, reports, strict=True)):
            if report.path != str(source.path):
                raise ValueError(f"report {number} is about {report.path}, not about {source.path}")
            path = _stored_path(source.path, root)
            aside = limits.reasons(report) if limits else {}
            good = np.arange(len(report.ids))
            good = np.delete(good, [*aside]) if aside else good
            lacking = good[:0]
            if source.split in (*dataset.train_splits, HOLDOUT):
                known = report.labeled[good]
                good, lacking = good[known], good[~known]
            for i in lacking:
                unlabeled.add(id=report.ids[i], file=path, offset=int(report.offsets[i]))
            ids = [report.ids[i] for i in good]
            keys = hash_ids(ids)
            if source.split in dataset.train_splits:
                together = hash_ids([report.groups[i] for i in good]) if dataset.group_key else keys
                codes = is_held_out(together, percent).astype(np.int32)  # 0 train, 1 holdout
                new = leakage.add(ids, keys, TRAIN)
            else:
                together = np.zeros(len(keys), KEY)
                codes = np.full(len(keys), splits.index(source.split), np.int32)
                new = leakage.add(ids, keys, source.split)
            kept, twice = good[new], good[~new]
            bad = [*report.quarantined, *(Quarantined(path, int(report.offsets[i]), why) for i, why in aside.items())]
            for fault in bad:
                quarantined.add(file=path, offset=fault.offset, reason=fault.reason)
            for i, code in zip(twice, codes[~new]):
                duplicates.add(id=report.ids[i], split=splits[code], file=path, offset=int(report.offsets[i]))
            if not len(good) + len(lacking):
                empty.add(file=path, records=report.records)
            rows.add(select_rows(number, report, kept, codes[new], splits, of_rows))
            _hash(digest, number, report, kept, codes[new])
            if dataset.folds:
                owners.append(together[new])
            if len(twice) or len(lacking) or bad:
                left_out.add(select_left_out(number, report, twice, lacking, aside, of_left_out))
            statistics.add(report, kept, codes[new], [fault.reason for fault in bad])
            about = {"size": report.size, "modified": report.modified, "records": report.records, "cut": report.cut}
            shards.append({"path": path, "split": source.split, **about})
    folds = _deal_out(folder / ROWS, np.concatenate([np.zeros(0, KEY), *owners]), dataset.folds, digest)
    summary = {
        **format_fields(),
        "dataset": to_dict(dataset),
        "declared": to_dict(declared or dataset),
        NAMES: class_names,
        "digest": digest.hexdigest()[:16],
        "counts": statistics.videos,
        "labelled": statistics.labeled,
        "quarantined": quarantined.summary(),
        "duplicates": duplicates.summary(),
        "unlabelled": unlabeled.summary(),
        "empty": empty.summary(),
        "cut": statistics.cut,
        "constant": statistics.constant,
        **({"folds": folds} if folds else {}),
        "leakage": {"count": leakage.count, "first": _leaks(leakage, dataset, percent, folder / ROWS)},
        "statistics": statistics.summary(),
        "root": None if root is None else os.path.relpath(root.resolve(), folder.resolve()),
        "shards": shards,
    }
    write_json(folder / SUMMARY, summary)
    return summary


def _deal_out(rows: Path, owners: np.ndarray, folds: int, digest: Any) -> dict[str, Any]:
    """Add the column of folds to the table of rows, and to the digest; return how many videos are in each.

    `owners`, S16 [n], has the key of each row's group; it is empty for videos that are not trained on.
    """
    if not folds:
        return {}
    trained = owners != b""
    fold_of = np.zeros(len(owners), np.int8)
    fold_of[trained] = assign_folds(owners[trained], folds)
    add_folds(rows, fold_of)
    digest.update(fold_of.tobytes())
    videos = np.bincount(fold_of, minlength=folds + 1)[1:].tolist()
    return {"videos": videos, "groups": len(np.unique(owners[trained]))}


class _Listing:
    """Counts all entries, and keeps the first of them."""

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
    if dataset.folds and HOLDOUT in given:
        raise ConfigError(
            f"dataset.folds is {dataset.folds}, and there is a split {HOLDOUT}: with folds each training video is held "
            f"out once. Index its files to train on them, --raw {dataset.train_splits[0]}=DIR_OR_GLOB, or leave "
            "dataset.folds out"
        )
    if TRAIN in given and TRAIN not in dataset.train_splits:
        names = ", ".join(dataset.train_splits)
        raise ConfigError(
            f"split {TRAIN}: the name is reserved for what is made of dataset.train-splits ({names}); rename it"
        )
    trained = [TRAIN, HOLDOUT] if set(given) & set(dataset.train_splits) else []
    return trained + [split for split in given if split not in (*dataset.train_splits, *trained)]


def _stored_path(path: Path, root: Path | None) -> str:
    path, root = path.absolute(), root and root.absolute()
    return path.relative_to(root).as_posix() if root and path.is_relative_to(root) else str(path)


def _hash(digest: Any, number: int, report: ShardReport, kept: np.ndarray, codes: np.ndarray) -> None:
    """Update the digest with the content of a shard's rows."""
    values, offsets = take_lists(report.labels, report.label_offsets, kept)
    digest.update(json.dumps([number, report.size, [report.ids[i] for i in kept]]).encode())
    columns = [report.offsets[kept], report.lengths[kept], report.num_frames[kept], report.checksums[kept]]
    for column in (*columns, values, offsets, codes):
        digest.update(column.astype(column.dtype.newbyteorder("<"), copy=False).tobytes())
    known = report.labeled[kept]
    if known.any() and not known.all():  # an index of before scored both alike; where none is known, it scored none
        digest.update(known.tobytes())


def _leaks(leakage: Leakage, dataset: DatasetConfig, percent: float, rows: Path) -> list[dict[str, Any]]:
    """Return the leaked ids that the summary lists, with the splits that each is in."""
    first = leakage.first()
    ids = [id for id, _ in first]
    held = is_held_out(hash_ids(ids), percent).tolist()
    if dataset.group_key and percent and first:  # the hold-out does not follow from the id
        found = pq.read_table(rows, columns=["id"], filters=[("id", "in", ids), ("split", "=", HOLDOUT)])
        held = np.isin(ids, found["id"].to_pylist()).tolist()
    return [
        {"id": id, "splits": [HOLDOUT if split == TRAIN and out else split for split in groups]}
        for (id, groups), out in zip(first, held)
    ]
