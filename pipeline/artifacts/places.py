"""Where the data, the runs, the submissions and the reports lie, and which runs there are."""

import os
from dataclasses import dataclass
from pathlib import Path

from pipeline.config.errors import StageError

RUN_CONFIG = "config.json"
ENSEMBLE = "ensemble"
"""The run that blends the others."""
WEIGHTS = "weights.json"
"""Its members, their weights, and the scores of all."""


@dataclass(frozen=True)
class Places:
    """Where the data, the runs, the submissions and the reports lie."""

    data_dir: Path = Path("data")
    """Folder of the datasets; also $PIPELINE_DATA."""
    runs_dir: Path = Path("runs")
    """Folder of trained models and predictions; also $PIPELINE_RUNS."""
    submissions_dir: Path = Path("submissions")
    """Folder of the challenge's files; also $PIPELINE_SUBMISSIONS."""
    reports_dir: Path = Path("reports")
    """Folder of the pages that report writes; also $PIPELINE_REPORTS."""

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
