"""The report's page: what is known of a preset's runs, as one HTML file that needs nothing else."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pipeline.inputs.index import HOLDOUT, Index
from pipeline.metrics.diagnostics import Diagnostics
from pipeline.reporting import figures, heat, histograms, numbers, sections
from pipeline.reporting.palette import CSS
from pipeline.reporting.runs import Blend, Run
from pipeline.reporting.videos import Video

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
    environment.filters |= numbers.FILTERS
    return environment.get_template("page.html").render(_context(report)).rstrip() + "\n"


def _context(report: Report) -> dict[str, Any]:
    index, of = report.index, report.diagnostics
    scored = [split for split in index.scored_splits() if any(split in run.scores for run in report.runs)]
    looked_into = [split for split in scored if report.run and split in report.run.scores]
    errors = {split: found.gap_error() for split, found in of.items()}
    return {
        "errors": {split: error for split, error in errors.items() if not math.isnan(error)},
        "shown": heat.ROWS,
        "report": report,
        "dataset": index.dataset,
        "style": Markup(CSS.read_text(encoding="utf-8")),
        "metrics": sections.METRICS,
        "splits": [
            {"name": name, "videos": videos, "role": sections.role(name, index)}
            for name, videos in index.splits.items()
            if videos
        ],
        "scored": scored,
        # The hold-out comes first, and chooses. The last split chooses nothing, if there is another one.
        "headline": looked_into[-1] if looked_into else None,
        "others": looked_into[:-1],
        "leaderboards": {split: sections.leaderboard(report.runs, report.priors.get(split), split) for split in scored},
        "holdout": HOLDOUT if HOLDOUT in scored else None,
        "few": FEW,
        "least_pairs": figures.LEAST,
        "training": sections.training(report.runs),
        "origins": sections.origins(report.runs),
        "alone": report.blend.recipe.used[0].run if report.blend and len(report.blend.recipe.used) == 1 else None,
        "ensemble": sections.ensemble(report.blend),
        "confidence": sections.confidence(of),
        "classes": [sections.classes(index, report.names, of, split) for split in of],
        "groups": sections.groups(of),
        "data": histograms.dataset_pictures(index.summary),
        "quarantined": index.summary["quarantined"]["count"],
        "duplicates": index.summary["duplicates"]["count"],
        "leaks": index.summary["leakage"]["count"],
        "span": figures.span,
    }
