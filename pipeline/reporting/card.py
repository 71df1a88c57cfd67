"""A dataset's card: one page of plots from the numbers in dataset.json, as SVG that needs no other file."""

import textwrap
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from pipeline.reporting.style import COLORS, line, svg_picture, svg_text
from pipeline.runtime.output import printable

NAME = "card.svg"
REASONS = 8
"""Kinds of reasons that have a bar of their own."""


def write_card(path: Path, summary: dict[str, Any]) -> None:
    """Draw the summary of an index, as in dataset.json; the same numbers give the same bytes."""
    with matplotlib.rc_context({"svg.hashsalt": summary["digest"], "svg.fonttype": "none", "text.parse_math": False}):
        path.write_text(svg_text(draw(summary), {"Date": None}), encoding="utf-8")


def draw(summary: dict[str, Any]) -> Figure:
    """The page as a figure: labels by rank, labels and frames a video, values of each feature, what is quarantined."""
    dataset, statistics = summary["dataset"], summary["statistics"]
    figure = Figure(figsize=(11, 12), layout="constrained")
    places = figure.subplot_mosaic([["labels", "labels"], ["sets", "frames"], ["values", "values"], ["bad", "bad"]])
    counts = ", ".join(f"{split} {count:,}" for split, count in summary["counts"].items())
    made_up = " (synthetic)" if dataset["synthetic"] else ""
    figure.suptitle(f"{dataset['name']}{made_up}: {counts} videos of {len(summary['shards']):,} shards")
    _ranks(places["labels"], statistics["videos_a_label"], dataset["num_classes"])
    _shares(places["sets"], statistics["labels_a_video"], "labels a video")
    _shares(places["frames"], statistics["frames_a_video"], f"frames a video, at most {dataset['max_frames']}")
    places["frames"].set_title(_cut(summary))
    _values(places["values"], statistics["values"])
    _reasons(places["bad"], statistics["reasons"], summary["quarantined"]["count"])
    return figure


def pictures(summary: dict[str, Any]) -> list[tuple[Markup, str]]:
    """The plots of the card one by one, for a page, each with what is to be seen in it."""
    statistics, classes = summary["statistics"], summary["dataset"]["num_classes"]
    labels, values_of = statistics["videos_a_label"], statistics["values"]
    occur = ", ".join(f"{split} {len(counts):,}" for split, counts in labels.items())
    made = [
        (
            svg_picture(
                "ranks",
                f"Videos that have a label, by the label's rank. Labels that occur: {occur} of {classes:,}",
                lambda axes: _ranks(axes, labels, classes),
            ),
            "Each label by how many videos have it. The steeper the line, the more the frequent labels weigh in GAP.",
        )
    ]
    for name, label in (("labels_a_video", "labels a video"), ("frames_a_video", "frames a video")):
        counts = statistics[name]
        plot = svg_picture(
            name,
            f"Share of videos by {label}: {_means(counts)}",
            lambda axes, counts=counts, label=label: _shares(axes, counts, label),
        )
        more = _cut(summary) if name == "frames_a_video" else ""
        more = f" {more.replace('there', 'at the last length')}." if more else ""
        told = f"Videos by {label}. Where splits differ here, so do their scores, whatever the model.{more}"
        made.append((plot, told))
    if any(values_of.values()):
        words = f"Share of quantized values from 0 to 255, by feature: {_means(values_of)}"
        plot = svg_picture("values", words, lambda axes: _values(axes, values_of))
        made.append((plot, "The bytes of the features. What lies beyond the range that was quantized is at its ends."))
    return made


def _means(counts: dict[str, dict[str, int]]) -> str:
    means = {
        name: sum(int(value) * times for value, times in found.items()) / sum(found.values())
        for name, found in counts.items()
        if found
    }
    return ", ".join(f"{name} mean {mean:.1f}" for name, mean in means.items())


def _cut(summary: dict[str, Any]) -> str:
    """How many videos are longer than what is read of them; nothing where none is, or nobody counted."""
    cut = summary.get("cut", {"count": 0})
    return f"{cut['count']:,} of {cut['of']:,} videos are cut there" if cut["count"] else ""


def _ranks(axes: Axes, splits: dict[str, dict[str, int]], classes: int) -> None:
    for number, (split, counts) in enumerate(splits.items()):
        if counts:
            ranked = sorted(counts.values(), reverse=True)
            axes.loglog(range(1, len(ranked) + 1), ranked, label=f"{split}: {len(ranked)} of {classes}", **line(number))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda number, _: f"{number:,.0f}"))
        axis.set_minor_formatter(NullFormatter())
    axes.set(xlabel="rank of the label", ylabel="videos", title="Videos that have a label, by its rank")
    _finish(axes)


def _shares(axes: Axes, splits: dict[str, dict[str, int]], what: str) -> None:
    for number, (split, counts) in enumerate(splits.items()):
        if counts:
            values = np.array([int(value) for value in counts])
            dense = np.zeros(values.max() - values.min() + 1)
            dense[values - values.min()] = list(counts.values())
            mean = values @ list(counts.values()) / dense.sum()
            edges = np.arange(values.min(), values.max() + 2) - 0.5
            axes.stairs(100 * dense / dense.sum(), edges, label=f"{split}: mean {mean:.1f}", **line(number))
    axes.set(xlabel=what, ylabel="% of videos")
    _finish(axes)


def _values(axes: Axes, features: dict[str, dict[str, int]]) -> None:
    for number, (feature, counts) in enumerate(features.items()):
        if counts:
            shares = np.zeros(256)
            shares[[int(value) for value in counts]] = list(counts.values())
            shares *= 100 / shares.sum()
            ends = f"{shares[0] + shares[-1]:.2g} % at 0 and 255"
            axes.stairs(shares, np.arange(257) - 0.5, label=f"{feature}: {ends}", **line(number))
    axes.set(
        xlabel="quantized value", ylabel="% of values", title="Values, one frame of the first videos of each shard"
    )
    _finish(axes)


def _reasons(axes: Axes, reasons: dict[str, int], count: int) -> None:
    shown = dict(list(reasons.items())[:REASONS])
    if rest := count - sum(shown.values()):
        shown["all others"] = rest
    names = ["\n".join(textwrap.wrap(printable(name), 60)) for name in shown]
    axes.barh(range(len(shown)), list(shown.values()), color=COLORS[0])
    axes.set_yticks(range(len(shown)), names, fontsize="small")
    axes.invert_yaxis()
    axes.set(xlabel="records", title=f"Quarantined: {count:,} records", xlim=None if shown else (0, 1))


def _finish(axes: Axes) -> None:
    axes.grid(alpha=0.3)
    if axes.has_data():
        axes.legend(frameon=False)
