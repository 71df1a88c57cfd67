"""Ids of tables and ids of features: which column holds them, which match, and what nearly does."""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config.errors import StageError
from pipeline.config.wording import listed
from pipeline.packing.tables.table import Table

SHOWN = 5
_NEARLY_ALL = 0.9
_ENDING = r"\.[A-Za-z0-9]{1,5}$"
_FOLDER = r"^.*[/\\]"
_UNREADABLE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class NearMiss:
    """An id of a table that would be an id of features if it were written otherwise."""

    written: str
    """As the table has it."""
    wanted: str
    """As the features have it."""
    rule: str
    """What is different, to say after "it matches"."""


@dataclass(frozen=True)
class Matches:
    """How the ids of a table fit those of features."""

    matched: int
    """Ids that are in both."""
    features_only: int
    table_only: int
    first_features: list[str]
    """The first five ids of features that the table lacks."""
    first_table: list[str]
    """The first five ids of the table that no features have."""
    near: list[NearMiss]
    """The first five near misses."""
    remedy: str | None
    """What to write otherwise, if one rule matches nearly all: "12 of 12 match without their suffix .wav: ..."."""

    def told(self, table: str) -> list[str]:
        """Return what does not match, a sentence each, given what the table is called; nothing if all match."""
        lines = []
        if self.table_only:
            lines.append(
                f"{self.table_only:,} of {self.matched + self.table_only:,} ids in {table} match no features: "
                + listed([*map(repr, self.first_table)], SHOWN, self.table_only)
            )
        if self.features_only:
            lines.append(
                f"{self.features_only:,} of {self.matched + self.features_only:,} videos are not in {table}: "
                + listed([*map(repr, self.first_features)], SHOWN, self.features_only)
            )
        if self.remedy:
            lines.append(self.remedy)
        else:
            lines += [f"{miss.written!r} in {table} would match {miss.rule}: {miss.wanted!r}" for miss in self.near]
        return lines


def match_ids(features: Collection[str], table: Collection[str] | pa.ChunkedArray) -> Matches:
    """Compare the ids of features with those of a table, in each of which an id may be there several times.

    Ids match as they are written, character by character. What nearly matches (a suffix, a folder before it, case,
    spaces around it, leading zeros, a form of Unicode) is told, and never taken for a match.
    """
    ours, theirs = pc.unique(id_array(features)), pc.unique(id_array(table))
    lacking = ours.filter(pc.invert(pc.is_in(ours, value_set=theirs)))
    extra = theirs.filter(pc.invert(pc.is_in(theirs, value_set=ours)))
    near, remedy = _near_misses(lacking, extra)
    return Matches(
        matched=len(ours) - len(lacking),
        features_only=len(lacking),
        table_only=len(extra),
        first_features=lacking[:SHOWN].to_pylist(),
        first_table=extra[:SHOWN].to_pylist(),
        near=near,
        remedy=remedy,
    )


def id_array(ids: Collection[str] | pa.ChunkedArray) -> pa.Array:
    """Return ids as strings without nulls, nor those with a byte that is no UTF-8: no table can name them."""
    if isinstance(ids, pa.ChunkedArray):
        return pc.drop_null(ids).combine_chunks()
    try:
        return pa.array(list(ids), pa.string())
    except UnicodeEncodeError:
        return pa.array([id for id in ids if not _UNREADABLE.search(id)], pa.string())


def find_id_column(table: Table, ids: Collection[str], named: str | None) -> str:
    """Return the column of a table that holds ids of features: the one that is named, or that matches most of them.

    Raises StageError if there are no rows, if no id matches (with what nearly does), if a row has no id, and if the
    first line of a text seems to be data.
    """
    wanted = id_array(ids)
    _refuse_header_that_is_data(table, wanted, named)
    if not len(table):
        raise StageError(f"{table.files} has columns ({_names(table)}) and no rows; write a row for each video")
    columns = [table.require(named, "--id")] if named is not None else _readable(table)
    counts = {name: _count(table.texts(name), wanted) for name in columns}
    name = max(counts, key=lambda name: counts[name], default="")
    if not counts.get(name):
        raise StageError(_no_ids(table, ids, columns, named))
    if table.titled and named is None and pc.any(pc.equal(wanted, name)).as_py():
        raise _headless(table, name)
    empty = np.flatnonzero(table.texts(name).is_null().to_numpy())
    if len(empty):
        raise StageError(
            f"{table.where(int(empty[0]))}: column {name} has no id; write the video's id or delete the row"
        )
    return name


def videos_of(table: Table, id_column: str, ids: list[str]) -> np.ndarray:
    """Return the place in `ids` of each row's id, int64 [rows]; -1 where no features have it. Ids are distinct."""
    readable = id_array(ids)
    found = pc.fill_null(pc.index_in(table.texts(id_column), value_set=readable), -1).to_numpy().astype(np.int64)
    if len(readable) == len(ids):
        return found
    places = np.flatnonzero([not _UNREADABLE.search(id) for id in ids])
    return np.append(places, -1)[found]


def _refuse_header_that_is_data(table: Table, wanted: pa.Array, named: str | None) -> None:
    """Where a text has but its header, or the named column is not in it: else rows tell which column holds ids."""
    if not table.titled or (len(table) and (named is None or named in table.names)):
        return
    there = pc.is_in(pa.array(table.names, pa.string()), value_set=wanted).to_pylist()
    if any(there):
        raise _headless(table, table.names[there.index(True)])


def _headless(table: Table, name: str) -> StageError:
    return StageError(
        f"{table.files}: the first line should name the columns, and {name!r} in it is the id of a video; "
        "add a header line, such as id,label"
    )


def _readable(table: Table) -> list[str]:
    """Return the columns of single cells that are text or numbers; raises StageError if they are bytes, all of them."""
    found, unreadable = [], None
    for name in table.names:
        try:
            if not table.is_vector(name) and not table.is_list(name):
                found.append(name)
        except StageError as error:  # pictures beside the ids, for example
            unreadable = error
    if not found and unreadable:
        raise unreadable
    return found


def _count(texts: pa.ChunkedArray, wanted: pa.Array) -> int:
    found = pc.drop_null(pc.index_in(texts, value_set=wanted)).to_numpy()
    return int(np.count_nonzero(np.bincount(found, minlength=1)))


def _no_ids(table: Table, ids: Collection[str], columns: list[str], named: str | None) -> str:
    tried = {name: match_ids(ids, table.texts(name)) for name in columns[:100]}
    best = max(tried, key=lambda name: (tried[name].remedy is not None, len(tried[name].near)), default=None)
    first = next(iter(ids), None)
    like = f"such as {first!r}" if first is not None else "of which there are none"
    if named is not None:
        message = f"{table.files}: no cell of column {named} is the id of a video, {like}"
    else:
        message = f"{table.files}: no column ({_names(table)}) holds the ids of videos, {like}"
    if best and tried[best].first_table:
        message += f"; column {best} begins with {tried[best].first_table[0]!r}"
    if best and (told := tried[best].remedy):
        return f"{message}. {told}"
    if len(table.names) == 1 and table.titled:
        return f"{message}; columns are separated by comma, semicolon or tab"
    if best and tried[best].near:
        miss = tried[best].near[0]
        return f"{message}. {miss.written!r} would match {miss.rule}: write {miss.wanted!r}"
    return f"{message}; name the column with --id, or write the ids as the features have them"


def _names(table: Table) -> str:
    return listed([name[:40] for name in table.names], 8)


def _replaced(pattern: str, by: str = "") -> Callable[[pa.Array], pa.Array]:
    return lambda ids: pc.replace_substring_regex(ids, pattern, by)


def _part(pattern: str, written: str, wanted: str, what: str) -> str:
    """Return how the parts of two ids that match a pattern differ; empty if they do not."""
    here, there = ((found[0] if (found := re.search(pattern, id)) else "") for id in (written, wanted))
    if here == there:
        return ""
    if here and there:
        return f"with the {what} {there!r} in place of {here!r}"
    return f"without the {what} {here!r}" if here else f"with the {what} {there!r}"


def _folder(written: str, wanted: str) -> str:
    return _part(_FOLDER, written, wanted, "folder")


def _suffix(written: str, wanted: str) -> str:
    return _part(_ENDING, written, wanted, "suffix")


def _both(written: str, wanted: str) -> str:
    return " and ".join(filter(None, (_folder(written, wanted), _suffix(written, wanted))))


_RULES: tuple[tuple[Callable[[pa.Array], pa.Array], Callable[[str, str], str]], ...] = (
    (_replaced(_ENDING), _suffix),
    (_replaced(_FOLDER), _folder),
    (pc.utf8_lower, lambda *_: "in other case"),
    (pc.utf8_trim_whitespace, lambda *_: "without the spaces around them"),
    (_replaced("(^|[^0-9])0+([0-9])", r"\1\2"), lambda *_: "with other leading zeros"),
    (lambda ids: pc.utf8_normalize(ids, form="NFC"), lambda *_: "in another form of Unicode (composed letters)"),
    (lambda ids: _replaced(_ENDING)(_replaced(_FOLDER)(ids)), _both),
)
"""What is made alike on both sides, and how to say what differs."""


def _near_misses(features: pa.Array, table: pa.Array) -> tuple[list[NearMiss], str | None]:
    """Return the first near misses and the remedy, of ids that are on one side alone."""
    near: dict[str, NearMiss] = {}
    best = ""
    most = 0
    for alike, told in _RULES:
        pairs = _pairs(alike(features), alike(table))
        for place, feature in zip(*(each[:SHOWN].tolist() for each in pairs)):
            written, wanted = table[place].as_py(), features[feature].as_py()
            near.setdefault(written, NearMiss(written, wanted, told(written, wanted)))
        if (count := len(pairs[0])) > most:
            most, written, wanted = count, table[int(pairs[0][0])].as_py(), features[int(pairs[1][0])].as_py()
            best = f"match {told(written, wanted)}: write {wanted!r}, not {written!r}"
    fewest = min(len(features), len(table))
    remedy = f"{most:,} of {fewest:,} {best}" if most and most >= _NEARLY_ALL * fewest else None
    return list(near.values())[:SHOWN], remedy


def _pairs(features: pa.Array, table: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Return the places in the table, ascending, and in the features of keys that are once in each."""
    once = [_once(keys) for keys in (features, table)]
    places = np.flatnonzero(pc.is_in(table, value_set=pc.drop_null(once[0])).to_numpy(zero_copy_only=False))
    places = places[pc.is_in(table.take(places), value_set=once[1]).to_numpy(zero_copy_only=False)]
    return places, pc.index_in(table.take(places), value_set=features).to_numpy()


def _once(keys: pa.Array) -> pa.Array:
    counts = pc.value_counts(keys)
    return counts.field("values").filter(pc.equal(counts.field("counts"), 1))
