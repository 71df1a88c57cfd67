"""Names of files: which are safe to write, the two forms of a shard's number, and which belong to a fraction."""

import hashlib
import re
import string
import urllib.parse
from dataclasses import dataclass
from pathlib import PurePosixPath

from pipeline.config.errors import StageError
from pipeline.transfer.source import Refused

DIGITS = string.ascii_lowercase + string.ascii_uppercase + string.digits
"""Of a shard's number on the mirrors, in base 62: `trainpj` is the shard that the official script calls `train0939`."""
SHARDS = len(DIGITS) ** 2
"""Of a split."""

_NUMBERED = re.compile(r"(train|validate|test)(\d{4})(\.tfrecord)")
_LETTERED = re.compile(r"(train|validate|test)([a-zA-Z0-9]{2})(\.tfrecord)")


def safe_name(name: str) -> str:
    """The name, where it is a relative path that stays below the folder it is put in.

    Raises:
        Refused: it is empty or absolute, has a `.`, `..` or empty part, a backslash, a control character, a part that
            no file system takes, or an encoded form (`%2f`) of these, encoded however often.
    """
    decoded = name
    for _ in range(8):
        if fault := _fault(decoded):
            raise Refused(f"{name!r} is not a name to write to: {fault}")
        previous, decoded = decoded, urllib.parse.unquote(decoded)
        if decoded == previous:
            return name
        if decoded.count("/") != previous.count("/"):
            raise Refused(f"{name!r} is not a name to write to: it has an encoded slash")
    raise Refused(f"{name!r} is not a name to write to: it is encoded over and over")


def _fault(name: str) -> str | None:
    if not name:
        return "it is empty"
    if name.startswith("/") or re.match(r"[A-Za-z]:", name):
        return "it is absolute"
    if "\\" in name:
        return "it has a backslash"
    if not name.isprintable():
        return "it has a control character, or none that can be written"
    for part in name.split("/"):
        if part in ("", ".", ".."):
            return f"it has the part {part!r}"
        if len(part.encode()) > 250:  # file systems take 255, and ".part" follows
            return "a part of it has more than 250 bytes"
    return None


def shard_number(digits: str) -> int:
    """The number that two base-62 digits are: pj -> 939."""
    return DIGITS.index(digits[0]) * len(DIGITS) + DIGITS.index(digits[1])


def numbered(name: str) -> str | None:
    """The name under which the official script stores a shard, trainpj.tfrecord -> train0939.tfrecord."""
    if found := _LETTERED.fullmatch(name):
        return f"{found[1]}{shard_number(found[2]):04}{found[3]}"
    return None


def lettered(name: str) -> str:
    """A shard's name on the mirrors: train0939.tfrecord -> trainpj.tfrecord; any other name as it is."""
    found = _NUMBERED.fullmatch(name)
    if found and (number := int(found[2])) < SHARDS:
        return f"{found[1]}{DIGITS[number // len(DIGITS)]}{DIGITS[number % len(DIGITS)]}{found[3]}"
    return name


def split_of(name: str) -> str | None:
    """The split that a shard's name tells, as `train` of trainpj.tfrecord and train0939.tfrecord."""
    found = _LETTERED.fullmatch(lettered(PurePosixPath(name).name))
    return found[1] if found else None


@dataclass(frozen=True)
class Fraction:
    """The part `part` of `parts` of any set of files, by a hash of their names: the same for everybody."""

    part: int = 1
    parts: int = 1

    @classmethod
    def parse(cls, text: str) -> "Fraction":
        """From X/Y, or X,Y as in the official script; raises StageError."""
        found = re.fullmatch(r"(\d+)[/,](\d+)", text, re.ASCII)
        if not found:
            raise StageError(f"--fraction {text}: write X/Y, for example 1/100 for the first hundredth of the files")
        part, parts = int(found[1]), int(found[2])
        if not 1 <= part <= parts:
            raise StageError(f"--fraction {text}: of {parts} parts there is no part {part}; X/Y needs 1 <= X <= Y")
        return cls(part, parts)

    def __contains__(self, name: str) -> bool:
        """Whether a file belongs to it, by the last part of its name, as the mirrors write it."""
        key = lettered(PurePosixPath(name).name)
        return int(hashlib.md5(key.encode(), usedforsecurity=False).hexdigest(), 16) % self.parts == self.part - 1

    def __str__(self) -> str:
        return f"{self.part}/{self.parts}"
