"""Splits and groups of videos: as a column or a file says, or by which videos have labels."""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config.errors import StageError
from pipeline.config.ranges import FolderName
from pipeline.config.wording import counted, listed
from pipeline.packing.labels.id_column import find_id_column, videos_of
from pipeline.packing.labels.matching import SHOWN
from pipeline.packing.tables.table import Table, read_table

SPLIT_COLUMNS = ("split", "subset", "partition", "set")
"""Columns that are taken for splits by their names, in any case."""
HOLDOUT = "holdout"
"""A split of this name is the hold-out; without it, a hash of the id takes one from train."""
MOST_SPLITS = 100
_NAME = get_args(FolderName)[1]


@dataclass(frozen=True)
class Splits:
    """The split of every video, and the group if groups are asked for."""

    of: dict[str, str]
    groups: dict[str, str] | None
    """What belongs together has one group; a video without one is a group by itself, named by its id."""
    how: str
    """Where the splits are from, in a phrase."""
    remarks: list[str]
    """What a user may want to know, a sentence each."""


def read_splits(
    table: Table | None,
    ids: Collection[str],
    labelled: Collection[str],
    *,
    file: Path | None = None,
    id_column: str | None = None,
    split_column: str | None = None,
    group_column: str | None = None,
    not_splits: Collection[str] = (),
) -> Splits:
    """Return the split of each video.

    It is that of the splits file; or of the column of the label table that is named, or that is called split, subset,
    partition or set; or else train for labelled videos and test for the others. Where splits are given, videos that
    have none and no labels are in test, or in unlabelled if test has videos with labels.

    Args:
        table: of the labels, if there is one.
        ids: of the videos that have features, each once.
        labelled: those of them that have labels, an empty list of labels included.
        file: a file of ids and splits.
        id_column: the column of ids, in the table and in the file.
        split_column: the column of splits, in the file if there is one.
        group_column: the column of groups, in the table or else in the file.
        not_splits: columns that have another use, whatever they are called: that of labels.

    Raises:
        StageError: rows of a video disagree, a labelled video has no split, or a split has a name that it cannot have.
    """
    videos, known = list(ids), {*labelled}
    listed = read_table(file) if file else None
    source = listed if listed is not None else table
    column = None
    if source is not None:
        column = _split_column(source, ids, id_column, split_column, not_splits, file is not None)
    elif split_column is not None:
        raise StageError(f"--split-column {split_column}: there is no file of labels or splits that could hold it")
    if source is None or column is None:
        of = {video: "train" if video in known else "test" for video in videos}
        how = "train: the labeled videos; test: the others" if len(known) < len(videos) else "train: all videos"
    else:
        own = _own_id_column(source, ids, id_column)
        given = _values(source, own, videos, column, "split")
        _check_names(source, column)
        of = _completed(source, column, videos, given, known)
        how = f"column {column} of {source.files}"
    groups = _groups([each for each in (table, listed) if each is not None], videos, id_column, group_column)
    remarks = _straddling(of, groups) if groups and column is not None else []
    return Splits(of, groups, how, remarks)


def _own_id_column(table: Table, ids: Collection[str], named: str | None) -> str:
    """The named column, where the table has it: labels and splits may name their ids differently."""
    return find_id_column(table, ids, named if named in table.names else None)


def _split_column(
    table: Table, ids: Collection[str], id_column: str | None, named: str | None, others: Collection[str], is_file: bool
) -> str | None:
    if named is not None:
        return table.require(named, "--split-column")
    found = [name for name in table.names if name.casefold() in SPLIT_COLUMNS and name not in {id_column, *others}]
    if len(found) > 1:
        raise StageError(
            f"{table.files}: columns {' and '.join(found)} may both hold splits; name one with --split-column"
        )
    if found or not is_file:
        return found[0] if found else None
    left = [name for name in table.names if name != _own_id_column(table, ids, id_column)]
    if len(left) == 1:
        return left[0]
    raise StageError(
        f"{table.files}: no column is called {', '.join(SPLIT_COLUMNS)}; there are: {', '.join(table.names[:8])}. Name "
        "the column of splits with --split-column"
    )


def _values(table: Table, id_column: str, videos: list[str], column: str, what: str) -> list[str | None]:
    """Return what the rows of each video say; None where none says anything.

    Raises StageError, naming both rows, where two rows of a video disagree.
    """
    cells = table.cells(column)
    if pa.types.is_list(cells.type):
        raise StageError(f"{table.files}: column {column} holds lists; a video has one {what}")
    video = videos_of(table, id_column, videos)
    encoded = cells.dictionary_encode().combine_chunks()
    codes = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)
    rows = np.flatnonzero((video >= 0) & (codes >= 0))
    rows = rows[np.argsort(video[rows], kind="stable")]
    same = video[rows[1:]] == video[rows[:-1]]
    if len(bad := np.flatnonzero(same & (codes[rows[1:]] != codes[rows[:-1]]))):
        one, other = min((int(rows[place]), int(rows[place + 1])) for place in bad)
        raise StageError(
            f"{table.where(other)}: video {videos[video[other]]!r} has {what} {cells[other].as_py()!r}, and "
            f"{cells[one].as_py()!r} in {table.where(one)}; give it one {what}"
        )
    names = encoded.dictionary.to_pylist()
    values: list[str | None] = [None] * len(videos)
    for place, code in zip(video[rows].tolist(), codes[rows].tolist()):
        values[place] = names[code]
    return values


def _check_names(table: Table, column: str) -> None:
    cells = table.cells(column)
    names = pc.unique(pc.drop_null(cells)).to_pylist()
    if len(names) > MOST_SPLITS:
        raise StageError(
            f"{table.files}: column {column} has {len(names):,} different values, and splits are few; name the column "
            "of splits with --split-column"
        )
    folded: dict[str, str] = {}
    for name in names:
        if name.casefold() == HOLDOUT != name:
            raise StageError(
                f"{_first(table, cells, name)}: split {name} may be meant for the hold-out: write it {HOLDOUT}, or "
                "rename it"
            )
        if not _NAME.allows(name):
            raise StageError(f"{_first(table, cells, name)}: {name[:60]!r} cannot name a split, which needs {_NAME}")
        if (other := folded.setdefault(name.casefold(), name)) != name:
            raise StageError(
                f"{_first(table, cells, name)}: split {name} and split {other} differ in case alone; write them alike"
            )


def _first(table: Table, cells: pa.ChunkedArray, name: str) -> str:
    return table.where(pc.index(cells, name).as_py())


def _completed(
    table: Table, column: str, videos: list[str], given: list[str | None], labelled: set[str]
) -> dict[str, str]:
    lacking = [video for video, split in zip(videos, given) if split is None and video in labelled]
    if lacking:
        some = listed([*map(repr, lacking)], SHOWN)
        raise StageError(
            f"{table.files}: {counted(len(lacking), 'labeled video')} {'has' if len(lacking) == 1 else 'have'} no "
            f"split in column {column}: {some}; give each a split, such as train"
        )
    scored = {split for split, video in zip(given, videos) if video in labelled}
    rest = "unlabelled" if "test" in scored else "test"
    return {video: split or rest for video, split in zip(videos, given)}


def _groups(tables: list[Table], videos: list[str], id_column: str | None, column: str | None) -> dict[str, str] | None:
    if column is None:
        return None
    if not tables:
        raise StageError(f"--group {column}: there is no file of labels or splits that could hold it")
    table = next((each for each in tables if column in each.names), tables[0])
    table.require(column, "--group")
    values = _values(table, _own_id_column(table, videos, id_column), videos, column, "group")
    return {video: group or video for video, group in zip(videos, values)}


def _straddling(of: dict[str, str], groups: dict[str, str]) -> list[str]:
    """Return a remark if groups have videos in several splits: what belongs together is on two sides."""
    splits: dict[str, set[str]] = defaultdict(set)
    for video, group in groups.items():
        splits[group].add(of[video])
    found = [(group, sorted(names)) for group, names in splits.items() if len(names) > 1]
    if not found:
        return []
    some = ", ".join(f"{group!r} ({' and '.join(names)})" for group, names in found[:SHOWN])
    told = "1 group has" if len(found) == 1 else f"{len(found):,} groups have"
    return [
        f"{told} videos in more than one split, as the splits were given: {some}{', ...' if len(found) > SHOWN else ''}"
    ]
