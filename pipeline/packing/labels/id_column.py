"""The column of a table that holds the ids of videos, and which row is of which video."""

from collections.abc import Collection

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config.errors import StageError
from pipeline.config.wording import listed
from pipeline.packing.labels.matching import id_array, is_text, match_ids
from pipeline.packing.tables.table import Table


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
    places = np.flatnonzero([is_text(id) for id in ids])
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
