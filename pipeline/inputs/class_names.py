"""Read the names of a dataset's classes from the CSV that `download` stores beside the index."""

import csv
import io
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from pipeline.config.errors import StageError
from pipeline.inputs.text import read_text

FILES = ("vocabulary.csv", "class_labels_indices.csv")
"""The files of YouTube-8M and of AudioSet, below data/<dataset>/."""
_NUMBERS = ("index", "label_id", "class_id", "id", "label")
"""Columns that may hold a class's number, the surest first; case, spaces and - for _ are ignored."""
_NAMES = ("name", "display_name", "label_name", "class_name", "label", "class")
"""Columns that may hold its name, likewise."""
_SEPARATORS = (",", ";", "\t")
"""Between columns; spreadsheets write what is customary where they run."""


def read_class_names(source: Path | None, num_classes: int) -> list[str]:
    """Return a name for each class: the one in the file, or "class 17" if the file has none or there is no file.

    Args:
        source: a CSV with a header and a line for each class, with its number in a column such as `index` or `label_id`
            and its name in one such as `name`, `display_name` or `label_name`; or a dataset's folder that holds such a
            CSV as one of FILES; or None.
        num_classes: the number of classes. If several classes share a name, their numbers are added to it.

    Raises StageError, naming the file and the line, if the file is not such a CSV or has other classes.
    """
    found = [f"class {number}" for number in range(num_classes)]
    if source is None:
        return found
    if source.is_dir():
        source = next((source / name for name in FILES if (source / name).exists()), source)
        if source.is_dir():
            return found
    for number, name in _rows(source, num_classes):
        found[number] = name or found[number]
    shared = {name for name, count in Counter(found).items() if count > 1}
    return [f"{name} ({number})" if name in shared else name for number, name in enumerate(found)]


def _rows(path: Path, num_classes: int) -> Iterator[tuple[int, str]]:
    text = read_text(path)
    number, name, separator = _columns(path, text)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator)  # a name may have commas and line breaks
    try:
        next(lines)
        for row in filter(any, lines):
            try:
                place = int(row[number])
                if not 0 <= place < num_classes:
                    raise ValueError
                yield place, " ".join(row[name].split())
            except (ValueError, IndexError):
                raise StageError(
                    f"{path}, line {lines.line_num}: the class must be a number below {num_classes} and have a "
                    f"name, not {row[:4]}; is it the vocabulary of another dataset?"
                ) from None
    except csv.Error as error:
        raise StageError(f"{path}, line {lines.line_num}, cannot be read as a vocabulary: {error}") from error


def _columns(path: Path, text: str) -> tuple[int, int, str]:
    """Return the columns of a class's number and of its name, and what separates columns."""
    for separator in _SEPARATORS:
        header = next(csv.reader(io.StringIO(text, newline=""), delimiter=separator), [])
        titles = [title.strip().lower().replace("-", "_").replace(" ", "_") for title in header]
        number = next((titles.index(title) for title in _NUMBERS if title in titles), None)
        name = next((place for title in _NAMES if title in titles and (place := titles.index(title)) != number), None)
        if number is not None and name is not None:
            return number, name, separator
    first = text.splitlines()[0][:120] if text else ""
    raise StageError(
        f"{path} must have a column with the number of a class ({', '.join(_NUMBERS)}) and one with its name "
        f"({', '.join(_NAMES)}); its first line is {first!r}"
    )
