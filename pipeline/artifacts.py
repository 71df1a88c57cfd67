"""Where everything lies on disk, how it is written whole, and whether it is up to date."""

import contextlib
import ctypes
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config import differences

DONE = "done.json"
RUN_CONFIG = "config.json"
ENSEMBLE = "ensemble"
"""The run that blends the others."""
WEIGHTS = "weights.json"
"""Its members, their weights, and the scores of all."""

_LEFTOVER = re.compile(r"\.(?P<name>.+)\.(?P<process>\d+)(?P<old>\.old)?\.part(\..+)?")
"""Temporary names: a dot, the final name, the process, `.part`."""


class StageError(RuntimeError):
    """A stage cannot go on: the message names the file, what is wrong and the remedy."""


@dataclass(frozen=True)
class Places:
    """Where the data, the runs, the submissions and the reports lie."""

    data_dir: Path = Path("data")
    """Datasets; $PIPELINE_DATA."""
    runs_dir: Path = Path("runs")
    """Trained models and predictions; $PIPELINE_RUNS."""
    submissions_dir: Path = Path("submissions")
    """The challenge's files; $PIPELINE_SUBMISSIONS."""
    reports_dir: Path = Path("reports")
    """Pages; $PIPELINE_REPORTS."""

    @classmethod
    def from_environment(cls) -> "Places":
        return cls(
            data_dir=Path(os.environ.get("PIPELINE_DATA", "data")),
            runs_dir=Path(os.environ.get("PIPELINE_RUNS", "runs")),
            submissions_dir=Path(os.environ.get("PIPELINE_SUBMISSIONS", "submissions")),
            reports_dir=Path(os.environ.get("PIPELINE_REPORTS", "reports")),
        )

    def raw(self, dataset: str) -> Path:
        return self.data_dir / dataset / "raw"

    def index(self, dataset: str) -> Path:
        return self.data_dir / dataset / "index"

    def run(self, preset: str, run: str) -> Path:
        return self.runs_dir / preset / run


# -------------------------------------------------------------------------------------------------------- atomic writes


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`; what was written there takes its name when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path.parent, path.name)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield temporary
        _sync(temporary)
        temporary.replace(path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """The same for a whole folder; one that was there before is replaced, and is never missing meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path.parent, path.name)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    temporary.mkdir()
    try:
        yield temporary
        if not path.exists():
            temporary.rename(path)
        elif not _exchange(temporary, path):
            old = path.with_name(f".{path.name}.{os.getpid()}.old.part")
            path.rename(old)
            temporary.rename(path)
            old.rename(temporary)
        _sync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Let two paths change names in one step; False where the system or the file system cannot."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        return False
    here, swap = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return rename(here, os.fsencode(one.absolute()), here, os.fsencode(other.absolute()), swap) == 0


def remove_leftovers(folder: Path, name: str | None = None) -> None:
    """Delete what a killed process left half-written in a folder, of one name or of all.

    A folder that it was about to replace, and had moved aside, gets its name back.
    """
    for path in folder.glob(".*.part*"):
        left = _LEFTOVER.fullmatch(path.name)
        if left is None or name not in (None, left["name"]) or _alive(int(left["process"])):
            continue
        if path.is_dir() and left["old"] and not (folder / left["name"]).exists():
            with contextlib.suppress(FileNotFoundError):  # another process was first
                path.rename(folder / left["name"])
        elif path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def remove_folder(folder: Path) -> None:
    """Delete a folder so that a kill midway leaves nothing that looks like one: it loses its name first."""
    doomed = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    folder.rename(doomed)
    shutil.rmtree(doomed)


def _alive(process: int) -> bool:
    """Whether another process of this number is running here; our own leftovers are not in use."""
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically, keys as given, one final newline."""
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read JSON; raises StageError naming the file where it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StageError(f"{path} is missing") from None
    except ValueError as error:
        raise StageError(f"{path} is not valid JSON ({error}); delete it and run the stage that writes it") from error


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# -------------------------------------------------------------------------------------------------------- done or stale


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


def find_run(places: Places, preset: str, run: str) -> Path:
    """A run's folder from its name, or from its path; raises StageError, listing the runs there are, if it is none."""
    folder = Path(run) if os.sep in run or Path(run, RUN_CONFIG).exists() else places.run(preset, run)
    hidden = folder.name.startswith(".") and folder.name.strip(".")
    if hidden or not ((folder / RUN_CONFIG).exists() or (folder / WEIGHTS).exists()):
        there = ", ".join(path.name for path in list_runs(places, preset)) or "none"
        raise StageError(f"{folder} is not a run; runs of preset {preset}: {there}")
    return folder


def list_runs(places: Places, preset: str) -> list[Path]:
    """The folders of a preset's trained runs, by name: those that are half-made or half-deleted are none."""
    return _holding(places.runs_dir / preset, RUN_CONFIG)


def list_scored(places: Places, preset: str) -> list[Path]:
    """The folders of all that may have predictions: a preset's runs and bundles, by name, and the ensemble, last."""
    folder = places.runs_dir / preset
    ensemble = folder / ENSEMBLE
    found = sorted({*_holding(folder, RUN_CONFIG), *_holding(folder, WEIGHTS)})
    return [*found, *([ensemble] if (ensemble / WEIGHTS).exists() else [])]


def _holding(folder: Path, name: str) -> list[Path]:
    """The folders in a folder that hold a file of this name, without hidden ones and the ensemble."""
    found = (path.parent for path in folder.glob(f"*/{name}"))
    return sorted(path for path in found if path.name != ENSEMBLE and not path.name.startswith("."))
