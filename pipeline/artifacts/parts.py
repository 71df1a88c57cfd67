"""Work that several commands share, each a part of it such as 3/8: which items are whose, and which parts are done."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from pipeline.artifacts.files import read_json, write_json
from pipeline.config.errors import StageError

T = TypeVar("T")

PATIENCE = 60.0
"""Seconds that a part waits for another one to begin what they share."""


class Part(NamedTuple):
    """One of several parts, counted from 1."""

    number: int
    of: int

    @classmethod
    def read(cls, text: str) -> "Part":
        """Return the part that `3/8` stands for."""
        return cls(*map(int, text.split("/")))

    def chosen(self, items: Sequence[T]) -> Sequence[T]:
        """Return the part's items: every `of`-th."""
        return items[self.number - 1 :: self.of]

    def takes(self, number: int) -> bool:
        """Return whether the item of this number, counted from 0, is the part's."""
        return number % self.of == self.number - 1

    def __str__(self) -> str:
        return f"part {self.number} of {self.of}"


def note_part(folder: Path, part: Part, key: str) -> None:
    """Note in the folder where work is kept that a part is done; `key` is a digest of what all parts are made from."""
    write_json(_note(folder, part), {"key": key})


def require_parts(folder: Path, number: int, key: str) -> None:
    """Raise StageError if one of so many parts is not done, or was made from something else."""
    for part in (Part(each, number) for each in range(1, number + 1)):
        note = _note(folder, part)
        there = note.exists()
        if not there or read_json(note).get("key") != key:
            what = "was made from other files or settings" if there else "is missing"
            raise StageError(
                f"{part} {what}: run the same command with --part {part.number}/{part.of} in place of --join "
                f"{part.of}, and then this one again"
            )


def forget_parts(folder: Path) -> None:
    """Delete the notes of parts: their work is joined."""
    for note in folder.glob("part-*-of-*.json"):
        note.unlink(missing_ok=True)


def _note(folder: Path, part: Part) -> Path:
    return folder / f"part-{part.number}-of-{part.of}.json"
