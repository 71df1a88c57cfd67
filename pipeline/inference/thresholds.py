"""The thresholds of a run, a blend or a bundle as they are stored, and whether they are still those of its scores."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts.done import Done, check_format
from pipeline.artifacts.files import read_json
from pipeline.artifacts.predictions import PredictionStore
from pipeline.config import ConfigError, ThresholdConfig, from_dict
from pipeline.config.errors import StageError
from pipeline.config.threshold import STORED
from pipeline.inference.freshness import fresh_predictions, prediction_store, why_stale
from pipeline.inputs.index import HOLDOUT, Index
from pipeline.metrics.thresholds import NEVER

THRESHOLDS = "thresholds.json"
"""A run's file of thresholds, which the stage threshold writes."""


@dataclass(frozen=True)
class Thresholds:
    """From which score on each class is said, and how that was chosen."""

    settings: ThresholdConfig
    by_class: tuple[float, ...]
    """A label is said if its score is at least that of its class; above 1 for a class that is never said."""

    def __post_init__(self) -> None:
        if not all(math.isfinite(value) and 0 <= value <= NEVER for value in self.by_class):
            raise ConfigError(f"thresholds must be numbers from 0 to {NEVER:g}")

    def array(self) -> NDArray[np.float64]:
        """Return the threshold of each class, [V]."""
        return np.array(self.by_class)


def holdout_store(run: Path, index: Index) -> PredictionStore:
    """Return the predictions that thresholds of a run, a blend or a bundle are chosen by.

    Raises StageError: the hold-out has no labels, or its predictions are missing or out of date.
    """
    if not index.holdout_labeled:
        raise StageError(
            f"the hold-out of {index.folder} has no labels, by which thresholds are chosen: --threshold takes a number"
        )
    return fresh_predictions(run, HOLDOUT, index)


def predictions_of(split: str) -> str:
    """Return what the predictions of a split are called among the inputs of thresholds."""
    return f"predictions of {split}"


def inputs_of(run: Path, splits: Iterable[str], index: Index) -> dict[str, str]:
    """Return digests of the index and of the finished predictions of some splits."""
    done = {split: Done.read(prediction_store(run, split).folder) for split in splits}
    return {"index": index.digest, **{predictions_of(split): each.output for split, each in done.items() if each}}


def made_from(path: Path) -> Done | None:
    """Read what stored thresholds were chosen from; None if there are none. Raises StageError if they do not say."""
    if not path.exists():
        return None
    values = read_json(path)
    check_format(path, values)
    about = values.typed("made_from", dict) or {}
    if not all(isinstance(about.get(name), dict) for name in ("config", "inputs")):
        raise StageError(f"{path} does not say what it was made from: delete it and run threshold")
    return Done(about["config"], about["inputs"], "")


def read_thresholds(path: Path, num_classes: int) -> tuple[Thresholds, dict[str, Any]]:
    """Read stored thresholds, and all that the file holds; raises StageError if it is damaged or of other classes."""
    made, values = made_from(path), read_json(path)
    try:
        stored = {"settings": made.config if made else {}, "by_class": values["thresholds"]}
        thresholds = from_dict(Thresholds, stored, path)
    except ConfigError as error:
        raise StageError(f"{error}; delete it and run threshold") from error
    if len(thresholds.by_class) != num_classes:
        raise StageError(f"{path} has {len(thresholds.by_class)} thresholds for {num_classes} classes: run threshold")
    return thresholds, values


def why_outdated(run: Path, index: Index) -> str:
    """Return why the stored thresholds of a run are not those of its scores any more; empty if they are."""
    made, again = made_from(run / THRESHOLDS), f"run threshold --run {run.name}"
    if made is None:
        return f"{run} has no thresholds: {again}"
    if fault := why_stale(run, HOLDOUT, index):
        return f"{run / THRESHOLDS} was chosen from predictions that are out of date: {fault}, then {again}"
    inputs = inputs_of(run, [HOLDOUT], index)
    if {name: made.inputs.get(name) for name in inputs} != inputs:
        return f"{run / THRESHOLDS} was chosen from other predictions than {run.name} has now: {again} again"
    return ""


def fresh_thresholds(run: Path, index: Index) -> Thresholds:
    """Return the stored thresholds of a run or a blend.

    Raises StageError: there are none, they are damaged, or not those of its scores; the message names the remedy.
    """
    if fault := why_outdated(run, index):
        raise StageError(fault)
    return read_thresholds(run / THRESHOLDS, index.dataset.num_classes)[0]


def given_thresholds(given: str, stored: Callable[[], Thresholds], num_classes: int) -> NDArray[np.float64]:
    """Return the thresholds that --threshold asks for, [V]: those that are stored, or one number for all classes."""
    return stored().array() if given == STORED else np.full(num_classes, float(given))
