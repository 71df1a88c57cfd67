"""Find the files to index, and the split of each."""

import glob
import os
from collections.abc import Iterable
from pathlib import Path

from pipeline.config.errors import StageError
from pipeline.inputs.index import HOLDOUT, Source


def parse_sources(raw: list[str]) -> list[Source]:
    """Return the files that SPLIT=DIR_OR_GLOB arguments name, ordered by the bytes of their names; skip hidden files.

    Raises StageError if an argument is malformed or names no file, or if two name the same file.
    """
    sources = []
    for item in raw:
        split, separator, place = item.partition("=")
        if not (separator and split and place) or not split.replace("_", "").isalnum():
            raise StageError(f"--raw {item}: write SPLIT=DIR_OR_GLOB, for example train=/data/train")
        if split == HOLDOUT:
            raise StageError(f"--raw {item}: holdout is taken from the training splits; choose another name")
        path = Path(place)
        found = path.glob("*.tfrecord") if path.is_dir() else map(Path, glob.glob(place))  # noqa: PTH207 (absolute too)
        files = _in_order(file.resolve() for file in found if _is_data(file))
        if not files:
            raise StageError(f"--raw {item}: there are no *.tfrecord files there")
        sources += [Source(file, split) for file in files]
    if twice := len(sources) - len({source.path for source in sources}):
        raise StageError(f"--raw names {twice} files twice")
    return sources


def find_sources(root: Path) -> list[Source]:
    """Return the files of data/<dataset>/raw, where each folder is a split; skip hidden files and folders."""
    found = (file for file in root.glob("*/*.tfrecord") if _is_data(file) and not file.parent.name.startswith("."))
    return [Source(file, file.parent.name) for file in _in_order(found)]


def size_and_mtime(path: Path) -> tuple[int, int]:
    """Return a file's size in bytes and the time of its last change in nanoseconds, which tell whether it changed."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _is_data(path: Path) -> bool:
    """Return whether a path is a file that is not hidden.

    macOS puts `._a.tfrecord` beside `a.tfrecord`, and the names of half-written files begin with a dot.
    """
    return path.is_file() and not path.name.startswith(".")


def _in_order(files: Iterable[Path]) -> list[Path]:
    return sorted(files, key=os.fsencode)
