"""Find the form of a sample submission: a column for each class, a column of labels, or one of pairs."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.config.errors import StageError
from pipeline.config.wording import counted
from pipeline.submission.like_classes import Classes
from pipeline.submission.lines import NUMBER, confidence_fault, short

Form = Literal["columns", "labels", "pairs"]
_BETWEEN = (", ", "; ", " | ", ",", ";", "|", "\t", " ")
"""What may stand between labels, the longer before the shorter one that it contains."""
_OF_SCORES = re.compile("pair|confidence|score|prob", re.I)
"""In the name of a column of pairs."""


@dataclass(frozen=True)
class Cells:
    """What the cells beside the id hold."""

    form: Form
    """columns: one probability, of the class that the column is named for; labels: some labels, best first;
    pairs: some labels, each with its confidence."""
    by_name: bool
    """Whether classes are named, and not numbered."""
    classes: Classes | None
    """Those of the dataset, if they are known."""
    numbers: tuple[int, ...] = ()
    """columns: the class of each column; empty if classes are not known."""
    between: str = ""
    """labels, pairs: what stands between labels; "" where each cell has one label."""
    most: int = 0
    """labels, pairs: the most labels that a row of the sample has."""
    empty: bool = False
    """labels, pairs: whether a row of the sample has none, and others have some."""
    binary: bool = False
    """columns: whether the sample has 0 and 1, and no other number."""

    def count(self, path: Path, asked: int | None) -> int:
        """Return the most labels that a row may have: as many as were asked for, or as the sample's rows have.

        Raises StageError if several were asked for, and the sample at `path` does not show what stands between them.
        """
        if self.classes and self.form == "labels" and not self.between and (asked or 1) > 1:
            raise StageError(
                f"--submission.top-k {asked}: {path} has one label a row, so that nobody can know what stands between "
                "labels; leave the flag out, or write an example of several labels into one row of the sample"
            )
        return asked or self.most

    def describe(self) -> str:
        """Return the form in words."""
        how = "named" if self.by_name else "numbered"
        if self.form == "columns":
            return f"one column for each class, {how}"
        if self.form == "labels" and not self.between:
            return f"one label a row, {how}"
        return f"{'labels' if self.form == 'labels' else 'labels and confidences'} in one column, {how}"


def read_cells(path: Path, columns: Sequence[str], cells: Sequence[str], classes: Classes | None) -> Cells:
    """Find the form.

    Args:
        path: the sample, for messages.
        columns: the names of the columns beside the ids'.
        cells: their cells; of several columns, those of the first rows are enough.
        classes: those of the dataset; None if they are not known.

    Raises StageError if columns or labels are no classes, or the cells are of no form that is known.
    """
    if len(columns) > 1 or (classes is not None and columns[0] in classes.table(columns)[1]):
        return _columns(path, columns, cells, classes)
    filled = [cell.strip() for cell in cells if cell.strip()]
    if not filled:
        raise StageError(
            f"{path}: column {short(columns[0])} is neither a class nor filled, so that nobody can know its form; "
            "write an example of the labels that the host wants into one row, such as 3 17"
        )
    scored = _OF_SCORES.search(columns[0]) is not None
    if may_part := [between for between in _BETWEEN if _are_pairs(filled, between, scored)]:
        between = max(may_part, key=lambda between: _known(filled, between, classes, 2))
        return _listed(path, columns[0], "pairs", cells, between, classes)
    if all(NUMBER.fullmatch(cell) and not cell.isdecimal() for cell in filled):
        return _columns(path, columns, cells, classes)  # of a single class, whose name is not known
    return _listed(path, columns[0], "labels", cells, _between_labels(filled, classes), classes)


def _columns(path: Path, columns: Sequence[str], cells: Sequence[str], classes: Classes | None) -> Cells:
    numbers: tuple[int, ...] = ()
    by_name = not all(name.isdecimal() for name in columns)
    if classes is not None:
        by_name, table = classes.table(columns)
        if foreign := [name for name in columns if name not in table]:
            raise StageError(
                f"{path}: {len(foreign)} of its {counted(len(columns), 'column')} beside the ids not a class of the "
                f"dataset: {classes.listed(foreign)}; columns have the classes' names or numbers"
            )
        numbers = tuple(table[name] for name in columns)
    for cell in cells:
        if cell.strip() and (fault := confidence_fault(cell.strip())):
            raise StageError(
                f"{path}: {fault}, where a column for each class holds probabilities; if the host wants those, write "
                "a number from 0 to 1 into the sample"
            )
    binary = {cell.strip() for cell in cells} == {"0", "1"}
    return Cells("columns", by_name, classes, numbers, binary=binary)


def _are_pairs(cells: list[str], between: str, scored: bool) -> bool:
    """Return whether cells are labels with scores: they are told from numbers of classes by a point, or by repeating.

    `scored` says that the column's name tells so.
    """
    for cell in cells:
        tokens = cell.split(between)
        if len(tokens) % 2 or any(confidence_fault(score) for score in tokens[1::2]):
            return False
        scored = scored or not all(score.isdecimal() for score in tokens[1::2])
        scored = scored or len(set(tokens)) < len(tokens)
    return scored


def _between_labels(cells: list[str], classes: Classes | None) -> str:
    """Return what stands between labels, "" if each cell is one: by which most of the cells' words are classes."""
    if classes is None:
        if not all(re.fullmatch(r"\d+([^\d.]+\d+)*", cell, re.ASCII) for cell in cells):
            return ""  # a name may hold anything, and nobody knows whether it is one or several
        return next((between for between in _BETWEEN if any(between in cell for cell in cells)), "")

    return max(("", *_BETWEEN), key=lambda between: _known(cells, between, classes, 1))


def _known(cells: list[str], between: str, classes: Classes | None, step: int) -> float:
    """Return which share of the labels in cells, which are every word or every other one, are classes."""
    words = {word for cell in cells for word in (cell.split(between)[::step] if between else [cell])}
    return len(words & classes.table(words)[1].keys()) / len(words) if classes else 0


def _listed(path: Path, column: str, form: Form, cells: Sequence[str], between: str, classes: Classes | None) -> Cells:
    step, filled = 2 if form == "pairs" else 1, [cell.strip() for cell in cells if cell.strip()]
    rows = [cell.split(between)[::step] if between else [cell] for cell in filled]
    words = dict.fromkeys(word for row in rows for word in row)
    by_name = not all(word.isdecimal() for word in words)
    if classes is not None:
        by_name, table = classes.table(words)
        if foreign := [word for word in words if word not in table]:
            raise StageError(
                f"{path}: {len(foreign)} of the {counted(len(words), 'label')} in its column {short(column)} not a "
                f"class of the dataset: {classes.listed(foreign)}; labels are the classes' names or numbers"
            )
        torn = [name for name in classes.names if between and between in name] if by_name else []
        if torn:
            raise StageError(f"{path}: {between!r} stands between labels, and class {torn[0]!r} has it in its name")
    return Cells(form, by_name, classes, (), between, max(map(len, rows)), len(filled) < len(cells))
