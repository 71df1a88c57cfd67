"""Labels of videos, from the tables that people have: whatever form they take, to class numbers."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.config.errors import StageError
from pipeline.config.wording import listed
from pipeline.packing.labels.cells import Marks, is_multi_hot, labels_in_cells, multi_hot
from pipeline.packing.labels.classes import number_classes, twins
from pipeline.packing.labels.id_column import find_id_column, videos_of
from pipeline.packing.labels.splits import SPLIT_COLUMNS
from pipeline.packing.tables.table import Table, read_tables


@dataclass(frozen=True)
class Labels:
    """The classes, and those of each video."""

    names: list[str]
    """Of the classes by number: by frequency (equals by name), or as the vocabulary or the numbers say."""
    of: dict[str, np.ndarray]
    """Id of each video that a row names and that has features -> its classes, int32, ascending and distinct; an empty
    array: it is labelled, with none of them."""
    numbered: bool
    """Whether the labels were class numbers already."""
    how: str
    """How the labels were found, in a phrase: "one row a label, column species"."""
    remarks: list[str]
    """What a user may want to know, a sentence each."""


def read_labels(
    source: list[Path] | Table,
    ids: Collection[str],
    *,
    id_column: str | None = None,
    label_column: str | None = None,
    separator: str | None = None,
    vocabulary: list[str] | None = None,
    known: list[str] | None = None,
    other_columns: Collection[str] = (),
) -> Labels:
    """Read the labels of videos.

    A row has the labels of one video, and a video may have several rows, whose labels are put together. Labels are
    names, or numbers; they are class numbers if a vocabulary is given that does not name them, or if they are 0 to some
    number without a gap. Rows of videos without features count for that alone.

    Args:
        source: files of the same columns, or the table that was read of them.
        ids: of the videos that have features, each once.
        id_column: the column of ids; None: the one that matches most of `ids`.
        label_column: the column of labels; None: the one that is left beside ids, splits and groups, or all that are
            left if each is a class (multi-hot).
        separator: what divides a cell into labels; None: found if that is plain; empty: nothing does.
        vocabulary: names of the classes by number.
        known: names of the classes of an earlier pack; they keep their numbers, and new ones follow.
        other_columns: columns that are no labels: those of splits and groups.

    Raises:
        StageError: a table cannot be read, no column matches, or labels cannot be told; the message names the file, the
            row and the remedy.
    """
    table = source if isinstance(source, Table) else read_tables(source)
    id_column = find_id_column(table, ids, id_column)
    videos = list(ids)
    video = videos_of(table, id_column, videos)
    marks = _marks(table, id_column, label_column, separator, other_columns)
    bearer = video[marks.rows]
    borne = bearer >= 0
    # A video may bear a label in several rows: one number for each pair.
    pairs = np.sort(bearer[borne] * max(len(marks.names), 1) + marks.codes[borne])
    pairs = pairs[np.diff(pairs, prepend=-1) > 0]
    bearer, codes = np.divmod(pairs, max(len(marks.names), 1))
    first = _first_of_each(marks)
    classes = number_classes(
        marks.names,
        np.bincount(codes, minlength=len(marks.names)),
        lambda place: _where(table, marks, first[place], place),
        vocabulary=vocabulary,
        known=known,
        keep_all=marks.are_columns,
    )
    numbers = classes.of[codes] if len(codes) else np.zeros(0, np.int32)
    of = _by_video(videos, np.flatnonzero(np.bincount(video[video >= 0], minlength=len(videos))), bearer, numbers)
    return Labels(classes.names, of, classes.numbered, marks.how, marks.remarks + twins(classes.names))


def _marks(
    table: Table, id_column: str, label_column: str | None, separator: str | None, other_columns: Collection[str]
) -> Marks:
    if label_column is not None:
        return labels_in_cells(table, table.require(label_column, "--label-column"), separator)
    left = [
        name
        for name in table.names
        if name not in {id_column, *other_columns}
        and name.casefold() not in SPLIT_COLUMNS
        and not table.is_vector(name)
    ]
    if len(left) > 1 and separator is None and is_multi_hot(table, left):
        return multi_hot(table, left)
    if len(left) > 1:
        said = [name for name in left if table.cells(name).null_count < len(table)]
        left = said if len(said) == 1 else left
    if len(left) == 1:
        return labels_in_cells(table, left[0], separator)
    if not left:
        raise StageError(
            f"{table.files}: beside the ids, column {id_column}, and splits and groups there is no column that may "
            f"hold labels ({_names(table.names)}); add one, or name it with --label-column"
        )
    raise StageError(
        f"{table.files}: the labels may be in any of {len(left)} columns ({_names(left)}); name one with "
        "--label-column. If each is a class, its cells must be 0 or 1, and no other column may be there"
    )


def _first_of_each(marks: Marks) -> np.ndarray:
    """Return the place of each label's first mark, int64 [labels]; -1 for a column without one."""
    first = np.full(len(marks.names), -1, np.int64)
    first[marks.codes[::-1]] = np.arange(len(marks.codes))[::-1]
    return first


def _where(table: Table, marks: Marks, mark: int, place: int) -> str:
    if marks.are_columns:
        return f"{table.files}, column {marks.names[place]}"
    return table.where(int(marks.rows[mark]))


def _by_video(videos: list[str], named: np.ndarray, bearer: np.ndarray, numbers: np.ndarray) -> dict[str, np.ndarray]:
    """Return the classes of each video that is named; `bearer`, ascending, tells whose each number is."""
    order = np.lexsort((numbers, bearer))
    bearer, numbers = bearer[order], numbers[order]
    # Two labels may be one class: 7 and 07.
    distinct = np.ones(len(bearer), bool)
    distinct[1:] = (bearer[1:] != bearer[:-1]) | (numbers[1:] != numbers[:-1])
    bearer, numbers = bearer[distinct], numbers[distinct]
    starts, ends = (np.searchsorted(bearer, named, side).tolist() for side in ("left", "right"))
    return {videos[video]: numbers[start:end] for video, start, end in zip(named.tolist(), starts, ends)}


def _names(names: list[str]) -> str:
    return listed([name[:40] for name in names], 8)
