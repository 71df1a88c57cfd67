"""The page of plots: well-formed, complete, the same each time, and right about its numbers."""

import re
import xml.etree.ElementTree

import matplotlib
import numpy as np
import pytest
from fixtures.support import SMALL, write_shard

from pipeline.inputs.index import Source
from pipeline.inputs.index.build import write_index
from pipeline.inputs.index.check import check_shard
from pipeline.reporting import card


@pytest.fixture
def summary(tmp_path) -> dict:
    sources = [Source(tmp_path / f"{split}.tfrecord", split) for split in ("train", "test")]
    write_shard(sources[0].path, range(40))
    write_shard(sources[1].path, range(50, 60))
    data = bytearray(sources[1].path.read_bytes())
    data[30] ^= 1
    sources[1].path.write_bytes(data)
    (tmp_path / "index").mkdir()
    return write_index(tmp_path / "index", SMALL, sources, [check_shard(s.path, SMALL) for s in sources])


def test_the_page_needs_no_other_file(tmp_path, summary):
    card.write_card(tmp_path / "card.svg", summary)
    text = (tmp_path / "card.svg").read_text(encoding="utf-8")
    xml.etree.ElementTree.fromstring(text)
    assert not re.findall(r'(?:href|src)="(?!#)[^"]*"', text)
    for words in ("small: train 40, holdout 0, test 9 videos", "train: mean", "rgb:", "Quarantined: 1 records"):
        assert words in text
    assert "checksum of the record is wrong" in text
    with matplotlib.rc_context({"text.usetex": True, "font.size": 40, "axes.xmargin": 0.4, "savefig.bbox": "tight"}):
        card.write_card(tmp_path / "again.svg", summary)
    assert (tmp_path / "again.svg").read_bytes() == (tmp_path / "card.svg").read_bytes()


def test_lines_are_the_numbers(summary):
    axes = {a.get_xlabel(): a for a in card.draw(summary).axes}
    counts = sorted(summary["statistics"]["videos_a_label"]["train"].values(), reverse=True)
    line = axes["rank of the label"].lines[0]
    assert line.get_ydata().tolist() == counts and line.get_xdata().tolist() == list(range(1, len(counts) + 1))
    (bar,) = axes["records"].patches
    assert bar.get_width() == 1
    for name in ("labels a video", "frames a video, at most 12", "quantized value"):
        for steps in axes[name].patches:
            assert np.isclose(steps.get_data().values.sum(), 100)


def test_videos_that_are_cut_are_shown(summary):
    """Video n has 1 + 3n mod 17 frames, of which 12 are read; one record is damaged."""
    lengths = [1 + 3 * number % 17 for number in [*range(40), *range(51, 60)]]
    title = f"{sum(length > 12 for length in lengths)} of 49 videos are cut there"
    assert title in [axes.get_title() for axes in card.draw(summary).axes]
    assert any("are cut at the last length." in told for _, told in card.pictures(summary))
    del summary["cut"]  # as an earlier version wrote it
    assert not [axes for axes in card.draw(summary).axes if "cut" in axes.get_title()]
    assert not any(" cut " in told for _, told in card.pictures(summary))


def test_an_index_of_nothing_has_a_card_too(tmp_path):
    (tmp_path / "a.tfrecord").touch()
    source = Source(tmp_path / "a.tfrecord", "test")
    (tmp_path / "index").mkdir()
    card.write_card(
        tmp_path / "card.svg", write_index(tmp_path / "index", SMALL, [source], [check_shard(source.path, SMALL)])
    )
    assert "0 videos" in (tmp_path / "card.svg").read_text()


def test_many_kinds_of_reasons_are_summed_up(summary):
    summary["statistics"]["reasons"] = {f"reason {number}": 100 - number for number in range(30)}
    summary["quarantined"]["count"] = sum(summary["statistics"]["reasons"].values())
    bars = next(a for a in card.draw(summary).axes if a.get_xlabel() == "records").patches
    assert len(bars) == card.REASONS + 1
    assert sum(bar.get_width() for bar in bars) == summary["quarantined"]["count"]
