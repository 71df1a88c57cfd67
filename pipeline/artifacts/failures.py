"""What the system refused: its number for the error, whichever library raised it, the path, and the remedy."""

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

from pipeline.artifacts.temporary import final_path
from pipeline.config.errors import ConfigError, StageError

_ROOM = "make room, the same command goes on"
_ELSEWHERE = "choose another folder (--data-dir, --runs-dir, --submissions-dir, --reports-dir)"
_FILES = "allow more open files (ulimit -n), the same command goes on"
_DISK = "see to the disk or its connection, the same command goes on"
REMEDIES = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EFBIG: "allow larger files (ulimit -f), or choose another file system; the same command goes on",
    errno.EROFS: _ELSEWHERE,
    errno.EACCES: f"give yourself the right to it, or {_ELSEWHERE}",
    errno.EPERM: f"give yourself the right to it, or {_ELSEWHERE}",
    errno.ENOTDIR: "a file is where a folder should be: move it, or name another folder",
    errno.EEXIST: "a file is where a folder should be: move it, or name another folder",
    errno.EISDIR: "a folder is where a file should be: move it, or name another file",
    errno.ENOTEMPTY: "something was put there meanwhile: move it, the same command goes on",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ELOOP: "its symbolic links lead in a circle: remove one of them",
    errno.EMFILE: _FILES,
    errno.ENFILE: _FILES,
    errno.EIO: _DISK,
    errno.ESTALE: _DISK,
    errno.ENODEV: _DISK,
    errno.ENXIO: _DISK,
    errno.ETIMEDOUT: _DISK,
    errno.EBUSY: _DISK,
}
"""What a user can do, by the number of the error."""
_TOLD = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EMFILE, errno.EIO)
"""Errors that libraries tell of in words alone."""
EXHAUSTED = (errno.EMFILE, errno.ENFILE)
"""Errors that say nothing of a file: the next one cannot be opened either."""
_LIBRARIES = {"builtins", "h5py", "jaxlib", "keras", "pyarrow", "tensorflow", "torch", "zipfile"}


def errno_of(error: BaseException) -> int | None:
    """Return the number of the system's error that an exception is, or tells of; None if it is another error."""
    if isinstance(error, (StageError, ConfigError)) or not isinstance(error, Exception):
        return None
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno if error.errno in REMEDIES else None
    if type(error).__module__.split(".")[0] not in _LIBRARIES:
        return None
    text = str(error)
    return next((number for number in _TOLD if os.strerror(number) in text), None)


def is_refusal(error: BaseException) -> bool:
    """Return whether the system refused to read a file that may well be good: then it is not the file's damage."""
    return errno_of(error) not in (None, errno.EISDIR, errno.ENOTDIR)


def path_of(error: BaseException) -> str:
    """Return the path that an error is about, with final names; empty if it names none."""
    named = getattr(error, "filename", None)
    if named is None or isinstance(named, int):
        found = re.search(r"'([^']*/[^']*)'|^(\S*/[^;]*);", str(error))
        named = (found[1] or found[2]) if found else None
    return str(final_path(os.fsdecode(named))) if named else ""


@contextlib.contextmanager
def about(path: Path | str) -> Iterator[None]:
    """Raise what the system refuses to do in the block as an OSError that names a path: its own, or else `path`."""
    try:
        yield
    except Exception as error:
        number = errno_of(error)
        if number is None:
            raise
        raise OSError(number, os.strerror(number), path_of(error) or str(path)) from error
