"""The results as one picture: the GAP of every chosen run on the eval clips, and of what is made of them."""

import statistics
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from pipeline.reporting.style import drawing

RUN, BLEND = "#0072B2", "#D55E00"
INK = "#767c83"
"""Read on white paper and on a dark page alike."""
SETTINGS = {
    "svg.hashsalt": "audioset",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 11,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}


def draw(rows: list[dict[str, Any]], blends: list[dict[str, Any]], path: Path) -> None:
    """Write the picture as SVG: a line a family, a dot a seed, a tick at the mean; blends above them."""
    families: dict[str, list[float]] = {}
    for row in rows:
        families.setdefault(row["family"], []).append(row["gap"])
    lines = sorted(((statistics.mean(gaps), name, gaps) for name, gaps in families.items()), key=lambda line: line[:2])
    made = sorted((row["gap"], row["name"]) for row in blends if not row["bytes"])
    with drawing(SETTINGS):
        figure = Figure(figsize=(8.2, 0.32 * (len(lines) + len(made)) + 1.1), layout="constrained")
        axes = figure.subplots()
        names = []
        for mean, name, gaps in lines:
            axes.plot([mean], [len(names)], "|", color=RUN, markersize=14, markeredgewidth=2)
            axes.plot(gaps, [len(names)] * len(gaps), "o", color=RUN, markersize=6, alpha=0.7, markeredgewidth=0)
            names.append(name)
        for gap, name in made:
            axes.plot([gap], [len(names)], "D", color=BLEND, markersize=7)
            names.append(name)
        axes.set_yticks(range(len(names)), names)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="both", color=INK, alpha=0.25, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.set_xlabel("GAP@20 on AudioSet's 10,190 eval clips: a dot a seed, a tick at their mean")
        figure.savefig(path, format="svg", metadata={"Date": None})
