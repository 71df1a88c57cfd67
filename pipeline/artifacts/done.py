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
            return cls(values["config"], values["inputs"], values["output"])
        except (KeyError, TypeError):
            raise StageError(f"{path} is not what a stage writes; delete it and run the stage again") from None

    def write(self, folder: Path) -> None:
        write_json(folder / DONE, {"config": self.config, "inputs": self.inputs, "output": self.output})

    def changes(self, config: dict[str, Any], inputs: dict[str, str]) -> list[str]:
        """Why the stage's result is stale: the fields of its config and the inputs that differ; empty if it is not."""
        names = sorted(self.inputs | inputs)
        changed = [f"{name} changed" for name in names if self.inputs.get(name) != inputs.get(name)]
        return differences(self.config, config) + changed
