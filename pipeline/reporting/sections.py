"""What each section of the page shows: the rows of its tables, its pictures, and the numbers of its sentences."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.config import DatasetConfig
from pipeline.config.monitor import TITLES, Monitor, key_of, title_of
from pipeline.inference.comparing import columns, spread_of
from pipeline.inference.scoring import Metrics
from pipeline.inputs.index import HOLDOUT, TRAIN, Index
from pipeline.metrics.diagnostics import Diagnostics
from pipeline.metrics.thresholds import NEVER
from pipeline.reporting import figures
from pipeline.reporting.runs import Blend, Decisions, Run, best_of
from pipeline.reporting.style import COLORS, DASH_ARRAYS

NAMED = 6
"""Runs that have a color of their own among the training curves."""
LISTED = 10
"""Rows of each table of classes and of confusions."""
ENOUGH = 10
"""Videos of a split that a class must have to be listed, if enough classes have so many."""


def role(split: str, index: Index) -> str:
    """Return what a split is for."""
    if split == TRAIN:
        return "the models are trained on them"
    if split == HOLDOUT and index.folds:
        return (
            f"the same, in {index.folds} folds, each predicted by a model that is trained on the others; they choose "
            "the steps, the runs and the weights"
        )
    if split == HOLDOUT:
        return "no model is trained on them, but they choose the steps, the runs and the weights"
    return "scored, and nothing is chosen by them" if index.labeled(split) else "without labels: predicted, not scored"


def leaderboard(
    runs: Sequence[Run], priors: Metrics | None, split: str, monitor: Monitor, dataset: DatasetConfig
) -> dict[str, Any]:
    """Return the rows by the metric that chooses, the columns and the best score of each, and what the blend gains."""
    scored = [run for run in runs if split in run.scores]
    rows = sorted(scored, key=lambda run: (-run.score(split, monitor), run.blended, run.name))
    single = best_of([run for run in rows if not run.blended], split, monitor)
    blended = best_of([run for run in rows if run.blended], split, monitor)
    known = {key for run in rows for key, value in run.scores[split].items() if value is not None}
    shown = columns(dataset, known)
    both = single and blended and math.isfinite(single.score(split, monitor) + blended.score(split, monitor))
    return {
        "rows": rows,
        "columns": {key: TITLES[key] for key in shown},
        "best": {key: max(value for run in rows if (value := run.scores[split].get(key)) is not None) for key in shown},
        "single": single,
        "gain": blended.score(split, monitor) - single.score(split, monitor) if both else None,
        "priors": priors,
        "videos": rows[0].scores[split]["videos"],
        "spreads": spreads(rows, list(shown)) if split == HOLDOUT else [],
    }


def spreads(rows: Sequence[Run], keys: Sequence[str]) -> list[tuple[Run, int, list[tuple[float, float] | None]]]:
    """Return the runs that are scored on each fold, the number of folds, and mean and deviation of each metric."""
    return [(run, len(run.folds), [spread_of(run.folds, key) for key in keys]) for run in rows if run.folds]


def training(runs: Sequence[Run], monitor: Monitor) -> dict[str, Any] | None:
    """Return the curves of all runs, and the key to those with a color; None if no run has a log."""
    key = key_of(monitor)

    def highest(run: Run) -> float:
        return max((record[key] for record in run.log if key in record), default=-math.inf)

    logged = sorted((run for run in runs if run.log), key=lambda run: (-highest(run), run.name))
    if not logged:
        return None
    scored = any(key in record for run in logged for record in run.log)
    return {
        "loss": figures.plot_training_curves(logged, NAMED, "loss", "training loss"),
        "score": figures.plot_training_curves(logged, NAMED, key, f"{title_of(monitor)} on the hold-out")
        if scored
        else None,
        "key": [
            {
                "name": run.name,
                "color": f"c{number % len(COLORS) + 1}",
                "dash": DASH_ARRAYS[number % len(DASH_ARRAYS)],
            }
            for number, run in enumerate(logged[:NAMED])
        ],
        "others": max(len(logged) - NAMED, 0),
    }


def origins(runs: Sequence[Run]) -> list[Run]:
    """Return the runs that noted when and where they were trained, the latest first."""
    known = [run for run in runs if run.origin]
    return sorted(sorted(known, key=lambda run: run.name), key=lambda run: run.origin.ended, reverse=True)


def ensemble(blend: Blend | None) -> dict[str, Any] | None:
    """Return the weights of the blend, and how they were found; None if only one run has a weight."""
    if blend is None or len(blend.recipe.used) < 2:
        return None
    members = sorted(blend.recipe.members, key=lambda member: (-member.weight, member.run))
    most, whole = members[0].weight, sum(member.weight for member in members)
    plot = None
    if len(blend.steps) > 2:
        plot = figures.plot_ensemble_steps(
            title_of(blend.monitor),
            [step["tuned"] for step in blend.steps],
            [step["reported"] for step in blend.steps],
        )
    return {
        "members": [{"run": each.run, "share": each.weight / whole, "bar": each.weight / most} for each in members],
        "used": len(blend.recipe.used),
        "plot": plot,
    }


def confidence(of: dict[str, Diagnostics]) -> dict[str, Any] | None:
    """Return how often pairs of each confidence are correct, in pictures and errors; None if nothing is scored."""
    if not of:
        return None
    return {
        "reliability": figures.plot_reliability(of),
        "thresholds": figures.plot_precision_recall(of),
        "errors": [
            (split, found.all.reliability().error, found.best.reliability().error) for split, found in of.items()
        ],
    }


def decisions(found: Decisions | None) -> dict[str, Any] | None:
    """Return what thresholds were chosen for, how many classes have which, and what they keep; None without any."""
    if found is None:
        return None
    stored = found.stored
    settings = stored.made_from.config
    return {
        "goal": settings.describe(),
        "wanted": settings.value,
        "of": settings.goal,
        "rare": 0 if settings.shared else len(stored.thresholds) - stored.classes.own,
        "least": settings.least_positives,
        "shared": None if stored.shared >= NEVER else stored.shared,
        "classes": stored.classes,
        "kept": found.kept,
    }


def classes(index: Index, names: Sequence[str], run: Run, of: dict[str, Diagnostics], split: str) -> dict[str, Any]:
    """Return the picture of a split's classes, the best and the worst classes, and which ones are confused."""
    found, number = of[split], list(of).index(split)
    trained = index.labels_of(index.rows(TRAIN))[0] if index.has_training else np.zeros(0, np.int64)
    videos = np.bincount(trained, minlength=index.dataset.num_classes)
    precisions = np.array(run.by_class[split]["average_precision"], float)  # None becomes NaN
    positives = found.positives
    least = ENOUGH if np.count_nonzero(positives >= ENOUGH) >= 2 * LISTED else 1
    kept = np.flatnonzero(positives >= least)
    order = kept[np.lexsort((kept, -precisions[kept]))].tolist()
    half = min(LISTED, (len(order) + 1) // 2)

    def row(label: int) -> dict[str, Any]:
        there = {"videos": int(positives[label]), "training": int(videos[label])}
        return {"name": names[label], "precision": float(precisions[label]), **there}

    return {
        "split": split,
        "confused": [
            ("most often", found.confusions.most(LISTED)),
            ("most beyond chance", found.confusions.closest(LISTED)),
        ],
        "positives": positives,
        "picture": figures.plot_class_precisions(split, number, precisions, videos),
        "present": int(np.count_nonzero(positives)),
        "zero": int(np.count_nonzero(precisions == 0)),
        "least": least,
        "best": [row(label) for label in order[:half]],
        "worst": [row(label) for label in order[half:][-half:][::-1]],
    }


def groups(of: dict[str, Diagnostics]) -> list[dict[str, Any]]:
    """Return GAP by number of labels, and by number of frames."""
    made = []
    for name, label in (("labels", "labels of a video"), ("frames", "frames of a video")):
        found = {split: getattr(each, f"by_{name}")() for split, each in of.items()}
        several = any(len(each) > 1 for each in found.values())
        plot = figures.plot_gap_by_group(name, label, found) if several else None
        made.append({"name": name, "label": label, "groups": found, "picture": plot})
    return made
