"""The report's page: what is known of a preset's runs, as one HTML file that needs nothing else."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from pipeline.inputs.index import HOLDOUT, TRAIN, Index
from pipeline.metrics.diagnostics import Diagnostics
from pipeline.reporting import card, figures, heat
from pipeline.reporting.runs import Blend, Run, best_by_gap
from pipeline.reporting.style import COLORS, DASH_ARRAYS
from pipeline.reporting.videos import Video

NAMED = 6
"""Runs that have a color of their own among the training curves."""
LISTED = 10
"""Classes in each table of the best and the worst, and confusions."""
ENOUGH = 10
"""Videos that a class must have in a split to be among them, if as many classes as that have so many."""
FEW = 1000
"""A split with fewer videos says little of small differences."""


@dataclass(frozen=True)
class Report:
    """Everything that the page tells."""

    preset: str
    index: Index
    names: list[str]
    """Of the classes."""
    runs: list[Run]
    """Trained ones and their blend; those without predictions too."""
    blend: Blend | None
    run: Run | None
    """The one that is looked into; None where no labeled split is predicted."""
    diagnostics: dict[str, Diagnostics]
    """Of that run, each labeled split that it has predicted."""
    priors: dict[str, dict[str, float]]
    """Scores of the label priors on each split of the leaderboard; none where the index has no training videos."""
    left_out: tuple[str, ...] = ()
    """Why predictions are not told of: they are missing, or not from what there is now."""
    single: Run | None = None
    """The one whose predictions of some videos are shown."""
    videos: tuple[Video, ...] = ()
    videos_split: str = ""
    digest: str = ""
    """Of all that the page is made from."""


def render(report: Report) -> str:
    """The page; the same report gives the same bytes."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,  # names of labels, videos and runs are strangers' text
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "score": score,
        "count": count,
        "percent": percent,
        "millions": millions,
        "signed": signed,
        "breakable": breakable,
    }
    return environment.get_template("page.html").render(_context(report)).rstrip() + "\n"


def score(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.4f}"


def count(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def percent(value: float) -> str:
    return "–" if math.isnan(value) else f"{100 * value:.0f} %"


def signed(value: float) -> str:
    return f"{value:+.4f}".replace("-", "−")


def millions(value: int | None) -> str:
    return "–" if value is None else f"{value / 1e6:.3g} M" if value >= 1e6 else f"{value:,}"


def breakable(name: str) -> Markup:
    """A long name that may go on in the next line after its underscores and hyphens."""
    return Markup(str(escape(name)).replace("_", "_<wbr>").replace("-", "-<wbr>"))


def _context(report: Report) -> dict[str, Any]:
    index = report.index
    style = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
    splits = [split for split in index.scored_splits() if any(split in run.scores for run in report.runs)]
    errors = {split: found.gap_error() for split, found in report.diagnostics.items()}
    return {
        "errors": {split: error for split, error in errors.items() if not math.isnan(error)},
        "shown": heat.ROWS,
        "report": report,
        "dataset": index.dataset,
        "style": Markup(style),
        "splits": [
            {"name": name, "videos": videos, "role": _role(name, index)}
            for name, videos in index.splits.items()
            if videos
        ],
        "scored": splits,
        "leaderboards": {split: _leaderboard(report, split) for split in splits},
        "holdout": HOLDOUT if HOLDOUT in splits else None,
        "few": FEW,
        "training": _training(report.runs),
        "ensemble": _ensemble(report),
        "confidence": _confidence(report.diagnostics),
        "classes": [_classes(report, split) for split in report.diagnostics],
        "groups": _groups(report.diagnostics),
        "data": card.pictures(index.summary),
        "quarantined": index.summary["quarantined"]["count"],
        "duplicates": index.summary["duplicates"]["count"],
        "leaks": index.summary["leakage"]["count"],
        "span": figures.span,
    }


def _role(split: str, index: Index) -> str:
    if split == TRAIN:
        return "trained on"
    if split == HOLDOUT:
        return "never trained on, but it chooses: steps, runs, weights"
    return "scored, and chooses nothing" if index.labeled(split) else "no labels: predicted, not scored"


def _leaderboard(report: Report, split: str) -> dict[str, Any]:
    """Rows by GAP, the best of each column, and the priors."""
    rows = sorted((run for run in report.runs if split in run.scores), key=lambda run: (-run.gap(split), run.name))
    keys = ("gap", "map_all_kept", "map", "hit_at_one", "perr")
    top = {key: max(run.scores[split][key] for run in rows) for key in keys}
    singles = best_by_gap([run for run in rows if not run.blended], split)
    blended = best_by_gap([run for run in rows if run.blended], split)
    gain = blended.gap(split) - singles.gap(split) if singles and blended else None
    return {
        "rows": rows,
        "best": top,
        "single": singles,
        "gain": gain,
        "priors": report.priors.get(split),
        "videos": rows[0].scores[split]["videos"],
    }


def _training(runs: list[Run]) -> dict[str, Any] | None:
    logged = [run for run in runs if run.log]
    if not logged:
        return None

    def highest(run: Run) -> float:
        return max((record["gap"] for record in run.log if "gap" in record), default=-1.0)

    logged.sort(key=lambda run: (-highest(run), run.name))
    scored = any("gap" in record for run in logged for record in run.log)
    return {
        "loss": figures.plot_training_curves(logged, NAMED, "loss", "training loss"),
        "gap": figures.plot_training_curves(logged, NAMED, "gap", "GAP@20 on the hold-out") if scored else None,
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


def _ensemble(report: Report) -> dict[str, Any] | None:
    if report.blend is None:
        return None
    blend = report.blend
    members = sorted(blend.recipe.members, key=lambda member: (-member.weight, member.run))
    most, whole = members[0].weight, sum(member.weight for member in members)
    plot = None
    if len(blend.steps) > 2:
        plot = figures.plot_ensemble_steps(
            [step["tuned"] for step in blend.steps], [step["reported"] for step in blend.steps]
        )
    return {
        "members": [{"run": each.run, "share": each.weight / whole, "bar": each.weight / most} for each in members],
        "used": len(blend.recipe.used),
        "plot": plot,
    }


def _confidence(of: dict[str, Diagnostics]) -> dict[str, Any] | None:
    if not of:
        return None
    return {
        "reliability": figures.plot_reliability(of),
        "thresholds": figures.plot_precision_recall(of),
        "errors": [
            (split, found.all.reliability().error, found.best.reliability().error) for split, found in of.items()
        ],
    }


def _classes(report: Report, split: str) -> dict[str, Any]:
    """The picture of a split's classes, the best and the worst of them, and what is confused."""
    index, found = report.index, report.diagnostics[split]
    number = list(report.diagnostics).index(split)
    trained = index.labels_of(index.rows(TRAIN))[0] if index.has_training else np.zeros(0, np.int64)
    training = np.bincount(trained, minlength=index.dataset.num_classes)
    precisions, positives = found.class_precisions(), found.positives
    least = ENOUGH if np.count_nonzero(positives >= ENOUGH) >= 2 * LISTED else 1
    kept = np.flatnonzero(positives >= least)
    order = kept[np.lexsort((kept, -precisions[kept]))].tolist()
    half = min(LISTED, (len(order) + 1) // 2)

    def row(label: int) -> dict[str, Any]:
        there = {"videos": int(positives[label]), "training": int(training[label])}
        return {"name": report.names[label], "precision": float(precisions[label]), **there}

    return {
        "split": split,
        "confused": [
            ("most often", found.confusions.most(LISTED)),
            ("most beyond chance", found.confusions.closest(LISTED)),
        ],
        "positives": positives,
        "picture": figures.plot_class_precisions(split, number, precisions, training),
        "present": int(np.count_nonzero(positives)),
        "zero": int(np.count_nonzero(precisions == 0)),
        "least": least,
        "best": [row(label) for label in order[:half]],
        "worst": [row(label) for label in order[half:][-half:][::-1]],
    }


def _groups(of: dict[str, Diagnostics]) -> list[dict[str, Any]]:
    made = []
    for name, label in (("labels", "labels of a video"), ("frames", "frames of a video")):
        found = {split: getattr(each, f"by_{name}")() for split, each in of.items()}
        several = any(len(each) > 1 for each in found.values())
        plot = figures.plot_gap_by_group(name, label, found) if several else None
        made.append({"name": name, "label": label, "groups": found, "picture": plot})
    return made
