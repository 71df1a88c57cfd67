"""Temporary names: how they are made from final ones, and what they say."""

import re
import secrets
from pathlib import Path
from typing import NamedTuple

_NAME = re.compile(r"\.(?P<final>.+)\.(?P<writer>\d+|x[0-9a-f]{8})(?P<old>\.old)?\.part(\..+)?")
_LOCK = re.compile(r"\.(?P<of>\..+\.part)\.lock")


class TemporaryName(NamedTuple):
    """What a temporary name says."""

    final: str
    """The name that the file or the folder is to get."""
    writer: str
    """A mark of the writer, which no other one has; in names of earlier versions the number of its process."""
    old: bool
    """Whether it is a folder that was moved aside, to be replaced."""
    lock: bool
    """Whether it is the lock that the writer holds."""

    @classmethod
    def of(cls, name: str) -> "TemporaryName | None":
        """Return what a name says; None if it is not a temporary one."""
        lock = _LOCK.fullmatch(name)
        found = _NAME.fullmatch(lock["of"] if lock else name)
        return cls(found["final"], found["writer"], bool(found["old"]), bool(lock)) if found else None

    @classmethod
    def new(cls, final: str) -> "TemporaryName":
        """Return a name that no other process makes, here or in any container."""
        return cls(final, f"x{secrets.token_hex(4)}", False, False)

    def __str__(self) -> str:
        return f".{self.final}.{self.writer}.part"


def final_path(path: str | Path) -> Path:
    """Return a path with final names in place of temporary ones: the path that a user knows."""
    parts = [((found := TemporaryName.of(part)) and found.final) or part for part in Path(path).parts]
    return Path(*parts)
