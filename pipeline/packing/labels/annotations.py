"""What tables say of videos: their labels, splits and groups, and which ids match."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.config.errors import StageError
from pipeline.inputs.class_names import read_vocabulary
from pipeline.packing.labels.forms import Labels, read_labels
from pipeline.packing.labels.id_column import find_id_column
from pipeline.packing.labels.matching import match_ids
from pipeline.packing.labels.splits import read_splits
from pipeline.packing.settings import PackSettings
from pipeline.packing.tables.table import Table, read_tables


@dataclass(frozen=True)
class Annotations:
    """What is known of N videos beside their features."""

    labels: list[np.ndarray | None]
    """int32, the classes of each, ascending; None if it is unlabelled."""
    splits: list[str]
    groups: list[str] | None
    class_names: list[str]
    named: bool
    """Whether classes have names: numbers alone need no vocabulary."""
    remarks: list[tuple[str, str]]
    """Heads and sentences, for the summary."""


def annotate(settings: PackSettings, ids: Sequence[str], rows: Table | None, known: list[str] | None) -> Annotations:
    """Return labels, splits and groups of videos.

    Args:
        settings: which tables and columns.
        ids: of the videos.
        rows: the table of --rows, which serves as that of labels if there is no other.
        known: names of the classes of an earlier pack.

    Raises StageError: a table cannot be read or understood, or no video is left to train on.
    """
    table = read_tables(settings.labels) if settings.labels else rows
    if table is None:
        raise StageError("--labels is missing: name the table of labels, such as --labels labels.csv")
    tables = [each for each in (table, rows) if each is not None]
    if settings.id is not None and not any(settings.id in each.names for each in tables):
        table.require(settings.id, "--id")
    id_column = find_id_column(table, ids, settings.id if settings.id in table.names else None)
    vocabulary = read_vocabulary(settings.vocabulary) if settings.vocabulary else None
    labels = read_labels(
        table,
        ids,
        id_column=id_column,
        label_column=settings.label_column,
        separator=settings.separator,
        vocabulary=vocabulary,
        known=known,
        other_columns=[name for name in (settings.split_column, settings.group) if name is not None],
    )
    if not labels.names:
        raise StageError(
            f"{table.files}: no video has a label ({labels.how}); name the column of the labels with --label-column, "
            "or the classes with --vocabulary"
        )
    splits = read_splits(
        table,
        ids,
        labels.of,
        file=settings.splits,
        id_column=settings.id,
        split_column=settings.split_column,
        group_column=settings.group,
        not_splits=[settings.label_column] if settings.label_column else [],
    )
    if not any(splits.of[id] == "train" for id in labels.of):
        there = ", ".join(dict.fromkeys(splits.of.values()))
        raise StageError(
            f"{table.files}: no video of split train has labels; splits are {there} ({splits.how}). The videos to "
            "train on must be called train"
        )
    named = [splits.groups.values()] if splits.groups is not None else []
    told = match_ids(ids, table.texts(id_column)).told(table.files)
    return Annotations(
        labels=[labels.of.get(id) for id in ids],
        splits=[splits.of[id] for id in ids],
        groups=[splits.groups[id] for id in ids] if splits.groups is not None else None,
        class_names=labels.names,
        named=not labels.numbered or vocabulary is not None,
        remarks=[
            ("labels", f"{labels.how}; ids in column {id_column}"),
            ("splits", splits.how),
            *(("groups", f"{len({*groups}):,}, column {settings.group}") for groups in named),
            *(("note", each) for each in [*labels.remarks, *_numbers_as_names(labels), *splits.remarks]),
            *(("unmatched", each) for each in told),
        ],
    )


def _numbers_as_names(labels: Labels) -> list[str]:
    """Return a remark if numbers are names of classes, since a person may take them for class numbers."""
    if labels.numbered or not all(name.isascii() and name.isdigit() for name in labels.names):
        return []
    return [
        f"the labels are numbers, and not all from 0 to {max(map(int, labels.names))}: each is the name of a class. To "
        "keep the numbers, name all classes with --vocabulary"
    ]
