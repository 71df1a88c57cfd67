"""The runs of a preset as their files tell: what was trained, how it went, what it scores, what is blended."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.artifacts.files import read_json
from pipeline.artifacts.places import ENSEMBLE, RUN_CONFIG, WEIGHTS
from pipeline.artifacts.predictions import Predictions, PredictionStore
from pipeline.artifacts.stored_json import StoredObject
from pipeline.config.errors import StageError
from pipeline.ensembling.holdout import read_together
from pipeline.ensembling.recipe import Recipe
from pipeline.inference.freshness import SUMMARY, is_of_index, prediction_store, why_stale
from pipeline.inference.scoring import scores_of
from pipeline.inputs.index import HOLDOUT, Index
from pipeline.metrics import LabelLists
from pipeline.metrics.diagnostics import Diagnostics
from pipeline.training import log


@dataclass(frozen=True)
class Run:
    """One row of the leaderboard: a trained run, or the blend of several."""

    folder: Path
    log: list[dict[str, Any]]
    """The records of its training, each with its step."""
    scores: dict[str, dict[str, float]]
    """Of each labeled split that it has predicted."""
    comparable: dict[str, float]
    """GAP of each by which runs are compared: see `Scores.comparable`."""
    parameters: int | None = None
    steps: int | None = None
    batch_size: int | None = None
    speed: float | None = None
    """Examples a second in training."""

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def blended(self) -> bool:
        return self.name == ENSEMBLE

    @property
    def trained(self) -> bool:
        """Whether its model is here: not of a blend, nor of a bundle, of which the predictions alone are."""
        return (self.folder / RUN_CONFIG).exists()

    def gap(self, split: str = HOLDOUT) -> float:
        """Below every GAP where the split is not predicted."""
        return self.scores.get(split, {}).get("gap", -1.0)

    def store(self, split: str) -> PredictionStore:
        return prediction_store(self.folder, split)


@dataclass(frozen=True)
class Blend:
    """How the ensemble was made."""

    recipe: Recipe
    method: str
    steps: list[dict[str, Any]]
    """`step`, and the GAP on the half of the hold-out that it was `tuned` on and on the other one, `reported`."""


def fresh_splits(folder: Path, index: Index) -> tuple[list[str], list[str]]:
    """The labeled splits that a run has predicted from what there is now, in the index's order; why not the others."""
    faults = {split: why_stale(folder, split, index) for split in index.scored_splits() if index.labeled(split)}
    return [split for split, fault in faults.items() if not fault], list(filter(None, faults.values()))


def read_run(folder: Path, index: Index, progress: Callable[[], object] = lambda: None) -> Run:
    """A run with its scores; `progress` hears of each split. Raises StageError where a file is damaged."""
    scores, comparable = {}, {}
    for split in fresh_splits(folder, index)[0]:
        found = scores_of(prediction_store(folder, split), index, split)
        scores[split], comparable[split] = found.whole, found.comparable["gap"]
        progress()
    if folder.name == ENSEMBLE:
        members = [Path(member.path) / SUMMARY for member in Recipe.read(folder / WEIGHTS).used]
        parameters = [read_json(path).typed("parameters", int, float) for path in members if path.exists()]
        known = len(parameters) == len(members) and None not in parameters
        return Run(folder, [], scores, comparable, sum(parameters) if known else None)
    names = ("parameters", "steps", "batch_size", "examples_per_second")
    summary = read_json(folder / SUMMARY).numbers(*names) if (folder / SUMMARY).exists() else {}  # not while it trains
    return Run(
        folder,
        log.read_log(folder / "metrics.jsonl") if is_of_index(folder, index) else [],
        scores,
        comparable,
        *(summary.get(name) for name in names),
    )


def read_blend(ensemble: Path) -> Blend:
    """Raises StageError where the ensemble's weights are damaged."""
    values = read_json(ensemble / WEIGHTS)
    steps = values.typed("steps", list) or []
    for step in steps:
        if not isinstance(step, StoredObject) or None in step.numbers("tuned", "reported").values():
            raise StageError(f"{ensemble / WEIGHTS} does not say what each step gained: run ensemble again")
    return Blend(Recipe.read(ensemble / WEIGHTS), values.typed("method", str) or "", steps)


def best_by_gap(runs: list[Run], split: str) -> Run | None:
    """The best by GAP of those that have predicted a split."""
    return max((run for run in runs if split in run.scores), key=lambda run: run.comparable[split], default=None)


def diagnose(run: Run, index: Index, split: str) -> Diagnostics:
    """What a run's predictions of a labeled split are good for. Raises StageError where they are of other videos."""
    rows = index.rows(split)
    num_labels = np.diff(index.labels_of(rows)[1])
    found = Diagnostics(index.dataset.num_classes, index.num_frames[rows], num_labels)
    for chosen, part in read_parts(run, index, split):
        truth = LabelLists(*index.labels_of(chosen))
        found.accumulate(part.labels, part.scores, truth, index.num_frames[chosen])
    return found


def read_parts(run: Run, index: Index, split: str) -> Iterator[tuple[np.ndarray, Predictions]]:
    """A run's predictions of a split, part by part, each with the rows of its videos."""
    for chosen, (part,) in read_together([run.store(split)], index, split):
        yield chosen, part
