"""A lock that lets one process at a time work on a folder or a file; it lies beside it and ends with the process."""

import contextlib
import fcntl
import os
import platform
from collections.abc import Iterator
from pathlib import Path

from pipeline.config.errors import StageError


@contextlib.contextmanager
def locked(place: Path) -> Iterator[None]:
    """Keep other processes from working on `place`, a folder or a file that need not exist yet, during the block.

    The lock is a file beside it, so that `place` itself may be deleted and made anew. A process that looks at what is
    there and then deletes or makes it must do all of that inside one block.

    Raises:
        StageError: another process holds the lock; the message names it.
    """
    path = place.with_name(f".{place.name}.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _locked(path, place)
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} on {platform.node()}".encode())
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _locked(path: Path, place: Path) -> int:
    """Lock the file at `path`, and return its descriptor."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(descriptor, 200).decode(errors="replace")
            os.close(descriptor)
            named = f" ({holder})" if holder else ""
            raise StageError(f"another process is at work on {place}{named}; wait for it, or stop it") from None
        # The former holder may have deleted the file between the two calls: then this lock is on no file, so try again.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        os.close(descriptor)
