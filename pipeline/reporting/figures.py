"""Draw the figures of training, ensemble, confidence, classes and groups; each also says in words what it shows."""

import math
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from pipeline.metrics.calibration import BINS
from pipeline.metrics.diagnostics import Diagnostics, VideoGroup
from pipeline.reporting.curves import curve
from pipeline.reporting.runs import Run
from pipeline.reporting.style import INK, MUTED, PAPER, color_of, legend_below, line, svg_picture

By = dict[str, Diagnostics]
"""The diagnostics of each split."""
SHADES = 4
"""The number of groups that classes form between 10, 100, 1000, ... training videos."""
LEAST = 30
"""A share of fewer pairs is not drawn."""
_MARKERS = "os^D"
_UNIT = (-0.02, 1.02)  # the limits of a share, with room for the dots at its ends
_WIDE = 4  # a loss that falls by this factor has a logarithmic axis
_NONE = 0.5  # where classes without a training video lie on a logarithmic axis


def plot_training_curves(runs: Sequence[Run], named: int, key: str, label: str) -> Markup:
    """Draw `key` of all runs' logs by training step; the first `named` runs have colors, in their order."""
    series = {run.name: curve(run.log, key) for run in runs}
    drawn = [(number, points) for number, points in enumerate(series.values()) if points]
    values = [value for _, points in drawn for _, value in points]
    logarithmic = key == "loss" and min(values, default=0) > 0 and max(values) > _WIDE * min(values)

    def paint(axes: Axes) -> None:
        for number, points in reversed(drawn):
            plain = {"color": MUTED, "linewidth": 0.8, "alpha": 0.6}
            axes.plot(*zip(*points), **(line(number) if number < named else plain))
            if number < named or len(points) == 1:
                color = color_of(number) if number < named else MUTED
                axes.plot(*points[-1], "o", color=color, markersize=4)
        if key != "loss" and drawn:
            floor = _floor([[value for _, value in points] for _, points in drawn])
            axes.set_ylim(bottom=max(floor, axes.get_ylim()[0]))
        if logarithmic:
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_minor_locator(NullLocator())
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        else:
            axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.set(xlabel="training step", title=label)
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step:,.0f}"))
        axes.grid(axis="x", visible=False)

    ends = "; ".join(f"{name} {points[0][1]:.3f} to {points[-1][1]:.3f}" for name, points in series.items() if points)
    return svg_picture(f"curve {key}", f"{label} by training step. From first to last: {ends}", paint, 3.2)


def _floor(series: list[list[float]]) -> float:
    """Return where the axis of GAP begins: at the ends of the runs, which differ less than their beginnings."""
    low, high = min(values[-1] for values in series), max(max(values) for values in series)
    return max(0.0, low - max(0.6 * (high - low), 0.25 * high))


def plot_ensemble_steps(title: str, tuned: Sequence[float], reported: Sequence[float]) -> Markup:
    """Draw the score after each step in which the ensemble was made, on the tuned and on the reported half."""
    number = np.arange(1, len(tuned) + 1)

    def paint(axes: Axes) -> None:
        for place, (values, label) in enumerate(((reported, "reported half"), (tuned, "tuned half"))):
            axes.plot(number, values, marker="o", markersize=4, label=label, **line(place))
        axes.set(xlabel="step", title=f"{title} on each half of the hold-out")
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        axes.grid(axis="x", visible=False)
        legend_below(axes)

    words = "; ".join(f"step {n}: {t:.4f} and {r:.4f}" for n, t, r in zip(number, tuned, reported))
    return svg_picture("steps", f"{title} on the half tuned on, and on the other. {words}", paint, 2.8)


def plot_reliability(of: By) -> Markup:
    """Draw the share of correct pairs by confidence, and the share of pairs that have it."""

    def paint(upper: Axes, lower: Axes) -> None:
        upper.plot([0, 1], [0, 1], color=MUTED, linewidth=1.4, linestyle=":")
        for number, (split, diagnostics) in enumerate(of.items()):
            found = diagnostics.all.reliability()
            there = found.pairs > 0
            low, high = (bound[there] for bound in found.interval())
            x, y = found.confidence[there], found.correct[there]
            upper.vlines(x, low, high, color=color_of(number), linewidth=1.2)
            upper.plot(x, y, marker=_MARKERS[number % 4], markersize=5, label=split, **line(number))
            edges = np.linspace(0, 1, BINS + 1)
            share = 100 * found.pairs / max(found.pairs.sum(), 1)
            lower.stairs(share, edges, linewidth=1.5, **line(number))
        upper.set(title="% of pairs that are correct", xlim=_UNIT, ylim=_UNIT)
        lower.set(title="% of all pairs", xlabel="confidence", yscale="log")
        for axis in (upper.xaxis, upper.yaxis, lower.xaxis):
            axis.set_major_formatter(_percent)
        lower.yaxis.set_major_locator(FixedLocator([0.01, 0.1, 1, 10, 100]))
        lower.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        lower.minorticks_off()
        legend_below(upper)

    words = []
    for split, diagnostics in of.items():
        found = diagnostics.all.reliability()
        words.append(
            f"{split}: "
            + ", ".join(
                f"{confidence:.2f} is right {correct:.2f}" for pairs, confidence, correct in zip(*found) if pairs
            )
        )
    return svg_picture(
        "reliability",
        f"Share of correct pairs by confidence. {'. '.join(words)}",
        paint,
        4.8,
        nrows=2,
        sharex=True,
        height_ratios=(3, 1),
    )


def plot_precision_recall(of: By) -> Markup:
    """Draw precision and recall of the pairs from a confidence on."""

    def paint(axes: Axes) -> None:
        for number, (split, diagnostics) in enumerate(of.items()):
            at, precision, recall = diagnostics.all.by_threshold(int(diagnostics.positives.sum()), LEAST)
            axes.plot(at, precision, color=color_of(number), linestyle="-", label=split)
            axes.plot(at, recall, color=color_of(number), linestyle="--")
        axes.set(xlabel="least confidence", title="% correct, % found", xlim=_UNIT, ylim=_UNIT)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(_percent)
        styles = {"correct pairs": "-", "found labels": "--"}
        legend_below(axes, [Line2D([], [], color=INK, linestyle=dash, label=name) for name, dash in styles.items()])

    words = []
    for split, diagnostics in of.items():
        _, precision, recall = diagnostics.all.by_threshold(int(diagnostics.positives.sum()), LEAST)
        told = ", ".join(
            f"from {100 * at // 1000} % on {100 * precision[at]:.0f} % correct, {100 * recall[at]:.0f} % found"
            for at in (100, 300, 500, 700, 900)
            if np.isfinite(precision[at])
        )
        words.append(f"{split}: {told}")
    return svg_picture("thresholds", f"Precision and recall by least confidence. {'. '.join(words)}", paint, 4.8)


def plot_class_precisions(split: str, number: int, precisions: NDArray, training: NDArray) -> Markup:
    """Draw average precision by number of training videos, a dot for each class, and the median of similar classes.

    Args:
        split: the split of the precisions.
        number: its place among the splits, from 0, which gives the color.
        precisions: [V], NaN for a class that no video has; these are not drawn.
        training: the number of training videos of each class, [V].
    """
    there = np.isfinite(precisions)
    x, y = np.maximum(training[there], _NONE), precisions[there]
    bins = np.floor(np.log10(x) * SHADES).astype(int)
    groups = [np.flatnonzero(bins == place) for place in np.unique(bins)]
    middle = [(np.median(x[part]), np.median(y[part])) for part in groups if len(part) >= 5]

    def paint(axes: Axes) -> None:
        dots = Path(np.repeat(np.column_stack([np.log10(x), y]), 2, axis=0), [Path.MOVETO, Path.LINETO] * len(x))
        dots.should_simplify = False
        # One path, in which a dot is a line without length: an element a dot would make the page ten times as long.
        axes.add_patch(
            PathPatch(dots, fill=False, edgecolor=color_of(number), alpha=0.5, linewidth=4, capstyle="round")
        )
        for color, width in ((PAPER, 5), (INK, 2)):
            points = [(math.log10(a), b) for a, b in middle]
            axes.plot(*(zip(*points) if points else ([], [])), "o-", color=color, linewidth=width, markersize=width + 3)
        low, high = np.log10(x.min()), np.log10(x.max())
        axes.set(xlim=(low - 0.1, high + 0.1), ylim=(-0.02, 1.02), xlabel="training videos of the class")
        axes.set_title(f"average precision, {split}")
        axes.xaxis.set_major_locator(FixedLocator(_decades(low, high)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{10**value:,.0f}" if value >= 0 else "0"))

    words = "; ".join(f"{a:,.0f} training videos {b:.2f}" for a, b in middle)
    return svg_picture(f"classes {split}", f"Average precision of {len(x)} classes of {split}. Medians: {words}", paint)


def _decades(low: float, high: float) -> list[float]:
    """Return logarithms to put ticks at: of 1, 10, 100, ..., and of numbers between them if the axis is short."""
    digits = (1, 3) if high - low < 2.2 else (1,)
    if high - low < 1:
        digits = (1, 2, 5)
    places = [power + math.log10(digit) for power in range(math.floor(low), math.ceil(high) + 1) for digit in digits]
    return [place for place in places if max(low - 0.1, 0) <= place <= high + 0.1] + ([low] if low < 0 else [])


def plot_gap_by_group(name: str, label: str, of: dict[str, list[VideoGroup]]) -> Markup:
    """Draw the GAP of groups of videos: a bar as wide as the group's range, and a dot as large as the group."""

    def paint(axes: Axes) -> None:
        most = max(group.videos for found in of.values() for group in found)
        best = 0.0
        for number, (split, found) in enumerate(of.items()):
            kept = [group for group in found if math.isfinite(group.gap)]
            middle = [(group.low + group.high) / 2 for group in kept]
            gaps = [group.gap for group in kept]
            best = max([best, *gaps])
            axes.plot(middle, gaps, linewidth=1, **{**line(number), "alpha": 0.5})
            axes.hlines(
                gaps, [g.low - 0.4 for g in kept], [g.high + 0.4 for g in kept], color_of(number), linewidth=1.6
            )
            axes.scatter(
                middle,
                gaps,
                [12 + 110 * g.videos / most for g in kept],
                color_of(number),
                marker=_MARKERS[number % 4],
                alpha=0.7,
            )
            axes.plot([], [], marker=_MARKERS[number % 4], label=split, **line(number))
        axes.set(xlabel=label, title="GAP@20", ylim=(-0.05 * (best or 1), 1.1 * (best or 1)))
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        axes.grid(axis="x", visible=False)
        legend_below(axes)

    words = ". ".join(
        f"{split}: " + "; ".join(f"{span(g)} {g.gap:.3f} ({g.videos:,} videos)" for g in found)
        for split, found in of.items()
    )
    return svg_picture(f"groups {name}", f"GAP by {label}. {words}", paint, 2.9)


def span(group: VideoGroup) -> str:
    return f"{group.low}" if group.low == group.high else f"{group.low} to {group.high}"


_percent = FuncFormatter(lambda value, _: f"{100 * value:.0f} %")
