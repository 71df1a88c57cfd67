"""The plan protocol of YouTube-8M: which files a partition has, and their checksums."""

import json
import re
from dataclasses import dataclass

from pipeline.config.errors import StageError
from pipeline.transfer.names import Fraction, safe_name
from pipeline.transfer.source import Refused, Remote, Unavailable

SPLITS = {"2": ("train", "validate", "test"), "3": ("validate", "test")}
"""Of each version; 3 has the segments of 2019."""


@dataclass(frozen=True)
class Partition:
    """A part of YouTube-8M, as 2/frame/train: version, level, split."""

    version: str
    level: str
    split: str

    @classmethod
    def parse(cls, text: str) -> "Partition":
        """Raises StageError for what is none."""
        found = re.fullmatch(r"([0-9]+)/(frame|video)/([a-z]+)", text, re.ASCII)
        if not found:
            raise StageError(f"{text} is no partition of YouTube-8M: they are as 2/frame/train or 2/video/test")
        version, level, split = found.groups()
        if split not in (known := SPLITS.get(version, SPLITS["2"])):
            raise StageError(f"{version}/{level} has no split {split}; it has: {', '.join(known)}")
        return cls(version, level, split)

    @property
    def plan(self) -> str:
        """Where its plan lies, below a mirror's address."""
        return f"{self.version}/download_plans/{self.level}_{self.split}.json"

    def __str__(self) -> str:
        return f"{self.version}/{self.level}/{self.split}"


def read_plan(text: bytes, address: str) -> list[Remote]:
    """The files of a plan: {"files": {name: md5}}, each by its name on the mirror; `address` is for the messages.

    Raises:
        Unavailable: it is not JSON; ask again.
        Refused: it is no plan, or has a name that is not safe.
    """
    try:
        plan = json.loads(text)
    except ValueError:  # cut short, or the page of somebody on the way
        raise Unavailable(f"{address} is not JSON") from None
    try:
        listed = [(name, md5.lower()) for name, md5 in plan["files"].items()]
    except (KeyError, TypeError, AttributeError):
        raise Refused(f'{address} is not a download plan: it should be {{"files": {{name: md5, ...}}}}') from None
    for name, md5 in listed:
        if not re.fullmatch("[0-9a-f]{32}", md5):
            raise Refused(f"{address}: {md5!r}, of {name}, is no md5")
        if "/" in safe_name(name):
            raise Refused(f"{address}: {name!r} is not a name to write to: it has a slash")
    if not listed:
        raise Refused(f"{address} lists no files")
    return [Remote(name, md5=md5) for name, md5 in listed]


def at_fraction(files: list[Remote], fraction: Fraction) -> list[Remote]:
    """Those of the files that belong to the fraction, in their order."""
    return [file for file in files if file.name in fraction]
