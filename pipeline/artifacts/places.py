"""The folders of the data, the runs, the submissions and the reports, and which runs there are."""

import os
from dataclasses import dataclass
from pathlib import Path

from pipeline.artifacts.folds import FOLDS, is_fold
from pipeline.artifacts.hidden import is_hidden, visible
from pipeline.artifacts.paths import folder_of_variable, path_of
from pipeline.config.checked import check_value
from pipeline.config.errors import StageError
from pipeline.config.ranges import FolderName

RUN_CONFIG = "config.json"
CHECKPOINT = "checkpoint.npz"
"""A run's file that holds the state of its training, from which it goes on."""
ENSEMBLE = "ensemble"
"""Name of the run that blends the others."""
WEIGHTS = "weights.json"
"""The ensemble's file: its members, their weights, and the scores of all."""


@dataclass(frozen=True)
class Places:
    """The folders of the data, the runs, the submissions and the reports."""

    data_dir: Path = Path("data")
    """Folder of the datasets; $PIPELINE_DATA sets the default."""
    runs_dir: Path = Path("runs")
    """Folder of the trained models and their predictions; $PIPELINE_RUNS sets the default."""
    submissions_dir: Path = Path("submissions")
    """Folder of the submission files; $PIPELINE_SUBMISSIONS sets the default."""
    reports_dir: Path = Path("reports")
    """Folder of the pages that report writes; $PIPELINE_REPORTS sets the default."""

    @classmethod
    def from_environment(cls) -> "Places":
        return cls(
            data_dir=folder_of_variable("PIPELINE_DATA", "data"),
            runs_dir=folder_of_variable("PIPELINE_RUNS", "runs"),
            submissions_dir=folder_of_variable("PIPELINE_SUBMISSIONS", "submissions"),
            reports_dir=folder_of_variable("PIPELINE_REPORTS", "reports"),
        )

    def raw(self, dataset: str) -> Path:
        return self.data_dir / dataset / "raw"

    def index(self, dataset: str) -> Path:
        return self.data_dir / dataset / "index"

    def run(self, preset: str, run: str) -> Path:
        return self.runs_dir / preset / run


def find_run(places: Places, preset: str, run: str) -> Path:
    """Return a run's folder, given its name or path.

    Raises:
        StageError: there is no such run; the message lists the runs.
        ConfigError: it is no path, and no name that a run may have.
    """
    path = path_of(run)
    folder, runs_of = path, f"runs in {path.parent}"
    if os.sep not in str(path) and not is_trained(path):
        check_value("run", run, FolderName)
        folder, runs_of = places.run(preset, run), f"runs of preset {preset}"
    if is_fold(folder):
        raise StageError(f"{folder} is a fold of the run {folder.parent}, which counts as a whole: name that")
    if not _is_run(folder):
        if _is_run(places.runs_dir / path):
            raise StageError(f"{folder} is not a run; {places.runs_dir / path} is one")
        there = ", ".join(each.name for each in _all_runs(folder.parent)) or "none"
        raise StageError(f"{folder} is not a run; {runs_of}: {there}")
    return folder


def is_trained(folder: Path) -> bool:
    """Return whether a folder is that of a run which `train` or `soup` makes, and not of a blend or a bundle."""
    return (folder / RUN_CONFIG).exists() or (folder / FOLDS).exists()


def _is_run(folder: Path) -> bool:
    return not is_hidden(folder.name) and (is_trained(folder) or (folder / WEIGHTS).exists())


def list_runs(places: Places, preset: str) -> list[Path]:
    """List the folders of a preset's trained runs, by name, without those that are half-made or half-deleted."""
    return _holding(places.runs_dir / preset, RUN_CONFIG, FOLDS)


def list_scored(places: Places, preset: str) -> list[Path]:
    """List the folders that may have predictions: a preset's runs and bundles, by name, and the ensemble last."""
    return _all_runs(places.runs_dir / preset)


def _all_runs(folder: Path) -> list[Path]:
    ensemble = folder / ENSEMBLE
    found = _holding(folder, RUN_CONFIG, FOLDS, WEIGHTS)
    return [*found, *([ensemble] if (ensemble / WEIGHTS).exists() else [])]


def _holding(folder: Path, *names: str) -> list[Path]:
    """List the folders inside a folder that hold a file of these names, without hidden ones and the ensemble."""
    found = {path.parent for name in names for path in visible(folder, f"*/{name}")}
    return sorted(path for path in found if path.name != ENSEMBLE)
