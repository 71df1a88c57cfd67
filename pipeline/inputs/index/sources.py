"""Find the files to index, and the split of each."""

import glob
import os
from collections.abc import Iterable
from pathlib import Path

from pipeline.artifacts.hidden import is_hidden, visible
from pipeline.config.checked import check_value
from pipeline.config.errors import StageError
from pipeline.config.ranges import FolderName
from pipeline.config.wording import counted
from pipeline.inputs.index import Source
from pipeline.inputs.records.file_kinds import TFRECORDS, kind_of_file


def parse_sources(raw: list[str]) -> list[Source]:
    """Return the files that SPLIT=DIR_OR_GLOB arguments name, ordered by the bytes of their names.

    What a folder or a pattern brings along that is no data (see `pipeline.artifacts.hidden`) is passed over. A file
    that is named outright is read.

    Raises:
        StageError: an argument is malformed or names no file, or two name the same file.
        ConfigError: the name of a split cannot be that of a folder.
    """
    sources = []
    for item in raw:
        split, separator, place = item.partition("=")
        if not (separator and split and place) or not split.replace("_", "").isalnum():
            raise StageError(f"--raw {item}: write SPLIT=DIR_OR_GLOB, for example train=/data/train")
        check_value(f"--raw {item}: the split", split, FolderName)
        files = in_order(file.resolve() for file in named_files(place, "*.tfrecord") if file.is_file())
        if not files:
            raise StageError(f"--raw {item}: there are no *.tfrecord files there{_others(Path(place))}")
        sources += [Source(file, split) for file in files]
    if twice := len(sources) - len({source.path for source in sources}):
        raise StageError(f"--raw names {counted(twice, 'file')} twice")
    return sources


def find_sources(root: Path) -> list[Source]:
    """Return the files of data/<dataset>/raw, where each folder is a split; pass over what is no data."""
    found = (file for file in visible(root, "*/*.tfrecord") if file.is_file())
    return [Source(file, file.parent.name) for file in in_order(found)]


def size_and_mtime(path: Path) -> tuple[int, int]:
    """Return a file's size in bytes and the time of its last change in nanoseconds, which tell whether it changed."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def named_files(place: str, inside: str) -> Iterable[Path]:
    """Return what a folder (there is `inside` a pattern for it), a file or a pattern names; ** is any folders."""
    path = Path(place)
    if path.is_dir():
        return visible(path, inside)
    if path.exists():
        return [path]
    fixed = next((number for number, part in enumerate(path.parts) if glob.has_magic(part)), len(path.parts))
    found = map(Path, glob.glob(place, recursive=True))  # noqa: PTH207 (absolute too)
    return (file for file in found if not is_hidden("/".join(file.parts[fixed:])))


def in_order(files: Iterable[Path]) -> list[Path]:
    """Return files ordered by the bytes of their names."""
    return sorted(files, key=os.fsencode)


def _others(path: Path) -> str:
    """Return what a folder holds in place of TFRecords, for a message; empty if it holds no files."""
    files = sorted(file for file in visible(path, "*") if file.is_file()) if path.is_dir() else []
    if not files:
        return ""
    try:
        kind = kind_of_file(files[0])
    except OSError:
        kind = None
    if kind == TFRECORDS:
        return f"; {files[0].name} holds TFRecords: rename it, or name it with a pattern, {path}/*{files[0].suffix}"
    what = kind.is_not("TFRecords", "write what it holds as TFRecords") if kind else "its kind is not known"
    return f"; the first file is {files[0].name}: {what}"
