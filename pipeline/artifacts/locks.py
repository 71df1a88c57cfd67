"""A lock that lets one process at a time work on a folder or a file; it lies beside it and ends with the process."""

import contextlib
import errno
import fcntl
import functools
import os
import platform
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from pipeline.config.errors import StageError

_BUSY = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES}
_UNABLE = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
"""What file systems without locks say: NFS without its lock service, Lustre without `-o flock`, some FUSE."""
_FORBIDDEN = {errno.EROFS, errno.EACCES, errno.EPERM}
"""What is said where nothing may be written beside a place."""
_PAUSE = 0.1
"""Seconds between two tries to get a lock."""


class Busy(StageError):
    """Another process holds a lock."""


@contextlib.contextmanager
def locked(place: Path, shared: bool = False, patience: float = 0.0) -> Iterator[bool]:
    """Keep other processes from working on `place`, a folder or a file that need not exist yet, during the block.

    The lock is a file beside it, so that `place` itself may be deleted and made anew. A process that looks at what is
    there and then deletes or makes it must do all of that inside one block. The system ends the lock when the process
    ends, however it does, and keeps it apart from processes of the same number in other containers.

    Args:
        place: what is worked on.
        shared: keep out only those who do not share it.
        patience: seconds to wait for another process that holds the lock.

    Yields whether other processes are kept out. If the file system has no locks, or nothing may be written beside
    `place`, they are not, and a line warns.

    Raises:
        Busy: another process holds the lock; the message names it.
        OSError: the lock's file cannot be made.
    """
    path = place.with_name(f".{place.name}.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor, guarded = _locked(path, place, fcntl.LOCK_SH if shared else fcntl.LOCK_EX, patience)
    except OSError as error:
        if error.errno not in _FORBIDDEN:
            raise
        if error.errno != errno.EROFS:  # there, nobody can change anything
            _warn(error.strerror)
        yield False
        return
    try:
        with contextlib.suppress(OSError):  # a full disk: who holds it is not told then
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"process {os.getpid()} on {platform.node()}".encode())
        yield guarded
    finally:
        with contextlib.suppress(OSError):  # a lock's file that stays is no lock
            if shared:  # others may hold it
                flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)
        os.close(descriptor)


def flock(descriptor: int, operation: int) -> bool:
    """Lock an open file as `fcntl.flock` does; return False, after a line of warning, where there are no locks."""
    try:
        fcntl.flock(descriptor, operation)
    except OSError as error:
        if error.errno not in _UNABLE:
            raise
        _warn(error.strerror)
        return False
    return True


def _locked(path: Path, place: Path, kind: int, patience: float) -> tuple[int, bool]:
    """Lock the file at `path`; return its descriptor, and whether it is locked."""
    until = time.monotonic() + patience
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            guarded = flock(descriptor, kind | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(descriptor, 200).decode(errors="replace")
            os.close(descriptor)
            if error.errno not in _BUSY:
                raise OSError(error.errno, error.strerror, str(path)) from error
            if time.monotonic() < until:
                time.sleep(_PAUSE)
                continue
            named = f" ({holder})" if holder else ""
            raise Busy(f"another process is at work on {place}{named}; wait for it, or stop it") from None
        # The former holder may have deleted the file between the two calls: then this lock is on no file, so try again.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor, guarded
        os.close(descriptor)


@functools.cache
def _warn(reason: str) -> None:
    print(
        f"warning: nothing can be locked here ({reason}), so nothing keeps two processes from working on one folder: "
        "start one at a time",
        file=sys.stderr,
    )
