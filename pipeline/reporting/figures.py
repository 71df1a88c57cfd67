"""The report's figures: what each draws, and the same in words."""

import math
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from pipeline.metrics.calibration import BINS
from pipeline.metrics.diagnostics import Diagnostics, VideoGroup
from pipeline.reporting.runs import Run
from pipeline.reporting.style import COLORS, INK, MUTED, PAPER, line, svg_picture

By = dict[str, Diagnostics]
"""Split -> what is known of it."""
SHADES = 4
"""Groups of similarly frequent classes in each power of ten."""
LEAST = 30
"""Pairs without which a share of them is not drawn."""


def plot_training_curves(runs: Sequence[Run], named: int, key: str, label: str) -> Markup:
    """A number by training step, of all runs; the first `named` of them stand out, in the colors of their order."""
    series = {
        run.name: [(each["step"], each[key]) for each in run.log if math.isfinite(each.get(key, math.nan))]
        for run in runs
    }
    drawn = [(number, points) for number, points in enumerate(series.values()) if points]

    def paint(axes: Axes) -> None:
        for number, points in reversed(drawn):
            plain = {"color": MUTED, "linewidth": 0.8, "alpha": 0.6}
            axes.plot(*zip(*points), **(line(number) if number < named else plain))
            if number < named:
                axes.plot(*points[-1], "o", color=COLORS[number % len(COLORS)], markersize=4)
        if key == "gap" and drawn:
            axes.set_ylim(bottom=_floor([[value for _, value in points] for _, points in drawn]))
        if key == "loss":
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
    """Where the axis of GAP begins: runs begin near nothing, and end near each other."""
    low, high = min(values[-1] for values in series), max(max(values) for values in series)
    return max(0.0, low - max(0.6 * (high - low), 0.25 * high))


def plot_ensemble_steps(tuned: Sequence[float], reported: Sequence[float]) -> Markup:
    """GAP after each step of making the ensemble, on the half it was tuned on and on the other."""
    number = np.arange(1, len(tuned) + 1)

    def paint(axes: Axes) -> None:
        for place, (values, label) in enumerate(((reported, "reported"), (tuned, "tuned"))):
            axes.plot(number, values, marker="o", markersize=4, **line(place))
            axes.annotate(
                label, (number[-1], values[-1]), (8, 0), textcoords="offset points", va="center", color=INK, fontsize=11
            )
        axes.set(xlabel="step", title="GAP@20 on each half of the hold-out", xlim=(0.5, len(number) * 1.2 + 0.5))
        ticks = MaxNLocator(8, integer=True).tick_values(1, len(number))
        axes.set_xticks([tick for tick in ticks if 1 <= tick <= len(number)])
        axes.grid(axis="x", visible=False)

    words = "; ".join(f"step {n}: {t:.4f} and {r:.4f}" for n, t, r in zip(number, tuned, reported))
    return svg_picture("steps", f"GAP on the half tuned on, and on the other. {words}", paint, 2.8)


def plot_reliability(of: By) -> Markup:
    """The share of correct pairs by confidence, and how many pairs there are."""

    def paint(upper: Axes, lower: Axes) -> None:
        upper.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=":")
        for number, (split, diagnostics) in enumerate(of.items()):
            found = diagnostics.all.reliability()
            there = found.pairs > 0
            low, high = (bound[there] for bound in found.interval())
            x, y = found.confidence[there], found.correct[there]
            upper.vlines(x, low, high, color=COLORS[number], linewidth=1.2)
            upper.plot(x, y, marker="os^D"[number % 4], markersize=5, label=split, **line(number))
            edges = np.linspace(0, 1, BINS + 1)
            share = 100 * found.pairs / max(found.pairs.sum(), 1)
            lower.stairs(share, edges, linewidth=1.5, **line(number))
        upper.set(title="correct pairs", xlim=(0, 1), ylim=(0, 1))
        lower.set(title="% of pairs", xlabel="confidence", yscale="log")
        for axis in (upper.xaxis, upper.yaxis):
            axis.set_major_formatter(_percent)
        lower.xaxis.set_major_formatter(_percent)
        lower.yaxis.set_major_locator(FixedLocator([0.01, 0.1, 1, 10, 100]))
        lower.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        lower.minorticks_off()
        _legend(upper, of)

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
    """Precision and recall of all pairs from a confidence on."""

    def paint(axes: Axes) -> None:
        for number, diagnostics in enumerate(of.values()):
            at, precision, recall = diagnostics.all.by_threshold(int(diagnostics.positives.sum()), LEAST)
            axes.plot(at, precision, color=COLORS[number], linestyle="-")
            axes.plot(at, recall, color=COLORS[number], linestyle="--")
            if number == 0:
                _say(axes, at, precision, 0.42, "correct", "right")
                _say(axes, at, recall, 0.42, "found", "left")
        axes.set(
            xlabel="confidence of at least",
            title="pairs that are correct, labels that are found",
            xlim=(0, 1),
            ylim=(0, 1),
        )
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(_percent)
        for number, split in enumerate(of):
            axes.plot([], [], color=COLORS[number], label=split)
        _legend(axes, of)

    words = []
    for split, diagnostics in of.items():
        _, precision, recall = diagnostics.all.by_threshold(int(diagnostics.positives.sum()), LEAST)
        told = ", ".join(
            f"from {100 * at // 1000} % on {100 * precision[at]:.0f} % correct, {100 * recall[at]:.0f} % found"
            for at in (100, 300, 500, 700, 900)
            if np.isfinite(precision[at])
        )
        words.append(f"{split}: {told}")
    return svg_picture("thresholds", f"Precision and recall by least confidence. {'. '.join(words)}", paint)


def plot_class_precisions(split: str, number: int, precisions: NDArray, training: NDArray) -> Markup:
    """Average precision of each class [V] by the number of its training videos [V], and the median of similar ones."""
    there = np.isfinite(precisions)
    x, y = np.maximum(training[there], 1), precisions[there]
    bins = np.floor(np.log10(x) * SHADES).astype(int)
    groups = [np.flatnonzero(bins == place) for place in np.unique(bins)]
    middle = [(np.median(x[part]), np.median(y[part])) for part in groups if len(part) >= 5]

    def paint(axes: Axes) -> None:
        dots = Path(np.repeat(np.column_stack([np.log10(x), y]), 2, axis=0), [Path.MOVETO, Path.LINETO] * len(x))
        dots.should_simplify = False
        # One path of dots, each a line without length: a circle of its own for each class would be ten times as long.
        axes.add_patch(PathPatch(dots, fill=False, edgecolor=COLORS[number], alpha=0.5, linewidth=4, capstyle="round"))
        for color, width in ((PAPER, 5), (INK, 2)):
            points = [(math.log10(a), b) for a, b in middle]
            axes.plot(*(zip(*points) if points else ([], [])), "o-", color=color, linewidth=width, markersize=width + 3)
        low, high = np.log10(x.min()), np.log10(x.max())
        axes.set(xlim=(low - 0.1, high + 0.1), ylim=(-0.02, 1.02), xlabel="training videos of the class")
        axes.set_title(f"average precision, {split}")
        axes.xaxis.set_major_locator(FixedLocator(_decades(low, high)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{10**value:,.0f}"))

    words = "; ".join(f"{a:,.0f} training videos {b:.2f}" for a, b in middle)
    return svg_picture(f"classes {split}", f"Average precision of {len(x)} classes of {split}. Medians: {words}", paint)


def _decades(low: float, high: float) -> list[float]:
    """Places on a logarithmic axis for 1, 2, 5, 10, ..., not too many of them."""
    digits = (1, 3) if high - low < 2.2 else (1,)
    if high - low < 1:
        digits = (1, 2, 5)
    places = [power + math.log10(digit) for power in range(math.floor(low), math.ceil(high) + 1) for digit in digits]
    return [place for place in places if low - 0.1 <= place <= high + 0.1]


def plot_gap_by_group(name: str, label: str, of: dict[str, list[VideoGroup]]) -> Markup:
    """GAP by a number that videos have; a bar for the range of each group, and a dot the larger the more videos."""

    def paint(axes: Axes) -> None:
        most = max(group.videos for found in of.values() for group in found)
        for number, found in enumerate(of.values()):
            kept = [group for group in found if math.isfinite(group.gap)]
            middle = [(group.low + group.high) / 2 for group in kept]
            gaps = [group.gap for group in kept]
            axes.plot(middle, gaps, linewidth=1, **{**line(number), "alpha": 0.5})
            axes.hlines(gaps, [g.low - 0.4 for g in kept], [g.high + 0.4 for g in kept], COLORS[number], linewidth=1.6)
            axes.scatter(
                middle, gaps, [12 + 110 * g.videos / most for g in kept], COLORS[number], marker="os^D"[number % 4]
            )
        axes.set(xlabel=label, title="GAP@20", ylim=(0, None))
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        axes.grid(axis="x", visible=False)
        for number, split in enumerate(of):
            axes.plot([], [], marker="os^D"[number % 4], label=split, **line(number))
        _legend(axes, of)

    words = ". ".join(
        f"{split}: " + "; ".join(f"{span(g)} {g.gap:.3f} ({g.videos:,} videos)" for g in found)
        for split, found in of.items()
    )
    return svg_picture(f"groups {name}", f"GAP by {label}. {words}", paint, 2.9)


def span(group: VideoGroup) -> str:
    return f"{group.low}" if group.low == group.high else f"{group.low} to {group.high}"


def _say(axes: Axes, x: NDArray, y: NDArray, at: float, text: str, side: str) -> None:
    """Name a line where it is, above it."""
    place = int(np.searchsorted(x, at))
    if np.isfinite(y[place]):
        aside = (-4 if side == "right" else 4, 7)
        axes.annotate(text, (x[place], y[place]), aside, textcoords="offset points", ha=side, color=INK, fontsize=11)


def _legend(axes: Axes, of: Sequence[str]) -> None:
    if len(of) > 1:
        axes.legend(loc="best")


_percent = FuncFormatter(lambda value, _: f"{100 * value:.0f} %")
