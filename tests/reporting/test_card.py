"""The card of a dataset: well-formed, complete, the same each time, and light or dark as the reader's screen."""

import re
import xml.etree.ElementTree

import matplotlib
import pytest
from fixtures.support import SMALL, write_shard

from pipeline.inputs.index import Source
from pipeline.inputs.index.build import write_index
from pipeline.inputs.index.check import check_shard
from pipeline.reporting import card
from pipeline.reporting.histograms import dataset_pictures


@pytest.fixture
def summary(tmp_path) -> dict:
    source = Source(tmp_path / "train.tfrecord", "train")
    write_shard(source.path, range(40))
    (tmp_path / "index").mkdir()
    return write_index(tmp_path / "index", SMALL, [source], [check_shard(source.path, SMALL)])


def rectangles(text: str) -> list[tuple[float, float, float, float]]:
    """Left, top, right and bottom of each picture of a card."""
    root = xml.etree.ElementTree.fromstring(text)
    sizes = [[float(each.get(name)) for name in ("x", "y", "width", "height")] for each in root if each.get("viewBox")]
    return [(x, y, x + width, y + height) for x, y, width, height in sizes]


def test_it_needs_no_other_file_and_has_every_picture(tmp_path, summary):
    card.write_card(tmp_path / "card.svg", summary)
    text = (tmp_path / "card.svg").read_text(encoding="utf-8")
    assert not re.findall(r'(?:href|src)="(?!#)[^"]*"', text)
    for words in ("small: train 40, holdout 0 videos", "every record is sound", "train: mean", "rgb:"):
        assert words in text
    assert len(rectangles(text)) == len(dataset_pictures(summary)) == 4
    ids = re.findall(r' id="([^"]+)"', text)
    assert ids and len(ids) == len(set(ids))
    with matplotlib.rc_context({"text.usetex": True, "font.size": 40, "axes.xmargin": 0.4, "savefig.bbox": "tight"}):
        card.write_card(tmp_path / "again.svg", summary)
    assert (tmp_path / "again.svg").read_bytes() == (tmp_path / "card.svg").read_bytes()


def test_every_color_is_defined_for_light_and_dark(summary):
    text = str(card.draw_card(summary))
    light, dark = re.findall(r"\.card \{(.*?)\}", text, re.S)[:2]
    used = set(re.findall(r"var\((--\w+)\)", text))
    assert (
        used and used <= set(re.findall(r"(--\w+):", light)) and used - {"--c7"} <= set(re.findall(r"(--\w+):", dark))
    )
    assert "prefers-color-scheme: dark" in text and not re.findall(r'(?:fill|stroke)(?:=|:)"?\s*#', text)


def test_pictures_fill_the_card_and_lie_on_none(summary):
    summary["quarantined"]["count"] = 3
    summary["statistics"]["reasons"] = {"the checksum of the record is wrong": 2}
    text = str(card.draw_card(summary))
    assert "3 records left out" in text and "all others" in text
    placed = rectangles(text)
    width, height = map(float, re.search(r'viewBox="0 0 (\d+) (\d+)" width', text).groups())
    for number, (left, top, right, bottom) in enumerate(placed):
        assert 0 <= left < right <= width and 0 <= top < bottom <= height
        for other in placed[:number]:
            assert right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top
    areas = [(right - left) * (bottom - top) for left, top, right, bottom in placed]
    assert sum(areas) > 0.5 * width * height, "two columns"
    assert height - max(bottom for *_, bottom in placed) < 120, "below the last picture there is its caption alone"


def test_an_index_of_nothing_has_a_card_too(tmp_path):
    (tmp_path / "a.tfrecord").touch()
    source = Source(tmp_path / "a.tfrecord", "test")
    (tmp_path / "index").mkdir()
    card.write_card(
        tmp_path / "card.svg", write_index(tmp_path / "index", SMALL, [source], [check_shard(source.path, SMALL)])
    )
    assert "0 videos" in (tmp_path / "card.svg").read_text()
