"""Record what a stage made its output from, tell whether the output is up to date, and let one process make it."""

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
"""Version of the pipeline, as in pyproject.toml."""
FORMAT = 1
"""Format of done.json, dataset.json and weights.json. Files of version 0.1.0 name no format; theirs is this one."""


def format_fields() -> dict[str, Any]:
    """Return the fields that every file begins with that a later version may read."""
    return {"format": FORMAT, "version": VERSION}


def check_format(path: Path, values: Any) -> None:
    """Raise StageError if the values read from a file have a newer format than this version knows."""
    found = values.get("format", FORMAT) if isinstance(values, dict) else FORMAT
    if not isinstance(found, int):
        raise StageError(f"{path} has no number of its format: delete it and run the stage that writes it")
    if found > FORMAT:
        raise StageError(
            f"{path} is of format {found}, written by version {values.get('version', 'unknown')}; version {VERSION} "
            f"reads format {FORMAT}: update the pipeline"
        )


def digest_json(*values: Any) -> str:
    """Return a short stable hash of JSON values."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def digest_file(path: Path) -> str:
    """Return a short hash of a file's bytes."""
    return sha256_of(path)[:16]


def sha256_of(path: Path) -> str:
    """Return a file's SHA-256 in 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class Done:
    """What a finished stage made its output from, and the digest of the output: the content of done.json."""

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
            done = cls(values["config"], values["inputs"], values["output"])
            if not (isinstance(done.config, dict) and isinstance(done.inputs, dict) and isinstance(done.output, str)):
                raise TypeError
            return done
        except (KeyError, TypeError):
            raise StageError(
                f"{path} is not what a stage writes: it lacks config, inputs or output. Delete it and run the "
                "stage again"
            ) from None

    def write(self, folder: Path) -> None:
        write_json(
            folder / DONE, {**format_fields(), "config": self.config, "inputs": self.inputs, "output": self.output}
        )

    def changes(self, config: dict[str, Any], inputs: dict[str, str]) -> list[str]:
        """List why the output is stale: the fields of the config and the inputs that differ; empty if none does."""
        names = sorted(self.inputs | inputs)
        changed = [f"{name} changed" for name in names if self.inputs.get(name) != inputs.get(name)]
        return differences(self.config, config) + changed


@dataclass
class NewFolder:
    """A folder that is being written; whoever writes it sets `digest` to the digest of its content."""

    folder: Path
    digest: str = ""


@dataclass
class StageOutput:
    """The output of a stage, a folder or a file: whether it is there, and why it is made again."""

    place: Path
    begun: Done | None
    """What the output there was made from or, if it is unfinished, begun with."""
    finished: bool
    content: Callable[[], str] | None = None
    """Computes the digest of the output as it is now, to compare it with the digest of what was written."""
    again: str = field(default="", init=False)
    """Why the output there must not be continued; empty if it may be."""

    @classmethod
    def of(cls, place: Path, content: Callable[[], str] | None = None) -> "StageOutput":
        """Return the output at a place where done.json is written last; remove what killed processes left there."""
        remove_leftovers(place)  # here and not only by the next writer: an output that is up to date is not written
        done = Done.read(place)
        return cls(place, done, done is not None, content)

    def is_up_to_date(
        self,
        config: dict[str, Any],
        inputs: dict[str, str],
        *,
        force: bool = False,
        keep: str = "",
        quiet: bool = False,
        fault: str = "",
    ) -> bool:
        """Return whether the finished output of this config and these inputs is there; print so, or why not.

        Args:
            config: the settings that the output depends on.
            inputs: digests of what the output is made from.
            force: make it again, whatever is there.
            keep: the remedy to name in the error, if only `force` may replace an output of other settings.
            quiet: do not print why it is made again.
            fault: what else is wrong with what is there, if anything.

        Raises:
            StageError: the settings have changed, `keep` is given, and `force` is not.
        """
        begun = self.begun
        if begun and keep and not force and (changed := differences(begun.config, config)):
            raise StageError(f"{self.place} was made with other settings: {'; '.join(changed)}. {keep}")
        changes = begun.changes(config, inputs) if begun else []
        if begun and self.finished and self.content and not changes and self.content() != begun.output:
            changes = ["what it holds is not what was written"]
        changes += [fault] * bool(begun and fault)
        self.again = "--force" if begun and force else "; ".join(changes)
        if self.again and not quiet:
            print(f"{self.place} is made again: {self.again}")
        if done := self.finished and not self.again:
            print(f"{self.place}: up to date")
        return done

    def remove_stale(self) -> None:
        """Delete the folder if it must not be continued."""
        if self.again:
            remove_folder(self.place)

    @contextlib.contextmanager
    def replace(self, config: dict[str, Any], inputs: dict[str, str]) -> Iterator[NewFolder]:
        """Yield a temporary folder, which replaces the place, with done.json, if the block ends without an error."""
        with atomic_folder(self.place) as temporary:
            yield (output := NewFolder(temporary))
            Done(config, inputs, output.digest).write(temporary)


@contextlib.contextmanager
def stage_output(
    place: Path, begun: Callable[[Path], Done | None] | None = None, lock: Path | None = None, shared: bool = False
) -> Iterator[StageOutput]:
    """Lock a place for this process alone, remove what killed processes left, and yield the output that is there.

    Args:
        place: the folder or the file that the stage makes.
        begun: reads what the work at `place` was begun with, if done.json does not say so. A folder is then finished if
            it has a done.json, a file if `begun` returns anything.
        lock: the folder to lock, if it is a larger one; by default the place.
        shared: lock it together with those who do other parts of the work.

    Raises:
        StageError: another process is at work there, or the output there is damaged or of a newer format.
    """
    with locked(lock or place, shared):
        remove_leftovers(place.parent, None if lock else place.name)
        if begun is None:
            yield StageOutput.of(place)
        else:
            remove_leftovers(place)
            before = begun(place)
            yield StageOutput(place, before, before is not None and (place.is_file() or Done.read(place) is not None))
