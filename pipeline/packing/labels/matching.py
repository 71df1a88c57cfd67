"""Ids of tables and ids of features: which match, and what nearly does."""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config.wording import listed

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
        return pa.array(list(filter(is_text, ids)), pa.string())


def is_text(id: str) -> bool:
    """Return whether all bytes of an id, which may be the name of a file, are UTF-8."""
    return not _UNREADABLE.search(id)


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
