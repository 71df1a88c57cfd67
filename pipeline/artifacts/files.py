"""Write files and folders whole or not at all, and remove what killed processes left half-written."""

import contextlib
import ctypes
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.artifacts.stored_json import StoredObject, parse_json
from pipeline.config.errors import StageError
from pipeline.runtime.output import printable_json

_LEFTOVER = re.compile(r"\.(?P<name>.+)\.(?P<process>\d+)(?P<old>\.old)?\.part(\..+)?")
"""Temporary names: a dot, the final name, the number of the process, `.part`."""
_LARGEST_JSON = 512 << 20
"""Bytes of a file of JSON that is read: dataset.json has about 150 for each shard."""


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; the file written there replaces `path` if the block raises no error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path.parent, path.name)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield temporary
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Do the same for a folder; an earlier folder is replaced in one step, so that one is always there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path.parent, path.name)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    temporary.mkdir()
    try:
        yield temporary
        if not path.exists():
            temporary.rename(path)
        elif not _exchange(temporary, path):
            old = path.with_name(f".{path.name}.{os.getpid()}.old.part")
            path.rename(old)
            temporary.rename(path)
            old.rename(temporary)
        sync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove_leftovers(folder: Path, name: str | None = None) -> None:
    """Delete what killed processes left half-written in a folder, for one final name or for all.

    A folder that such a process had moved aside, to replace it, gets its name back.
    """
    for path in folder.glob(".*.part*"):
        left = _LEFTOVER.fullmatch(path.name)
        if left is None or name not in (None, left["name"]) or _alive(int(left["process"])):
            continue
        if path.is_dir() and left["old"] and not (folder / left["name"]).exists():
            with contextlib.suppress(FileNotFoundError):  # another process was first
                path.rename(folder / left["name"])
        elif path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def remove_folder(folder: Path) -> None:
    """Delete a folder, which is renamed first: if the process is killed midway, nothing looks like the whole folder."""
    doomed = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    folder.rename(doomed)
    shutil.rmtree(doomed)


def sync(path: Path) -> None:
    """Wait until a file's bytes, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically, with the keys in the order given and one final newline."""
    with atomic_file(path) as temporary:
        temporary.write_text(printable_json(value, indent=2) + "\n", encoding="utf-8")


def read_json(path: Path) -> StoredObject:
    """Read a file that holds a JSON object.

    Raises:
        StageError: it is missing, too large, or no JSON object; the message names it.
    """
    again = "delete it and run the stage that writes it"
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST_JSON + 1)
        if len(text) > _LARGEST_JSON:
            raise StageError(f"{path} has more than {_LARGEST_JSON >> 20} MiB, which no stage writes; {again}")
        values = parse_json(text.decode("utf-8"), path)
    except FileNotFoundError:
        raise StageError(f"{path} is missing: run the stage that writes it") from None
    except ValueError as error:
        raise StageError(f"{path} is not valid JSON ({error}); {again}") from error
    if not isinstance(values, StoredObject):
        raise StageError(f"{path} must hold a JSON object, and holds a {type(values).__name__}; {again}")
    return values


def _exchange(one: Path, other: Path) -> bool:
    """Exchange the names of two paths in one step; return False if the system or the file system cannot."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        return False
    here, swap = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return rename(here, os.fsencode(one.absolute()), here, os.fsencode(other.absolute()), swap) == 0


def _alive(process: int) -> bool:
    """Return whether another process of this number runs here; leftovers of this process itself are not in use."""
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
