"""The pictures of a dataset: bins of whole numbers, shares that add up, and what was left out."""

import numpy as np
import pytest
from fixtures.support import SMALL, write_shard
from matplotlib.figure import Figure

from pipeline.config import FeatureConfig, to_dict
from pipeline.inputs.index import Source
from pipeline.inputs.index.build import write_index
from pipeline.inputs.index.check import check_shard, count_values
from pipeline.reporting import histograms
from pipeline.reporting.histograms import BARS, dataset_pictures, whole_bins


@pytest.fixture
def summary(tmp_path) -> dict:
    """Of 49 videos, video n with 1 + 3n mod 17 frames, of which 12 are read; one record is damaged."""
    sources = [Source(tmp_path / f"{split}.tfrecord", split) for split in ("train", "test")]
    write_shard(sources[0].path, range(40))
    write_shard(sources[1].path, range(50, 60))
    data = bytearray(sources[1].path.read_bytes())
    data[30] ^= 1
    sources[1].path.write_bytes(data)
    (tmp_path / "index").mkdir()
    return write_index(tmp_path / "index", SMALL, sources, [check_shard(s.path, SMALL) for s in sources])


def axes_of(figures: list[Figure], label: str):
    return next(axes for figure in figures for axes in figure.axes if axes.get_xlabel() == label)


@pytest.mark.parametrize("low", [0, 1, 7, 120])
@pytest.mark.parametrize("numbers", [1, 2, 39, 40, 41, 91, 180, 300, 3001, 123_457])
def test_bins_hold_whole_numbers_and_each_as_many(low, numbers):
    edges = whole_bins(low, low + numbers - 1)
    widths = np.diff(edges)
    assert (edges[0], edges[-1]) == (low - 0.5, low + numbers - 0.5)
    assert np.all(edges % 1 == 0.5) and 1 <= len(widths) <= BARS
    assert np.all(widths[:-1] == widths[0])
    assert 0.5 * widths[0] <= widths[-1] < 1.5 * widths[0] or len(widths) == 1
    if numbers <= BARS:
        assert np.all(widths == 1)


def test_shares_add_up_whatever_the_bins(drawn):
    rng = np.random.default_rng(0)
    frames = {
        split: dict(zip(*(each.tolist() for each in np.unique(rng.integers(60, 151, 999), return_counts=True))))
        for split in "ab"
    }
    histograms._shares(
        "frames", {split: {str(n): times for n, times in each.items()} for split, each in frames.items()}
    )
    axes = drawn[0].axes[0]
    assert "averaged over 5" in axes.get_title("left")
    for steps, (_, counts) in zip(axes.patches, frames.items(), strict=True):
        data = steps.get_data()
        assert np.sum(data.values * np.diff(data.edges)) == pytest.approx(100)
        assert data.values.max() < 3 * data.values.min(), "no comb"
        inside = [times for number, times in counts.items() if data.edges[0] < number < data.edges[1]]
        assert data.values[0] == pytest.approx(100 * sum(inside) / 999 / 5)


def test_lines_are_the_numbers(summary, drawn):
    dataset_pictures(summary)
    counts = sorted(summary["statistics"]["videos_a_label"]["train"].values(), reverse=True)
    line = axes_of(drawn, "rank of the label").lines[0]
    assert line.get_ydata().tolist() == counts and line.get_xdata().tolist() == list(range(1, len(counts) + 1))
    (bar,) = axes_of(drawn, "").patches
    assert bar.get_width() == 1
    for name in ("labels of a video", "frames of a video"):
        for steps in axes_of(drawn, name).patches:
            assert steps.get_data().values.sum() == pytest.approx(100)


@pytest.mark.parametrize(
    ("feature", "values", "value", "caption"),
    [
        (FeatureConfig("own", 4, "float32"), np.full((1, 99), 1.25, np.float32), 1.25, "without those beyond −2 and 2"),
        (FeatureConfig("own", 4, "float16"), np.full((1, 99), -0.5, np.float16), -0.5, "without those beyond −2 and 2"),
        (FeatureConfig("own", 4), np.full((1, 99), 64, np.uint8), -0.98828, "The ends of the range"),
        (FeatureConfig("own", 4, minimum=0, maximum=51), np.full((1, 99), 10, np.uint8), 2.1, "The ends of the range"),
    ],
)
def test_values_are_drawn_where_they_are(summary, drawn, feature, values, value, caption):
    """A float is counted as the byte that stands for it; a byte is drawn at the value that it stands for."""
    summary["dataset"]["features"] = [to_dict(feature)]
    counts = count_values(values)
    summary["statistics"]["values"] = {"own": {str(byte): int(counts[byte]) for byte in np.flatnonzero(counts)}}
    assert any(caption in each for _, each in dataset_pictures(summary))
    (steps,) = axes_of(drawn, "value").patches
    data = steps.get_data()
    place = int(np.argmax(data.values))
    assert data.edges[place] < value < data.edges[place + 1] and data.values[place] == pytest.approx(100)


def test_splits_without_labels_have_no_share_of_them(summary, drawn):
    summary["labelled"]["test"] = 0
    summary["statistics"]["labels_a_video"]["test"] = {"0": 9}
    dataset_pictures(summary)
    labels = [text.get_text() for figure in drawn for legend in figure.legends for text in legend.get_texts()]
    assert sum(label.startswith("test: mean") for label in labels) == 1, "of frames alone"


def test_videos_that_are_cut_are_told(summary):
    lengths = [1 + 3 * number % 17 for number in [*range(40), *range(51, 60)]]
    told = f"{sum(length > 12 for length in lengths)} of 49 videos are longer than 12 frames: frames are taken"
    assert any(told in caption for _, caption in dataset_pictures(summary))
    del summary["cut"]  # as an earlier version wrote it
    assert not any("longer" in caption for _, caption in dataset_pictures(summary))


def test_many_reasons_are_summed_up(summary, drawn):
    summary["statistics"]["reasons"] = {f"reason {number}, told at some length": 100 - number for number in range(30)}
    summary["quarantined"]["count"] = sum(summary["statistics"]["reasons"].values())
    dataset_pictures(summary)
    bars = axes_of(drawn, "").patches
    assert len(bars) == histograms.REASONS + 1
    assert sum(bar.get_width() for bar in bars) == summary["quarantined"]["count"]


def test_nothing_is_cut_and_legends_are_beside_the_axes(summary, drawn):
    summary["statistics"]["reasons"] = {"a reason that is longer than a line of the picture, and goes on": 1234567}
    summary["quarantined"]["count"] = 1234567
    dataset_pictures(summary)
    assert len(drawn) == 5
    for figure in drawn:
        figure.draw_without_rendering()
        box = figure.get_tightbbox()
        assert np.all(box.min >= -0.02) and np.all(box.max <= figure.get_size_inches() + 0.02)
        for legend in figure.legends:
            assert not any(legend.get_window_extent().overlaps(axes.bbox) for axes in figure.axes)
