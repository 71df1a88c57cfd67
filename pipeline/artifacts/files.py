"""Write files and folders whole or not at all, and remove what killed processes left half-written."""

import contextlib
import ctypes
import errno
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.artifacts.failures import about
from pipeline.artifacts.locks import locked
from pipeline.artifacts.stored_json import StoredObject, parse_json
from pipeline.artifacts.temporary import TemporaryName
from pipeline.config.errors import StageError
from pipeline.runtime.output import printable_json

_ABANDONED = 24 * 3600
"""Seconds without a change after which a temporary file is nobody's, where no lock can tell."""
_CANNOT_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EBADF, errno.ENOSYS, errno.EACCES, errno.EPERM}
"""What file systems say that write in their own time, above all of folders: vboxsf, CIFS, some FUSE."""
_LARGEST_JSON = 512 << 20
"""Bytes of a file of JSON that is read: dataset.json has about 150 for each shard."""


@contextlib.contextmanager
def temporary_path(path: Path, suffix: str = "") -> Iterator[Path]:
    """Yield an unused path beside `path` that begins with a dot and ends with `suffix`; what is there is deleted.

    While the block runs no other process takes it for a leftover; when the process is killed, the next one that writes
    `path` deletes it.

    Raises:
        OSError: the system refuses to write it. The error names `path`, not the temporary path.
    """
    with about(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path.parent, path.name)
        mark = path.with_name(str(TemporaryName.new(path.name)))
        with locked(mark):
            temporary = mark.with_name(mark.name + suffix)
            try:
                yield temporary
            finally:
                _remove(temporary)


@contextlib.contextmanager
def atomic_file(path: Path, suffix: str = "") -> Iterator[Path]:
    """Yield a temporary path beside `path`; the file written there replaces `path` if the block raises no error.

    Raises as `temporary_path` does.
    """
    with temporary_path(path, suffix) as temporary:
        yield temporary
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Do the same for a folder; an earlier folder is replaced in one step, so that one is always there."""
    with temporary_path(path) as temporary:
        temporary.mkdir()
        yield temporary
        # A machine that fails must not leave the name without its content.
        for below in temporary.rglob("*"):
            sync(below)
        sync(temporary)
        if not path.exists():
            temporary.rename(path)
        elif not _exchange(temporary, path):
            old = path.with_name(f"{temporary.name.removesuffix('.part')}.old.part")
            path.rename(old)
            temporary.rename(path)
            old.rename(temporary)
        sync(path.parent)


def remove_leftovers(folder: Path, name: str | None = None) -> None:
    """Delete what killed processes left half-written in a folder, for one final name or for all.

    A folder that such a process had moved aside, to replace it, gets its name back. What cannot be deleted stays.
    """
    for path in folder.glob(".*.part*"):
        left = TemporaryName.of(path.name)
        if left is None or name not in (None, left.final):
            continue
        with contextlib.suppress(StageError, OSError), locked(folder / str(left)) as told:  # StageError: it is in use
            if left.lock or not ((told and not left.writer.isdigit()) or _is_abandoned(path, left.writer)):
                continue
            if path.is_dir() and left.old and not (folder / left.final).exists():
                path.rename(folder / left.final)
            else:
                _remove(path)


def remove_folder(folder: Path) -> None:
    """Delete a folder, which is renamed first: if the process is killed midway, nothing looks like the whole folder."""
    with temporary_path(folder) as doomed, contextlib.suppress(FileNotFoundError):
        folder.rename(doomed)


def sync(path: Path) -> None:
    """Wait until a file's bytes, or the names in a folder, are on the disk, as far as the file system can."""
    with contextlib.ExitStack() as stack:
        try:
            descriptor = os.open(path, os.O_RDONLY)
            stack.callback(os.close, descriptor)
        except PermissionError:  # it may be written, and not read
            return
        sync_descriptor(descriptor)


def sync_descriptor(descriptor: int) -> None:
    """Wait until the bytes of an open file are on the disk, as far as the file system can."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise


def read_at(descriptor: int, size: int, offset: int) -> bytes:
    """Read bytes of an open file, fewer only at its end: one call of the system may read less. Raises OSError."""
    parts = []
    while size > 0 and (part := os.pread(descriptor, size, offset)):
        parts.append(part)
        size, offset = size - len(part), offset + len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


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


def _is_abandoned(path: Path, writer: str) -> bool:
    """Return whether nobody writes a temporary file, as far as can be told without a lock.

    That is so after a day without a change. A number of a process that is not there, or is this one's own, is that of a
    process that has ended: an earlier version's.
    """
    if writer.isdigit() and not _runs(int(writer)):
        return True
    newest = max(each.lstat().st_mtime for each in (path, *path.rglob("*")))
    return time.time() - newest > _ABANDONED


def _runs(process: int) -> bool:
    """Return whether another process of this number runs here."""
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _remove(path: Path) -> None:
    """Delete a file or a folder that may not be there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
