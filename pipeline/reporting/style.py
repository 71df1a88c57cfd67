"""How figures look: one size, colors that all eyes tell apart, and SVG that takes them from the page."""

import html
import io
import re
from collections.abc import Callable
from typing import Any

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Told apart whatever the eyes: Okabe, Ito 2008. Lines of different colors differ by their dashes too."""
DASHES = ("-", "--", "-.", ":")
DASH_ARRAYS = ("none", "6 3", "8 3 2 3", "2 3")
"""The same for a key outside of the figure."""
INK, MUTED, RULE, PAPER = "#010101", "#020202", "#030303", "#040404"
"""Stand for colors of the page."""
WIDTH = 5.4
"""Inches, of 72 units: 12 points in a figure are 11 on a phone, and more on a wide screen."""
_VARIABLES = {INK: "ink", MUTED: "muted", RULE: "rule", PAPER: "paper"} | {
    color.lower(): f"c{number}" for number, color in enumerate(COLORS, 1)
}
_SETTINGS = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a $ in a name is a $
    "font.size": 11.5,
    "axes.titlesize": 11.5,
    "axes.labelsize": 11.5,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "legend.fontsize": 11,
    "legend.frameon": False,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.edgecolor": RULE,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.prop_cycle": matplotlib.cycler(color=COLORS),
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.5,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "lines.linewidth": 1.8,
    "xtick.minor.visible": False,
    "ytick.minor.visible": False,
}


def line(number: int) -> dict[str, Any]:
    """Color and dashes of the number-th thing, counted from 0."""
    return {"color": COLORS[number % len(COLORS)], "linestyle": DASHES[number % len(DASHES)]}


def svg_picture(name: str, alternative: str, paint: Callable[..., object], height: float = 3.4, **axes: Any) -> Markup:
    """A figure as inline SVG in the page's colors.

    Args:
        name: of this figure, of which a page has one.
        alternative: what it shows, in words, for those who do not see it.
        paint: draws on the axes that it is given: one, or as many as `axes` tells `Figure.subplots`.
        height: inches.
    """
    with matplotlib.rc_context(_SETTINGS | {"svg.hashsalt": name}):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        made = figure.subplots(**axes)
        paint(*([made] if isinstance(made, Axes) else made))
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return _inline(file.getvalue(), alternative)


def _inline(text: str, alternative: str) -> Markup:
    """Matplotlib's file as an element of a page: named, without ids that nothing refers to, in the page's colors."""
    start = re.search(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', text)
    body = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>", "", text[start.end() :], flags=re.S)
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', body))
    body = re.sub(r"<[^>]+>", lambda tag: _tag(tag[0], used), body)
    body = re.sub(r">\s+<", "><", body).strip()
    return Markup(f'<svg viewBox="{start[1]}" role="img" aria-label="{html.escape(alternative)}">{body}')


def _tag(tag: str, used: set[str]) -> str:
    tag = re.sub(r' id="([^"]*)"', lambda found: found[0] if found[1] in used else "", tag)
    tag = re.sub(r"(\.\d\d)\d+", r"\1", tag)
    tag = re.sub(r"(font: [\d.]+px) [^;\"]*|font-family: [^;\"]*;? ?", _size, tag)
    return re.sub(r"#[0-9a-fA-F]{6}\b", lambda found: f"var(--{_VARIABLES[found[0].lower()]})", tag)


def _size(found: re.Match) -> str:
    """Of a font only its size stays."""
    return found[1].replace("font:", "font-size:") if found[1] else ""
