"""A dataset's card: the pictures of its index on one page, as SVG that needs no other file."""

import textwrap
from pathlib import Path
from typing import Any

from markupsafe import Markup

from pipeline.artifacts.files import atomic_file
from pipeline.reporting.histograms import dataset_pictures
from pipeline.reporting.palette import palette

NAME = "card.svg"
_SIDE, _MARGIN, _LINE, _HEAD = 390, 36, 17, 92  # a picture's width; around; a caption's line; the title
_LETTERS = 62  # in a line of a caption
_STYLE = Markup("""<style>
.card {{ {light} color-scheme: light dark; background: var(--paper); }}
@media (prefers-color-scheme: dark) {{ .card {{ {dark} }} }}
.card text {{ font-family: system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }}
.card .told {{ fill: var(--muted); font-size: 12px; }}
.card .title {{ fill: var(--ink); font-size: 20px; font-weight: 600; }}
</style>""")
_TEXT = Markup('<text class="{}" x="{}" y="{}">{}</text>')


def write_card(path: Path, summary: dict[str, Any]) -> None:
    """Draw an index's dataset.json; the same numbers give the same bytes."""
    with atomic_file(path) as temporary:
        temporary.write_text(draw_card(summary) + "\n", encoding="utf-8")


def draw_card(summary: dict[str, Any]) -> Markup:
    """The card as an SVG element: two columns of pictures, each with its caption, light or dark as the reader's."""
    width = 2 * _SIDE + 3 * _MARGIN
    placed, heights = [], [_HEAD, _HEAD]  # of both columns
    for picture, caption in dataset_pictures(summary):
        column = heights.index(min(heights))
        x, y = _MARGIN + column * (_SIDE + _MARGIN), heights[column]
        high = _height(picture)
        placed.append(_at(picture, x, y, high))
        lines = textwrap.wrap(caption, _LETTERS)
        placed += [_TEXT.format("told", x, y + high + _LINE * (n + 1), each) for n, each in enumerate(lines)]
        heights[column] = y + high + _LINE * len(lines) + _MARGIN
    light, dark = map(Markup, palette())
    size = f"{width} {max(heights)}"
    return Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" class="card" viewBox="0 0 {}" width="{}" height="{}">{}'
        '<rect width="100%" height="100%" style="fill: var(--paper)"/>{}{}</svg>'
    ).format(size, width, max(heights), _STYLE.format(light=light, dark=dark), _title(summary), Markup("").join(placed))


def _title(summary: dict[str, Any]) -> Markup:
    dataset, shards = summary["dataset"], len(summary["shards"])
    made_up = " (synthetic)" if dataset["synthetic"] else ""
    videos = ", ".join(f"{split} {count:,}" for split, count in summary["counts"].items())
    quarantined = summary["quarantined"]["count"]
    bad = f"{quarantined:,} records left out" if quarantined else "every record is sound"
    features = " and ".join(f"{each['name']} {each['size']:,} {each['dtype']}" for each in dataset["features"])
    lines = f"{features}, {dataset['num_classes']:,} classes, {shards:,} shards; {bad}"
    return _TEXT.format("title", _MARGIN, 40, f"{dataset['name']}{made_up}: {videos} videos") + _TEXT.format(
        "told", _MARGIN, 64, lines
    )


def _height(picture: Markup) -> int:
    """Of a picture that is as wide as a column."""
    _, _, width, height = map(float, picture.split('viewBox="', 1)[1].split('"', 1)[0].split())
    return round(height * _SIDE / width)


def _at(picture: Markup, x: int, y: int, height: int) -> Markup:
    """The same picture at a place of a larger one."""
    place = Markup('<svg x="{}" y="{}" width="{}" height="{}" ').format(x, y, _SIDE, height)
    return Markup(picture.replace(Markup("<svg "), place, 1))
