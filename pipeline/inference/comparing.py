"""Compare runs by their scores: by which metric, which of them is best, and how they are shown beside each other."""

import math
import statistics
from collections.abc import Collection, Sequence
from pathlib import Path

from pipeline.artifacts.places import ENSEMBLE
from pipeline.artifacts.predictions import list_predicted_splits
from pipeline.config import DatasetConfig
from pipeline.config.errors import StageError
from pipeline.config.monitor import Monitor, key_of
from pipeline.inference.freshness import fresh_predictions
from pipeline.inference.scoring import Metrics, scores_of
from pipeline.inputs.index import HOLDOUT, Index


def spread_of(folds: Sequence[Metrics], key: str) -> tuple[float, float] | None:
    """Return mean and standard deviation (of a sample, n - 1) of a metric over folds; None where a fold lacks it."""
    values = [value for metrics in folds if (value := metrics.get(key)) is not None]
    return (statistics.mean(values), statistics.stdev(values)) if len(values) == len(folds) > 1 else None


def scored_by(monitor: Monitor, metrics: Metrics) -> float:
    """Return the value of the metric that chooses; minus infinity where it cannot be computed."""
    value = metrics.get(key_of(monitor))
    return -math.inf if value is None else value


def best_run(runs: Sequence[Path], index: Index, monitor: Monitor) -> tuple[Path, dict[str, float]]:
    """Return the best of runs, bundles and their blend, and the score of each that has predicted the hold-out.

    Without a labeled hold-out it returns the blend, or the only run. What lacks the metric is the worst.

    Raises:
        StageError: predictions of the hold-out are out of date, or nothing shows which run is best.
    """
    found = {}
    for run in runs if index.holdout_labeled else ():
        if HOLDOUT in list_predicted_splits(run):
            metrics = scores_of(fresh_predictions(run, HOLDOUT, index), index, HOLDOUT).comparable
            found[run] = scored_by(monitor, metrics)
    if found:
        if others := [run.name for run in runs if run not in found]:
            print(f"these runs cannot be chosen, since they have not predicted the hold-out: {', '.join(others)}")
        known = {run.name: score for run, score in found.items() if math.isfinite(score)}
        return max(found, key=lambda run: found[run]), known
    blends = [run for run in runs if run.name == ENSEMBLE]
    if len(runs) == 1 or blends:
        return (blends or list(runs))[0], {}
    names = ", ".join(run.name for run in runs)
    raise StageError(f"which run? None has predicted a labeled hold-out: choose --run from: {names}, or run infer")


def columns(dataset: DatasetConfig, known: Collection[str]) -> list[str]:
    """Return the metrics of a table in their order, five at most, of those that some row has."""
    if dataset.task == "single_label":
        wanted: tuple[str, ...] = ("top_1", "top_5", "gap", "map_all_kept", "auc")
    elif "auc" in known:
        wanted = ("gap", "map_all_kept", "auc", "d_prime", "hit_at_one")
    else:
        wanted = ("gap", "map_all_kept", "hit_at_one", "perr", "map")
    return [key for key in wanted if key in known]
