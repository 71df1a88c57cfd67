"""Read a preset's runs from their files: origin, training log, scores, predictions, and how they are blended."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pipeline.artifacts.files import read_json
from pipeline.artifacts.folds import fold_folders, is_folded
from pipeline.artifacts.places import ENSEMBLE, WEIGHTS, is_trained
from pipeline.artifacts.predictions import PredictionStore
from pipeline.artifacts.stored_json import StoredObject
from pipeline.config.errors import StageError
from pipeline.config.monitor import Monitor
from pipeline.ensembling.recipe import Recipe
from pipeline.inference.comparing import scored_by
from pipeline.inference.freshness import SUMMARY, is_of_index, prediction_store, why_stale
from pipeline.inference.monitor import monitor_of
from pipeline.inference.scoring import Metrics, scores_of
from pipeline.inference.thresholds import THRESHOLDS, Stored, inputs_of, predictions_of, why_outdated
from pipeline.inputs.index import HOLDOUT, Index
from pipeline.inputs.predicted import read_together
from pipeline.metrics import LabelLists
from pipeline.metrics.diagnostics import Diagnostics
from pipeline.training import log


class Origin(NamedTuple):
    """When, with what code and where a run was trained."""

    ended: str
    """In ISO 8601, UTC."""
    seconds: float
    """The time of its training steps, without those that compile, and without evaluations."""
    commit: str | None
    """None where the code was no checkout."""
    changed: bool
    """Whether the checkout had changes that were not committed."""
    machine: str


class Decisions(NamedTuple):
    """The thresholds of a run, and what they keep."""

    stored: Stored
    kept: dict[str, dict[str, float]]
    """`Stored.kept` of the splits whose predictions are those that were measured."""


@dataclass(frozen=True)
class Run:
    """One row of the leaderboard: a trained run, a bundle, or the blend of several runs."""

    folder: Path
    log: list[dict[str, Any]]
    """The records of metrics.jsonl, each with its step."""
    scores: dict[str, Metrics]
    """The metrics on each labeled split that it has predicted."""
    comparable: dict[str, Metrics]
    """The metrics on each split by which runs are compared: see `Scores.comparable`."""
    by_class: dict[str, dict[str, list[float | None]]]
    """The metrics of each class on each split: see `Scores.by_class`."""
    parameters: int | None = None
    steps: int | None = None
    batch_size: int | None = None
    speed: float | None = None
    """Examples a second in training."""
    origin: Origin | None = None
    """None where training has not ended, or an earlier version did not note it."""
    folds: tuple[Metrics, ...] = ()
    """The metrics on each fold of the hold-out, if it is one of folds."""

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def blended(self) -> bool:
        return self.name == ENSEMBLE

    @property
    def trained(self) -> bool:
        """Whether its model is here. Of a blend and of a bundle only the predictions are."""
        return is_trained(self.folder)

    def score(self, split: str, monitor: Monitor = "gap") -> float:
        """Return the metric on a split; minus infinity if it is not predicted, or has none."""
        return scored_by(monitor, self.scores.get(split, {}))

    def store(self, split: str) -> PredictionStore:
        return prediction_store(self.folder, split)


@dataclass(frozen=True)
class Blend:
    """How the ensemble was made."""

    recipe: Recipe
    method: str
    monitor: Monitor
    """The metric that chose."""
    steps: list[dict[str, Any]]
    """Of each step its name, `step`, and the score on both halves of the hold-out, `tuned` and `reported`."""


def fresh_splits(folder: Path, index: Index) -> tuple[list[str], list[str]]:
    """Return the labeled splits of which a run has predictions that are up to date, and why the others are left out."""
    faults = {split: why_stale(folder, split, index) for split in index.scored_splits() if index.labeled(split)}
    return [split for split, fault in faults.items() if not fault], list(filter(None, faults.values()))


def read_run(folder: Path, index: Index, progress: Callable[[], object] = lambda: None) -> Run:
    """Read a run with its scores; `progress` is called after each split. Raises StageError if a file is damaged."""
    scores, comparable, by_class = {}, {}, {}
    folds: tuple[Metrics, ...] = ()
    for split in fresh_splits(folder, index)[0]:
        found = scores_of(prediction_store(folder, split), index, split)
        scores[split], comparable[split], by_class[split] = found.whole, found.comparable, found.by_class or {}
        folds = tuple(found.folds or ()) if split == HOLDOUT else folds
        progress()
    if folder.name == ENSEMBLE:
        members = [Path(member.path) / SUMMARY for member in Recipe.read(folder / WEIGHTS).used]
        parameters = [read_json(path).typed("parameters", int, float) for path in members if path.exists()]
        known = len(parameters) == len(members) and None not in parameters
        return Run(folder, [], scores, comparable, by_class, sum(parameters) if known else None, folds=folds)
    names = ("parameters", "steps", "batch_size", "examples_per_second")
    summary = read_json(folder / SUMMARY) if (folder / SUMMARY).exists() else None  # not while it trains
    numbers = summary.numbers(*names) if summary else {}
    return Run(
        folder,
        _read_log(folder) if is_of_index(folder, index) else [],
        scores,
        comparable,
        by_class,
        *(numbers.get(name) for name in names),
        _origin(summary),
        folds,
    )


def _read_log(run: Path) -> list[dict[str, Any]]:
    """Read the log of a training; of one in folds, the mean of the folds' at each evaluation that all have made."""
    if not is_folded(run):
        return log.read_log(run / "metrics.jsonl")
    logs = [[each for each in log.read_log(fold / "metrics.jsonl") if "gap" in each] for fold in fold_folders(run)]
    return [_mean_record(together) for together in zip(*logs)]


def _mean_record(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the mean of each number that all records have; the step, which hardly differs, of the first."""
    numbers = [{key for key, value in record.items() if isinstance(value, int | float)} for record in records]
    means = {key: statistics.mean(record[key] for record in records) for key in set.intersection(*numbers)}
    return {**means, "step": records[0]["step"]}


def _origin(summary: StoredObject | None) -> Origin | None:
    """Raises StageError if a field is of another type than a training writes."""
    origin = summary.typed("origin", StoredObject) if summary else None
    if not summary or not origin:
        return None
    git = origin.typed("git", StoredObject)
    ended, machine = origin.typed("ended", str), origin.typed("machine", str)
    seconds = summary.typed("seconds", int, float)
    if ended is None or machine is None or seconds is None:
        return None
    return Origin(ended, seconds, git.typed("commit", str) if git else None, bool(git and git.get("dirty")), machine)


def read_blend(ensemble: Path) -> Blend:
    """Read how the ensemble was made. Raises StageError if its weights are damaged."""
    values = read_json(ensemble / WEIGHTS)
    steps = values.typed("steps", list) or []
    for step in steps:
        if not isinstance(step, StoredObject) or None in step.numbers("tuned", "reported").values():
            raise StageError(f"{ensemble / WEIGHTS} does not say what each step gained: run ensemble again")
    return Blend(Recipe.read(ensemble / WEIGHTS), values.typed("method", str) or "", monitor_of([ensemble]), steps)


def best_of(runs: list[Run], split: str, monitor: Monitor) -> Run | None:
    """Return the best run on a split by a metric, None if none has predicted it; of equals a run before the blend."""
    scored = [run for run in runs if split in run.scores]
    return max(scored, key=lambda run: (scored_by(monitor, run.comparable[split]), not run.blended), default=None)


def read_decisions(run: Run, index: Index) -> tuple[Decisions | None, str]:
    """Return what a run's thresholds keep, if they are stored and up to date, or else why they are left out.

    Raises StageError if they are damaged.
    """
    stored = Stored.read(run.folder / THRESHOLDS)
    if stored is None:
        return None, ""
    if fault := why_outdated(run.folder, index):
        return None, fault
    now = inputs_of(run.folder, stored.kept, index)
    fresh = {name for name, digest in stored.made_from.inputs.items() if now.get(name) == digest}
    return Decisions(stored, {split: each for split, each in stored.kept.items() if predictions_of(split) in fresh}), ""


def diagnose(run: Run, index: Index, split: str) -> Diagnostics:
    """Diagnose a run's predictions of a labeled split. Raises StageError if they are of other videos."""
    rows = index.rows(split)
    rows = rows[index.labels_known(rows)]
    num_labels = np.diff(index.labels_of(rows)[1])
    found = Diagnostics(index.dataset.num_classes, index.num_frames[rows], num_labels)
    for chosen, (part,) in read_together([run.store(split)], index, split):
        known = index.labels_known(chosen)
        chosen = chosen[known]
        truth = LabelLists(*index.labels_of(chosen))
        found.accumulate(part.labels[known], part.scores[known], truth, index.num_frames[chosen])
    return found
