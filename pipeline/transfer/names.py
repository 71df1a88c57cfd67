"""Names of files: which are safe to write, and how YouTube-8M lists, numbers and divides its shards."""

import hashlib
import re
import string
import urllib.parse
from dataclasses import dataclass
from pathlib import PurePosixPath

from pipeline.artifacts.stored_json import parse_json
from pipeline.config.errors import StageError
from pipeline.transfer.source import Refused, Remote, Unavailable

SPLITS = {"2": ("train", "validate", "test"), "3": ("validate", "test")}
"""The splits of each version of YouTube-8M; version 3 has the segments of 2019."""
DIGITS = string.ascii_lowercase + string.ascii_uppercase + string.digits
"""Digits of a shard's number on the mirrors, in base 62: `trainpj` is `train0939` of the official script."""

# ---------------------------------------------------------------------------------------------------------- safe names


def safe_name(name: str) -> str:
    """Return the name if it is a relative path that stays below its folder.

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


# ------------------------------------------------------------------------------------------------------- YouTube-8M's


def plan_of(partition: str) -> str:
    """Return the path on a mirror of the plan of a partition such as 2/frame/train; raise StageError for other text."""
    found = re.fullmatch(r"([0-9]+)/(frame|video)/([a-z]+)", partition, re.ASCII)
    if not found:
        raise StageError(f"{partition} is no partition of YouTube-8M: they are as 2/frame/train or 2/video/test")
    version, level, split = found.groups()
    if split not in (known := SPLITS.get(version, SPLITS["2"])):
        raise StageError(f"{version}/{level} has no split {split}; it has: {', '.join(known)}")
    return f"{version}/download_plans/{level}_{split}.json"


def read_plan(text: bytes, address: str) -> list[Remote]:
    """Return the files of a plan, {"files": {name: md5}}, by their names on the mirror; `address` is for messages.

    Raises:
        Unavailable: it is not JSON; ask again.
        Refused: it is not a plan, or has an unsafe name.
    """
    try:
        plan = parse_json(text)
    except ValueError:  # cut short, or the page of a proxy
        raise Unavailable(f"{address} is not JSON") from None
    try:
        listed = [Remote(name, md5=md5.lower()) for name, md5 in plan["files"].items()]
    except (KeyError, TypeError, AttributeError):
        raise Refused(f'{address} is not a download plan: it should be {{"files": {{name: md5, ...}}}}') from None
    for file in listed:
        if not re.fullmatch("[0-9a-f]{32}", file.md5):
            raise Refused(f"{address}: {file.md5!r}, of {file.name}, is no md5")
        if "/" in safe_name(file.name):
            raise Refused(f"{address}: {file.name!r} is not a name to write to: it has a slash")
    if not listed:
        raise Refused(f"{address} lists no files")
    return listed


def official_name(name: str) -> str | None:
    """Return the name under which the official script stores a shard: trainpj.tfrecord -> train0939.tfrecord."""
    if found := re.fullmatch(r"(train|validate|test)([a-zA-Z0-9])([a-zA-Z0-9])\.tfrecord", name):
        return f"{found[1]}{DIGITS.index(found[2]) * len(DIGITS) + DIGITS.index(found[3]):04}.tfrecord"
    return None


def mirror_name(name: str) -> str:
    """Return a shard's name on the mirrors: train0939.tfrecord -> trainpj.tfrecord; any other name is unchanged."""
    found = re.fullmatch(r"(train|validate|test)([0-9]{4})\.tfrecord", name)
    if found and (number := int(found[2])) < len(DIGITS) ** 2:
        return f"{found[1]}{DIGITS[number // len(DIGITS)]}{DIGITS[number % len(DIGITS)]}.tfrecord"
    return name


def split_of(name: str) -> str | None:
    """Return the split in a shard's name, such as `train` in trainpj.tfrecord and train0939.tfrecord; None without."""
    number = official_name(mirror_name(PurePosixPath(name).name))
    return number and number[: -len("0000.tfrecord")]


@dataclass(frozen=True)
class Fraction:
    """Part `part` of `parts` of a set of files, chosen by a hash of their names: the same on every machine."""

    part: int = 1
    parts: int = 1

    @classmethod
    def parse(cls, text: str) -> "Fraction":
        """Parse X/Y, or X,Y as in the official script; raise StageError for other text."""
        found = re.fullmatch(r"(\d+)[/,](\d+)", text, re.ASCII)
        if not found or not 1 <= int(found[1]) <= int(found[2]):
            raise StageError(f"--fraction {text}: write X/Y with 1 <= X <= Y, as 1/100 for a hundredth of the files")
        return cls(int(found[1]), int(found[2]))

    def __contains__(self, name: str) -> bool:
        """Return whether a file is in this part, by its name on the mirrors without folders."""
        key = mirror_name(PurePosixPath(name).name)
        return int(hashlib.md5(key.encode(), usedforsecurity=False).hexdigest(), 16) % self.parts == self.part - 1

    def __str__(self) -> str:
        return f"{self.part}/{self.parts}"
