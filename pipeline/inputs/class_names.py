"""Read the names of a dataset's classes from the CSV that `download` stores beside the index."""

import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from pipeline.config.errors import StageError

FILES = ("vocabulary.csv", "class_labels_indices.csv")
"""The files of YouTube-8M and of AudioSet, below data/<dataset>/."""
_LARGEST = 64 << 20
"""Bytes; YouTube-8M's has 1 MB."""
_NUMBERS, _NAMES = ("index", "label"), ("name", "display_name")
"""The columns that may hold a class's number, and its name; case is ignored."""


def read_class_names(source: Path | None, num_classes: int) -> list[str]:
    """Return a name for each class: the one in the file, or "class 17" if the file has none or there is no file.

    Args:
        source: a CSV with a header and a line for each class, with its number under `index` and its name under `name`
            or `display_name`; or a dataset's folder that holds such a CSV as one of FILES; or None.
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


def _short(row: list[str]) -> list[str]:
    """Return the beginning of a row, for messages."""
    return [cell[:40] for cell in row[:4]]


def _rows(path: Path, num_classes: int) -> Iterator[tuple[int, str]]:
    try:
        if path.stat().st_size > _LARGEST:
            raise StageError(f"{path} is no vocabulary: it has more than {_LARGEST >> 20} MiB")
        with path.open(encoding="utf-8-sig", newline="") as file:  # a name may have commas, quotes and line breaks
            lines = csv.reader(file)
            header = [title.strip().lower() for title in next(lines, [])]
            number = next((header.index(title) for title in _NUMBERS if title in header), None)
            name = next((header.index(title) for title in _NAMES if title in header), None)
            if number is None or name is None:
                raise StageError(
                    f"{path} must have columns index and name (or display_name); its header is {_short(header)}"
                )
            for row in filter(None, lines):
                try:
                    place = int(row[number])
                    if not 0 <= place < num_classes:
                        raise ValueError
                    yield place, " ".join(row[name].split())
                except (ValueError, IndexError):
                    raise StageError(
                        f"{path}, line {lines.line_num}: the class must be a number below {num_classes} and have a "
                        f"name, not {_short(row)}; is it the vocabulary of another dataset?"
                    ) from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise StageError(f"{path} cannot be read as a vocabulary: {error}") from error
