"""What a finished stage was made from, and whether that is what there is now."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.artifacts.files import read_json, write_json
from pipeline.config import differences
from pipeline.config.errors import StageError

DONE = "done.json"
VERSION = "0.2.0"
"""Of the pipeline, as in pyproject.toml."""
FORMAT = 1
"""Of done.json, dataset.json and weights.json. Those of version 0.1.0 say none, and are of this one."""


def stamp() -> dict[str, Any]:
    """What a file that a stage may meet again begins with."""
    return {"format": FORMAT, "version": VERSION}


def check_format(path: Path, values: Any) -> None:
    """Raise StageError where the values read from a file are of a newer format than this version knows."""
    if isinstance(values, dict) and (found := values.get("format", FORMAT)) > FORMAT:
        raise StageError(
            f"{path} is of format {found}, written by version {values.get('version', 'unknown')}; version {VERSION} "
            f"reads format {FORMAT}: update the pipeline"
        )


def digest(*values: Any) -> str:
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
        write_json(folder / DONE, {**stamp(), "config": self.config, "inputs": self.inputs, "output": self.output})

    def changes(self, config: dict[str, Any], inputs: dict[str, str]) -> list[str]:
        """Why the stage's result is stale: the fields of its config and the inputs that differ; empty if it is not."""
        names = sorted(self.inputs | inputs)
        changed = [f"{name} changed" for name in names if self.inputs.get(name) != inputs.get(name)]
        return differences(self.config, config) + changed
