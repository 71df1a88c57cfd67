"""Files and folders that are written whole or not at all, and what killed processes left."""

import contextlib
import ctypes
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.config.errors import StageError

_LEFTOVER = re.compile(r"\.(?P<name>.+)\.(?P<process>\d+)(?P<old>\.old)?\.part(\..+)?")
"""Temporary names: a dot, the final name, the process, `.part`."""


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`; what was written there takes its name when the block ends without an error."""
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
    """The same for a whole folder; one that was there before is replaced, and is never missing meanwhile."""
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
    """Delete what a killed process left half-written in a folder, of one name or of all.

    A folder that it was about to replace, and had moved aside, gets its name back.
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
    """Delete a folder so that a kill midway leaves nothing that looks like one: it loses its name first."""
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
    """Write JSON atomically, keys as given, one final newline."""
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read JSON; raises StageError naming the file where it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StageError(f"{path} is missing") from None
    except ValueError as error:
        raise StageError(f"{path} is not valid JSON ({error}); delete it and run the stage that writes it") from error


def _exchange(one: Path, other: Path) -> bool:
    """Let two paths change names in one step; False where the system or the file system cannot."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        return False
    here, swap = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return rename(here, os.fsencode(one.absolute()), here, os.fsencode(other.absolute()), swap) == 0


def _alive(process: int) -> bool:
    """Whether another process of this number is running here; our own leftovers are not in use."""
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
