"""Read the names of a dataset's classes: from a CSV once, at ingest, and from the index ever after."""

import csv
import io
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from pipeline.artifacts.files import read_json
from pipeline.config import MOST_CLASSES
from pipeline.config.errors import StageError
from pipeline.config.wording import counted, listed
from pipeline.inputs.text import read_text

SUMMARY = "dataset.json"
"""The summary of an index, in its folder."""
KEY = "class_names"
"""Where they are in dataset.json. Models do not depend on them, so the digest of the index does not."""
FILES = ("vocabulary.csv", "class_labels_indices.csv")
"""The files of YouTube-8M and of AudioSet, as `download` puts them into data/<dataset>/."""
_LARGEST = 64 << 20
"""Bytes; YouTube-8M's has 1 MB."""
_NUMBERS = ("index", "label_id", "class_id", "id", "label")
"""Columns that may hold a class's number, the surest first; case, spaces and - for _ are ignored."""
_NAMES = ("name", "display_name", "label_name", "class_name", "label", "class")
"""Columns that may hold its name, likewise."""
_SEPARATORS = (",", ";", "\t")
"""Between columns; spreadsheets write what is customary where they run."""


def read_class_names(path: Path, num_classes: int) -> list[str]:
    """Return a name for each class from a vocabulary; one whose name is empty there is called "class 17".

    Args:
        path: a CSV with a header and a line for each class, with its number in a column such as `index` or `label_id`
            and its name in one such as `name`, `display_name` or `label_name`.
        num_classes: the number of classes. If several classes share a name, their numbers are added to it.

    Raises StageError, naming the file and the line, if the file is not such a CSV, has other classes, or lacks some.
    """
    return _complete(path, dict(_rows(path, num_classes)), num_classes)


def read_vocabulary(path: Path) -> list[str]:
    """Return a name for each class from a vocabulary that says itself how many there are; see `read_class_names`."""
    found = dict(_rows(path, MOST_CLASSES))
    if not found:
        raise StageError(f"{path} names no class: it needs a line for each class, below the names of the columns")
    return _complete(path, found, max(found) + 1)


def _complete(path: Path, found: dict[int, str], num_classes: int) -> list[str]:
    """Return the names by number, each once; raise StageError if a class is lacking."""
    if lacking := [number for number in range(num_classes) if number not in found]:
        some = listed([*map(str, lacking)])
        told = f"{num_classes - len(lacking)} of {counted(num_classes, 'class', 'classes')}"
        raise StageError(
            f"{path} names {told}; {some} not in it: every class needs a line with its number, from 0; "
            "its name may be empty"
        )
    names = [found[number] or default for number, default in enumerate(unnamed(num_classes))]
    shared = {name for name, count in Counter(names).items() if count > 1}
    return [f"{name} ({number})" if name in shared else name for number, name in enumerate(names)]


def unnamed(num_classes: int) -> list[str]:
    """Return what classes without names are called."""
    return [f"class {number}" for number in range(num_classes)]


def find_vocabulary(folder: Path) -> Path | None:
    """Return the vocabulary that `download` has put into a dataset's folder, if there is one."""
    return next((folder / name for name in FILES if (folder / name).exists()), None)


def stored_class_names(index: Path, num_classes: int) -> list[str] | None:
    """Return the names that an index holds, given its folder; None if it is not there, or has none for these classes.

    Raises StageError if its summary is damaged.
    """
    path = index / SUMMARY
    names = read_json(path).get(KEY) if path.exists() else None
    return names if names and len(names) == num_classes else None


def _short(row: list[str]) -> list[str]:
    """Return the beginning of a row, for messages."""
    return [cell[:40] for cell in row[:4]]


def _rows(path: Path, num_classes: int) -> Iterator[tuple[int, str]]:
    if path.is_file() and path.stat().st_size > _LARGEST:
        raise StageError(f"{path} is no vocabulary: it has more than {_LARGEST >> 20} MiB")
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
                    f"name, not {_short(row)}; is it the vocabulary of another dataset?"
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
