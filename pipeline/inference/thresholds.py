"""The thresholds of a run, a blend or a bundle as they are stored, and whether they are still those of its scores."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts.done import Done, check_format, format_fields
from pipeline.artifacts.files import read_json, write_json
from pipeline.artifacts.predictions import PredictionStore
from pipeline.config import ConfigError, ThresholdConfig, from_dict, to_dict
from pipeline.config.errors import StageError
from pipeline.config.threshold import STORED
from pipeline.inference.freshness import SUMMARY, fresh_predictions, prediction_store, why_stale
from pipeline.inputs.index import HOLDOUT, Index
from pipeline.metrics.thresholds import NEVER, Kept

THRESHOLDS = "thresholds.json"
"""A run's file of thresholds, which the stage threshold writes."""
BROUGHT = "thresholds"
"""Those of a bundle, in the summary in the folder of its predictions."""


@dataclass(frozen=True)
class Thresholds:
    """From which score on each class is assigned, and how that was chosen."""

    settings: ThresholdConfig
    by_class: tuple[float, ...]
    """A label is assigned if its score is at least that of its class; above 1 for a class that is never assigned."""

    def __post_init__(self) -> None:
        if not all(math.isfinite(value) and 0 <= value <= NEVER for value in self.by_class):
            raise ConfigError(f"thresholds must be numbers from 0 to {NEVER:g}")

    def array(self) -> NDArray[np.float64]:
        """Return the threshold of each class, [V]."""
        return np.array(self.by_class)


@dataclass(frozen=True)
class MadeFrom:
    """What thresholds were chosen with, and digests of what they were chosen and measured on."""

    config: ThresholdConfig
    inputs: dict[str, str]


@dataclass(frozen=True)
class Counts:
    """How many classes have which kind of threshold."""

    own: int
    """A threshold that was chosen for the class, and not the shared one."""
    never: int
    """None that a score reaches."""
    missed: int
    """One that does not reach the goal."""


@dataclass(frozen=True)
class Stored:
    """The content of thresholds.json."""

    made_from: MadeFrom
    videos: int
    """Of the hold-out, by which they were chosen."""
    classes: Counts
    kept: dict[str, dict[str, float]]
    """What they keep of each labeled split where nothing was chosen: `Kept.figures`."""
    shared: float
    names: tuple[str, ...]
    """The names of the classes."""
    thresholds: tuple[float, ...]
    """One for each class."""

    def __post_init__(self) -> None:
        if len(self.chosen.by_class) != len(self.names):
            raise ConfigError(f"there are {len(self.thresholds)} thresholds for {len(self.names)} names of classes")
        if not all({*Kept(1).figures()} <= figures.keys() for figures in self.kept.values()):
            raise ConfigError("figures of what is kept are missing")

    @property
    def chosen(self) -> Thresholds:
        return Thresholds(self.made_from.config, self.thresholds)

    @classmethod
    def read(cls, path: Path) -> "Stored | None":
        """Read the file; None if there is none. Raises StageError if it is damaged, or of a newer format."""
        if not path.exists():
            return None
        values = read_json(path)
        check_format(path, values)
        try:
            return from_dict(cls, {name: value for name, value in values.items() if name not in format_fields()}, path)
        except ConfigError as error:
            raise StageError(f"{error}; delete it and run threshold") from error

    def write(self, path: Path) -> None:
        write_json(path, {**format_fields(), **to_dict(self)})

    def done(self) -> Done:
        """Return what they were made from, to be compared with what is there now."""
        return Done(to_dict(self.made_from.config), self.made_from.inputs, "")


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


def why_outdated(run: Path, index: Index) -> str:
    """Return why the stored thresholds of a run are not those of its scores any more; empty if they are."""
    stored, again = Stored.read(run / THRESHOLDS), f"run threshold --run {run.name}"
    if stored is None:
        return f"{run} has no thresholds: {again}"
    if fault := why_stale(run, HOLDOUT, index):
        return f"{run / THRESHOLDS} was chosen from predictions that are out of date: {fault}, then {again}"
    inputs = inputs_of(run, [HOLDOUT], index)
    if not inputs.items() <= stored.made_from.inputs.items() or len(stored.thresholds) != index.dataset.num_classes:
        return f"{run / THRESHOLDS} was chosen from other predictions than {run.name} has now: {again} again"
    return ""


def fresh_thresholds(run: Path, index: Index) -> Stored:
    """Return the stored thresholds of a run or a blend, with what is known of them.

    Raises StageError: there are none, they are damaged, or not those of its scores; the message names the remedy.
    """
    if fault := why_outdated(run, index):
        raise StageError(fault)
    stored = Stored.read(run / THRESHOLDS)
    assert stored is not None
    return stored


def thresholds_of(run: Path, index: Index) -> Thresholds:
    """Return the thresholds of a run, a blend or a bundle; a bundle brings its own, if none were chosen here.

    Raises as `fresh_thresholds` does.
    """
    summary = {} if (run / THRESHOLDS).exists() or not (run / SUMMARY).exists() else read_json(run / SUMMARY)
    if brought := summary.get(BROUGHT):
        return from_dict(Thresholds, brought, run / SUMMARY)
    return fresh_thresholds(run, index).chosen


def given_thresholds(given: str, stored: Callable[[], Thresholds], num_classes: int) -> NDArray[np.float64]:
    """Return the thresholds that --threshold asks for, [V]: those that are stored, or one number for all classes."""
    return stored().array() if given == STORED else np.full(num_classes, float(given))
