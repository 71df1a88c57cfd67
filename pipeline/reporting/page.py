"""Render the report's page: all about a preset's runs, in one HTML file that needs no other."""

import math
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from pipeline.config.monitor import Monitor, key_of, short_title, title_of
from pipeline.inference.scoring import Metrics
from pipeline.inputs.index import HOLDOUT, Index
from pipeline.metrics.diagnostics import Diagnostics
from pipeline.reporting import figures, heat, histograms, sections
from pipeline.reporting.palette import CSS
from pipeline.reporting.runs import Blend, Decisions, Run
from pipeline.reporting.templates import templates
from pipeline.reporting.videos import Video

FEW = 1000
"""If a split has fewer videos, the page warns that small differences say nothing."""


@dataclass(frozen=True)
class Report:
    """Everything that the page shows."""

    preset: str
    index: Index
    names: list[str]
    """The names of the classes."""
    monitor: Monitor
    """The metric that the runs are compared by."""
    runs: list[Run]
    """The trained runs and their blend, also those without predictions."""
    blend: Blend | None
    run: Run | None
    """The run that the page looks into; None if no labeled split is predicted."""
    asked: bool
    """Whether the user named that run; otherwise the hold-out chose it."""
    diagnostics: dict[str, Diagnostics]
    """Of that run, on each labeled split that it has predicted."""
    decisions: Decisions | None
    """What that run's thresholds keep, if there are any."""
    priors: dict[str, Metrics]
    """The scores of the label priors on each split; empty if the index has no training videos."""
    left_out: tuple[str, ...] = ()
    """What the page does not show, and why: predictions that are missing or out of date."""
    single: Run | None = None
    """The run whose predictions of some videos are shown."""
    videos: tuple[Video, ...] = ()
    videos_split: str = ""
    digest: str = ""
    """A hash of all that the page is made from."""


def render(report: Report) -> str:
    """Return the page; the same report gives the same bytes."""
    environment = templates({"title_of": title_of, "short_title": short_title})
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
        "key": key_of(report.monitor),
        "title": title_of(report.monitor),
        "metric": short_title(report.monitor),
        "splits": [
            {"name": name, "videos": videos, "role": sections.role(name, index)}
            for name, videos in index.splits.items()
            if videos
        ],
        "scored": scored,
        # The hold-out comes first, and chooses. The last split chooses nothing, if there is another one.
        "headline": looked_into[-1] if looked_into else None,
        "others": looked_into[:-1],
        "leaderboards": {
            split: sections.leaderboard(report.runs, report.priors.get(split), split, report.monitor, index.dataset)
            for split in scored
        },
        "holdout": HOLDOUT if HOLDOUT in scored else None,
        "few": FEW,
        "least_pairs": figures.LEAST,
        "training": sections.training(report.runs, report.monitor),
        "origins": sections.origins(report.runs),
        "alone": report.blend.recipe.used[0].run if report.blend and len(report.blend.recipe.used) == 1 else None,
        "ensemble": sections.ensemble(report.blend),
        "confidence": sections.confidence(of),
        "decisions": sections.decisions(report.decisions),
        "classes": [sections.classes(index, report.names, report.run, of, split) for split in reversed(of)],
        "groups": sections.groups(of),
        "data": histograms.dataset_pictures(index.summary),
        "quarantined": index.summary["quarantined"]["count"],
        "duplicates": index.summary["duplicates"]["count"],
        "leaks": index.summary["leakage"]["count"],
        "span": figures.span,
    }
