"""Tell in a few lines what was found: features, videos, labels, splits, how they are stored, and what is wrong."""

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from pipeline.config import FeatureConfig
from pipeline.config.wording import counted, listed
from pipeline.packing.record import PackedVideos
from pipeline.packing.storing import Quantization
from pipeline.packing.task import Task
from pipeline.packing.videos import Videos

_COLUMN = 10
_WIDE = 80
_TASKS: dict[Task, str] = {
    "multi_label": "a video has any number of labels",
    "single_label": "every labeled video has exactly one label",
}


def summary_lines(
    videos: Videos,
    about: PackedVideos,
    class_names: Sequence[str],
    task: Task,
    features: Sequence[FeatureConfig],
    quantizations: Sequence[Quantization | None],
    remarks: Sequence[tuple[str, str]],
) -> Iterator[str]:
    """Yield what is packed, in lines of 80 columns.

    Args:
        videos: the videos of this pack, with their features.
        about: their splits and labels, in the same order.
        class_names: those of the dataset.
        task: that of the dataset.
        features: how each feature is stored.
        quantizations: of each feature, where the ranges were measured now; None for one of bytes.
        remarks: heads, such as `labels` or `problem`, and a sentence of each.
    """
    for source in videos.sources:
        least, most = int(source.lengths.min()), int(source.lengths.max())
        span = _many(most, "frame") if least == most else f"{least:,} to {most:,} frames"
        values, files = _many(source.size, "value"), _many(len(source.files()), "file")
        yield from _told("feature", f"{source.name}: {values} of {source.dtype}, {span}; {files}")
    frames = int(about.lengths.sum())
    yield from _told("videos", f"{len(about.ids):,}, with {_many(frames, 'frame')} in all")
    for split, number in Counter(about.splits).items():
        held = [labels for labels, own in zip(about.labels, about.splits) if own == split and labels is not None]
        told = "all labeled" if len(held) == number else f"{len(held):,} of them labeled" if held else "none labeled"
        each = f", {np.mean([len(labels) for labels in held]):.2f} labels each" if held else ""
        yield from _told("split", f"{split}: {number:,}, {told}{each}")
    yield from _told("classes", f"{len(class_names):,}: {listed(class_names)}")
    yield from _told("task", f"{task}: {_TASKS[task]}")
    for feature, measured in zip(features, quantizations):
        if measured is None:
            continue
        yield from _told(
            "quantized",
            f"{feature.name}: 0 to 255 stand for {measured.minimum:.4g} to {measured.maximum:.4g}; signal-to-noise "
            f"ratio {measured.decibels:.1f} dB, {100 * measured.clipped:.2g} % of the values clipped",
        )
    size = frames * sum(feature.size * np.dtype(feature.dtype).itemsize for feature in features)
    yield from _told("stored", f"as {features[0].dtype}, {size / 1e6:,.1f} MB")
    for head, remark in remarks:
        yield from _told(head, remark)


def _many(number: int, noun: str) -> str:
    """Return a number that may be large with its noun."""
    return f"{number:,}{counted(number, noun).removeprefix(str(number))}"


def _told(head: str, text: str) -> list[str]:
    lines = textwrap.wrap(text, _WIDE - 2 - _COLUMN, break_long_words=False, break_on_hyphens=False)
    return [f"  {head if number == 0 else '':<{_COLUMN}}{line}" for number, line in enumerate(lines)]
