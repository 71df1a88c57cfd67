"""The list of the files that a download lacks, and why each is missing."""

import errno
from pathlib import Path

from pipeline.artifacts.files import atomic_file
from pipeline.runtime.output import shown
from pipeline.transfer.source import Stopped

MISSING = "download-missing.txt"
"""A list in a dataset's folder of each wanted file that is missing, and why; if nothing is, there is no list."""


def list_missing(path: Path, missing: dict[Path, str]) -> None:
    """Write the list of what is missing, and why, or remove it if nothing is."""
    if not missing:
        path.unlink(missing_ok=True)
        return
    with atomic_file(path) as temporary:
        lines = [shown(f"{file}\t{' '.join(reason.split())}\n") for file, reason in missing.items()]
        temporary.write_text("".join(lines), encoding="utf-8")


def is_full(fault: BaseException) -> bool:
    """Return whether a transfer failed for want of space."""
    return isinstance(fault, OSError) and fault.errno in (errno.ENOSPC, errno.EDQUOT)


def reason_of(fault: BaseException) -> str:
    """Return why a file is missing, and what to do."""
    if isinstance(fault, Stopped):
        return "not transferred, as the transfers were ended"
    if is_full(fault):
        return f"the disk is full ({fault.strerror}); make room and run the same command again"
    return f"{fault.strerror}: {fault.filename}" if isinstance(fault, OSError) and fault.filename else str(fault)
