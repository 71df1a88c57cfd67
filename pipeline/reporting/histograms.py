"""Pictures of a dataset from the counts in dataset.json: labels, frames, values, and what was left out."""

import textwrap
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from pipeline.config import FeatureConfig, byte_scale, from_dict
from pipeline.reporting.style import COLORS, legend_below, line, svg_picture

BARS = 40
"""Bars of a histogram, at most."""
REASONS = 8
"""Reasons to leave a record out that have a bar of their own."""
_EDGES = np.arange(257) - 0.5
"""The edges of the bins of bytes."""


def dataset_pictures(summary: dict[str, Any]) -> list[tuple[Markup, str]]:
    """Return the pictures of an index's dataset.json, each with its caption."""
    statistics, dataset = summary["statistics"], summary["dataset"]
    made = [_ranks(statistics["videos_a_label"], dataset["num_classes"])]
    labeled = {split: each for split, each in statistics["labels_a_video"].items() if summary["labelled"][split]}
    made.append(_shares("labels", labeled))
    plot, caption = _shares("frames", statistics["frames_a_video"])
    cut = summary.get("cut", {"count": 0})  # an earlier version did not count them
    if cut["count"]:
        most = dataset["max_frames"]
        longer = f"{cut['count']:,} of {cut['of']:,} videos are longer than {most:,} frames"
        caption += f" {longer}: frames are taken from all of their length."
    made.append((plot, caption))
    features = [from_dict(FeatureConfig, each) for each in dataset["features"]]
    counts = {each: statistics["values"][each.name] for each in features if statistics["values"].get(each.name)}
    if counts:
        made.append(_values(counts))
    if summary["quarantined"]["count"]:
        made.append(_reasons(statistics["reasons"], summary["quarantined"]["count"]))
    return made


def whole_bins(low: int, high: int, most: int = BARS) -> NDArray[np.float64]:
    """Return the edges of bins for the whole numbers from `low` to `high`: 1, 2, 5, 10, ... of them in each.

    Each edge lies halfway between two whole numbers. The last bin takes what is left over: at least half a bin's width,
    and less than one and a half.
    """
    widths = (digit * 10**power for power in range(19) for digit in (1, 2, 5))
    numbers = high + 1 - low
    width = next(each for each in widths if numbers <= each * most)
    bins = max((2 * numbers + width) // (2 * width), 1)
    return np.append(low + width * np.arange(bins), high + 1) - 0.5


def _ranks(splits: dict[str, dict[str, int]], classes: int) -> tuple[Markup, str]:
    splits = {split: counts for split, counts in splits.items() if counts}

    def paint(axes: Axes) -> None:
        for number, (split, counts) in enumerate(splits.items()):
            ranked = sorted(counts.values(), reverse=True)
            lone = {"marker": "o", "markersize": 5} if len(ranked) == 1 else {}
            name = f"{split}: {len(ranked):,} of {classes:,} labels"
            axes.loglog(range(1, len(ranked) + 1), ranked, label=name, **line(number), **lone)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else ""))
            axis.set_minor_formatter(NullFormatter())
        axes.set(xlabel="rank of the label", title="videos that have a label")
        legend_below(axes)

    occur = ", ".join(f"{split} {len(counts):,}" for split, counts in splits.items())
    return (
        svg_picture(
            "ranks", f"Videos that have a label, by its rank. Labels that occur: {occur} of {classes:,}", paint
        ),
        "The labels, the most frequent first. The steeper the line falls, the more the frequent labels count in GAP.",
    )


def _shares(what: str, splits: dict[str, dict[str, int]]) -> tuple[Markup, str]:
    """Of `labels` or `frames`: how many videos have how many."""
    found = {split: _numbers(counts) for split, counts in splits.items() if counts}
    every = np.concatenate([values for values, _ in found.values()] or [np.zeros(1, int)])
    edges = whole_bins(int(every.min()), int(every.max()))
    width = int(edges[1] - edges[0])

    def paint(axes: Axes) -> None:
        for number, (split, (values, times)) in enumerate(found.items()):
            heights = 100 * np.histogram(values, edges, weights=times)[0] / times.sum() / np.diff(edges)
            axes.stairs(
                heights, edges, label=f"{split}: mean {values @ times / times.sum():.1f}", linewidth=1.6, **line(number)
            )
        mean = f" per {what[:-1]} count, averaged over {width:,}" if width > 1 and len(edges) > 2 else ""
        axes.set(xlabel=f"{what} of a video", title=f"% of videos{mean}", ylim=(0, None))
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        legend_below(axes)

    means = ", ".join(f"{split} mean {values @ times / times.sum():.1f}" for split, (values, times) in found.items())
    return (
        svg_picture(f"{what} of a video", f"Share of videos by number of {what}: {means}", paint),
        f"How many {what} a video has. Where splits differ here, their scores differ too, whatever the model.",
    )


def _values(features: dict[FeatureConfig, dict[str, int]]) -> tuple[Markup, str]:
    """Of each feature: the share of values in each bin, floats in those of YouTube-8M's bytes."""
    shares, edges = {}, {}
    for feature, counts in features.items():
        values, times = _numbers(counts)
        step, shift = byte_scale(feature.minimum, feature.maximum)
        shares[feature], edges[feature] = 100 * np.bincount(values, times, 256) / times.sum(), _EDGES * step + shift
    quantized = all(feature.dtype == "uint8" for feature in features)

    def paint(axes: Axes) -> None:
        for number, (feature, share) in enumerate(shares.items()):
            low, high = (f"{end:g}".replace("-", "−") for end in (feature.minimum, feature.maximum))
            where = f"at {low} and {high}" if quantized else f"below {low} and above {high}"
            axes.stairs(
                share[1:-1],
                edges[feature][1:-1],
                label=f"{feature.name}: {share[0] + share[-1]:.2g} % {where}",
                linewidth=1.6,
                **line(number),
            )
        axes.set(xlabel="value", title="% of values", ylim=(0, None))
        legend_below(axes)

    means = ", ".join(
        f"{feature.name} mean {share @ (edges[feature][1:] + edges[feature][:-1]) / 200:.2g}"
        for feature, share in shares.items()
    )
    plot = svg_picture("values", f"Share of the features’ values: {means}", paint)
    caption = "The features’ values, of one frame of the first videos of each shard"
    if quantized:
        return plot, f"{caption}. The ends of the range are not drawn: what lies beyond it was put there too."
    return plot, f"{caption}, without those beyond −2 and 2."


def _reasons(reasons: dict[str, int], count: int) -> tuple[Markup, str]:
    """The most frequent reasons, and all others together."""
    shown = dict(list(reasons.items())[:REASONS])
    if rest := count - sum(shown.values()):
        shown["all others"] = rest
    names = ["\n".join(textwrap.wrap(name, 34)) for name in shown]
    lines = sum(name.count("\n") + 1 for name in names)

    def paint(axes: Axes) -> None:
        axes.barh(range(len(shown)), list(shown.values()), 0.6, color=COLORS[0])
        for place, times in enumerate(shown.values()):
            axes.annotate(f"{times:,}", (times, place), (4, 0), textcoords="offset points", va="center")
        axes.set_yticks(range(len(shown)), names)
        axes.invert_yaxis()
        axes.set(title="records that were left out", xlim=(0, max(shown.values()) * 1.15))
        axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))
        axes.grid(axis="y", visible=False)

    told = "; ".join(f"{times:,}: {name}" for name, times in shown.items())
    return (
        svg_picture("reasons", f"Records that were left out, by reason. {told}", paint, 0.9 + 0.24 * lines),
        f"{count:,} records were left out, and why. left_out.parquet, beside the index, names each.",
    )


def _numbers(counts: dict[str, int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Numbers and how often each occurs."""
    return np.array([int(value) for value in counts], np.int64), np.array(list(counts.values()), np.int64)
