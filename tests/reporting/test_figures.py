"""The page's figures: nothing lies on a line or is cut, and what is drawn are the numbers."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from pipeline.metrics import LabelLists
from pipeline.metrics.diagnostics import Diagnostics, VideoGroup
from pipeline.reporting import figures
from pipeline.reporting.runs import Run

CLASSES = 30


def diagnosed(seed: int, scores: tuple[float, float] = (0.0, 1.0)) -> Diagnostics:
    """Of 200 videos: scores up to both ends of their range, the first half of each video's labels right."""
    rng = np.random.default_rng(seed)
    labels = np.stack([rng.permutation(CLASSES)[:20] for _ in range(200)])
    sizes = rng.integers(1, 6, 200)
    truth = np.concatenate([row[:size] for row, size in zip(labels, sizes)])
    found = Diagnostics(CLASSES, frames := rng.integers(1, 9, 200), sizes)
    confidences = np.sort(rng.choice([*scores, 0.3, 0.7], (200, 20)), axis=1)[:, ::-1]
    found.accumulate(labels, confidences.astype(np.float32), LabelLists(truth, np.append(0, np.cumsum(sizes))), frames)
    return found


def run(name: str, *values: tuple[int, float, float]) -> Run:
    log = [{"step": step, "loss": loss, "gap": gap} for step, loss, gap in values]
    return Run(Path(name), log, {}, {}, {})


RUNS = [
    run("one", (100, 40.0, 0.01), (200, 2.0, 0.7), (300, 1.0, 0.8)),
    run("two", (100, 30.0, 0.3), (200, 3.0, 0.3), (300, 2.0, 0.2)),
    run("three, not named", (100, 30.0, 0.4)),
]
SPLITS = {f"{name} of a split with a long name": diagnosed(seed) for seed, name in enumerate(("this", "that", "more"))}
GROUPS = {"holdout": [VideoGroup(1, 1, 900, 0.0), VideoGroup(2, 5, 1, 1.0)], "test": [VideoGroup(1, 9, 3, 0.0)]}
PICTURES = {
    "gap": lambda: figures.plot_training_curves(RUNS, 2, "gap", "GAP"),
    "loss": lambda: figures.plot_training_curves(RUNS, 2, "loss", "loss"),
    "flat loss": lambda: figures.plot_training_curves(RUNS[1:], 2, "loss", "loss"),
    "steps": lambda: figures.plot_ensemble_steps("GAP@20", [0.1, 0.2, 0.2], [0.1, 0.2, 0.2]),
    "reliability": lambda: figures.plot_reliability(SPLITS),
    "thresholds": lambda: figures.plot_precision_recall(SPLITS),
    "classes": lambda: figures.plot_class_precisions("test", 8, np.linspace(0, 1, 30), np.arange(30) ** 3),
    "one class": lambda: figures.plot_class_precisions("test", 0, np.array([1.0]), np.array([7])),
    "groups": lambda: figures.plot_gap_by_group("labels", "labels of a video", GROUPS),
    "groups of nothing": lambda: figures.plot_gap_by_group("frames", "frames", {"test": [VideoGroup(1, 9, 3, 0.0)]}),
}
every_picture = pytest.mark.parametrize("picture", PICTURES.values(), ids=PICTURES)


def marks(axes):
    """Place and radius, in pixels, of each dot of some axes."""
    scale = axes.figure.dpi / 72
    for each in axes.lines:
        if each.get_marker() not in (None, "None", "") and len(each.get_xdata()):
            radius = (each.get_markersize() + each.get_markeredgewidth()) / 2 * scale
            yield from ((place, radius) for place in axes.transData.transform(each.get_xydata()))
    for each in axes.collections:
        if isinstance(each, PathCollection):
            for place, size in zip(axes.transData.transform(each.get_offsets()), each.get_sizes()):
                yield place, size**0.5 / 2 * scale
    for each in axes.patches:
        if each.get_path().vertices.size and not each.get_fill() and each.get_capstyle() == "round":
            dots = axes.transData.transform(each.get_path().vertices)
            yield from ((place, each.get_linewidth() / 2 * scale) for place in dots)


@every_picture
def test_nothing_is_cut_and_legends_are_beside_the_axes(drawn, picture):
    picture()
    (figure,) = drawn
    figure.draw_without_rendering()
    for axes in figure.axes:
        for place, radius in marks(axes):
            assert np.all(place - radius >= axes.bbox.min - 1) and np.all(place + radius <= axes.bbox.max + 1)
    box = figure.get_tightbbox()
    assert np.all(box.min >= -0.02) and np.all(box.max <= figure.get_size_inches() + 0.02)
    for legend in figure.legends:
        assert not any(legend.get_window_extent().overlaps(axes.bbox) for axes in figure.axes)
    assert not any(axes.get_legend() for axes in figure.axes)


def test_dots_are_found():
    """So that the test above can fail."""
    figure = Figure()
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], "o")
    axes.scatter([0.5], [0.5])
    assert len(list(marks(axes))) == 3


def test_a_loss_that_falls_far_has_a_logarithmic_axis(drawn):
    for number, scale in (("loss", "log"), ("flat loss", "log"), ("gap", "linear")):
        PICTURES[number]()
        assert drawn[-1].axes[0].get_yscale() == scale
    figures.plot_training_curves([run("two", (1, 3.0, 0.1), (2, 2.0, 0.2))], 1, "loss", "loss")
    assert drawn[-1].axes[0].get_yscale() == "linear"


def test_the_axis_of_gap_leaves_out_where_nothing_is_but_the_beginning(drawn):
    PICTURES["gap"]()
    low, high = drawn[0].axes[0].get_ylim()
    assert low == 0 and high > 0.8  # a run ends at 0.2, below the others
    figures.plot_training_curves([run("one", (1, 9.0, 0.01), (2, 8.0, 0.7), (3, 8.0, 0.72))], 1, "gap", "GAP")
    assert drawn[1].axes[0].get_ylim()[0] == pytest.approx(0.72 - 0.25 * 0.72)


def test_classes_without_training_videos_have_a_place_of_their_own(drawn):
    figures.plot_class_precisions("test", 0, np.array([0.5, 0.5, 0.5]), np.array([0, 1, 1000]))
    axes = drawn[0].axes[0]
    (dots,) = axes.patches
    assert np.unique(dots.get_path().vertices[:, 0]) == pytest.approx(np.log10([0.5, 1, 1000]))
    labels = dict(zip(axes.get_xticks(), (label.get_text() for label in axes.get_xticklabels())))
    assert labels[np.log10(0.5)] == "0" and labels[0] == "1" and labels[3] == "1,000"


def test_spans():
    assert figures.span(VideoGroup(3, 3, 1, 0.5)) == "3" and figures.span(VideoGroup(3, 5, 1, 0.5)) == "3 to 5"
