"""What a finished stage was made from, whether that is what there is now, and one process at a time that makes it."""

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.artifacts.files import atomic_folder, read_json, remove_folder, remove_leftovers, write_json
from pipeline.artifacts.locks import locked
from pipeline.config import differences
from pipeline.config.errors import StageError

DONE = "done.json"
VERSION = "0.2.0"
"""Of the pipeline, as in pyproject.toml."""
FORMAT = 1
"""Of done.json, dataset.json and weights.json. Those of version 0.1.0 say none, and are of this one."""


def format_fields() -> dict[str, Any]:
    """What a file that a stage may meet again begins with."""
    return {"format": FORMAT, "version": VERSION}


def check_format(path: Path, values: Any) -> None:
    """Raise StageError where the values read from a file are of a newer format than this version knows."""
    if isinstance(values, dict) and (found := values.get("format", FORMAT)) > FORMAT:
        raise StageError(
            f"{path} is of format {found}, written by version {values.get('version', 'unknown')}; version {VERSION} "
            f"reads format {FORMAT}: update the pipeline"
        )


def digest_json(*values: Any) -> str:
    """A short stable hash of JSON values."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def digest_file(path: Path) -> str:
    """A short hash of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


@dataclass(frozen=True)
class Done:
    """What a finished stage was made from, and the digest of what it made."""

    config: dict[str, Any]
    inputs: dict[str, str]
    output: str

    @classmethod
    def read(cls, folder: Path) -> "Done | None":
        path = folder / DONE
        if not path.exists():
            return None
        values = read_json(path)
        try:
            check_format(path, values)
            return cls(values["config"], values["inputs"], values["output"])
        except (KeyError, TypeError):
            raise StageError(f"{path} is not what a stage writes; delete it and run the stage again") from None

    def write(self, folder: Path) -> None:
        write_json(
            folder / DONE, {**format_fields(), "config": self.config, "inputs": self.inputs, "output": self.output}
        )

    def changes(self, config: dict[str, Any], inputs: dict[str, str]) -> list[str]:
        """Why the stage's result is stale: the fields of its config and the inputs that differ; empty if it is not."""
        names = sorted(self.inputs | inputs)
        changed = [f"{name} changed" for name in names if self.inputs.get(name) != inputs.get(name)]
        return differences(self.config, config) + changed


@dataclass
class NewFolder:
    """A folder in the making; `digest_json` is to be set to that of what is in it."""

    folder: Path
    digest: str = ""


@dataclass
class StageOutput:
    """What a stage makes at a place, a folder or a file: whether it is there, and why it is made again."""

    place: Path
    begun: Done | None
    """What the work there was made from, or begun with."""
    finished: bool
    content: Callable[[], str] | None = None
    """Gives the digest of what is there now, to hold against the one of what was made."""
    again: str = field(default="", init=False)
    """Why what is there may not be gone on with."""

    @classmethod
    def of(cls, place: Path, content: Callable[[], str] | None = None) -> "StageOutput":
        """What is at a place where done.json comes last."""
        done = Done.read(place)
        return cls(place, done, done is not None, content)

    def is_up_to_date(
        self, config: dict[str, Any], inputs: dict[str, str], *, force: bool = False, keep: str = "", quiet=False
    ) -> bool:
        """Whether the place holds what these give, finished; prints that, or why it is made again.

        Args:
            config: the settings that it depends on.
            inputs: digests of what it is made from.
            force: make it again whatever is there.
            keep: the remedy, where a result of other settings may be replaced by force alone.
            quiet: do not print why it is made again.

        Raises:
            StageError: the settings have changed, and `keep` is given, and not `force`.
        """
        begun = self.begun
        if begun and keep and not force and (changed := differences(begun.config, config)):
            raise StageError(f"{self.place} was made with other settings: {'; '.join(changed)}. {keep}")
        changes = begun.changes(config, inputs) if begun else []
        if begun and self.finished and self.content and not changes and self.content() != begun.output:
            changes = ["what it holds is not what was written"]
        self.again = "--force" if begun and force else "; ".join(changes)
        if self.again and not quiet:
            print(f"{self.place} is made again: {self.again}")
        if done := self.finished and not self.again:
            print(f"{self.place}: up to date")
        return done

    def remove_stale(self) -> None:
        """Delete the folder if it may not be gone on with."""
        if self.again:
            remove_folder(self.place)

    @contextlib.contextmanager
    def replace(self, config: dict[str, Any], inputs: dict[str, str]) -> Iterator[NewFolder]:
        """A temporary folder; it takes the place, with done.json, when the block ends without an error."""
        with atomic_folder(self.place) as temporary:
            yield (output := NewFolder(temporary))
            Done(config, inputs, output.digest).write(temporary)


@contextlib.contextmanager
def stage_output(
    place: Path, begun: Callable[[Path], Done | None] | None = None, lock: Path | None = None
) -> Iterator[StageOutput]:
    """What is at a place, looked at, deleted and made by this process alone; what a killed one left is gone.

    Args:
        place: the folder or the file that is made.
        begun: reads what the work at `place` was begun with, where done.json does not tell: a folder is finished where
            it has one, a file where `begun` gives anything.
        lock: the folder to be alone in, where that is a larger one; by default the place.

    Raises:
        StageError: another process is at work there, or what is there is of a newer format, or damaged.
    """
    with locked(lock or place):
        remove_leftovers(place.parent, None if lock else place.name)
        if begun is None:
            yield StageOutput.of(place)
        else:
            before = begun(place)
            yield StageOutput(place, before, before is not None and (place.is_file() or Done.read(place) is not None))
