"""How figures look: one width, colors that all eyes can tell apart, and SVG in the page's colors."""

import contextlib
import io
import re
import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from xml.etree import ElementTree

import matplotlib
from markupsafe import Markup
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from pipeline.runtime.output import printable

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""The colors of Okabe and Ito (2008), also for color-blind eyes. Lines differ by their dashes too."""
DASHES = ("-", "--", "-.", ":")
DASH_ARRAYS = ("none", "6 3", "8 3 2 3", "2 3")
"""The same dashes for a key outside of the figure."""
INK, MUTED, RULE, PAPER = "#010101", "#020202", "#030303", "#040404"
"""These stand for colors of the page."""
WIDTH = 5.4
"""In inches of 72 units: 12 points in a figure are 11 pixels on a phone, and more on a wide screen."""
_LETTERS, _HANDLE = 58, 8  # how many letters a line of the legend has, and how many the sign before a label takes
_VARIABLES = {INK: "ink", MUTED: "muted", RULE: "rule", PAPER: "paper"} | {
    color.lower(): f"c{number}" for number, color in enumerate(COLORS, 1)
}
_FINE = re.compile(r"(?<=\.\d\d)\d+")
"""The decimals of a number after the second."""
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


def color_of(number: int) -> str:
    """Return the color of line `number`, from 0."""
    return COLORS[number % len(COLORS)]


@contextlib.contextmanager
def drawing(settings: dict[str, Any]) -> Iterator[None]:
    """Matplotlib as it comes, with these settings and none of the user's matplotlibrc, which may want LaTeX."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(settings)
        yield


def line(number: int) -> dict[str, Any]:
    """Return color and dashes of line `number`, from 0."""
    return {"color": color_of(number), "linestyle": DASHES[number % len(DASHES)]}


def legend_below(axes: Axes, more: Sequence[Artist] = ()) -> None:
    """Put the legend below the figure, with `more` artists at its end: within the axes it would lie on lines."""
    artists, _ = axes.get_legend_handles_labels()
    artists += more
    if artists:
        labels = [textwrap.fill(str(artist.get_label()), _LETTERS - _HANDLE) for artist in artists]
        columns = _LETTERS // (max(len(part) for label in labels for part in label.split("\n")) + _HANDLE)
        place = {"loc": "outside lower left", "ncols": min(max(columns, 1), len(labels)), "borderaxespad": 0.2}
        axes.figure.legend(artists, labels, **place)


def svg_picture(name: str, alternative: str, paint: Callable[..., object], height: float = 3.4, **axes: Any) -> Markup:
    """Draw a figure, and return it as inline SVG in the page's colors.

    Args:
        name: the name of the figure, unique on its page; ids are made from it.
        alternative: what the figure shows, in words, for those who do not see it.
        paint: draws on the axes; it is given as many as `axes`, the arguments of `Figure.subplots`, ask for.
        height: in inches.
    """
    with drawing(_SETTINGS | {"svg.hashsalt": name}):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        made = figure.subplots(**axes)
        paint(*([made] if isinstance(made, Axes) else made))
        drawn = svg_text(figure, dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return Markup(ElementTree.tostring(_inline(ElementTree.fromstring(drawn), printable(alternative)), "unicode"))


def svg_text(figure: Figure, metadata: dict[str, None]) -> str:
    """A figure as an SVG file; control characters in its texts, of which XML allows none, are escaped."""
    for text in figure.findobj(Text):
        text.set_text(printable(text.get_text()))  # before it is drawn: no font has a lone surrogate
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata=metadata)
    return printable(file.getvalue())


def _inline(figure: ElementTree.Element, alternative: str) -> ElementTree.Element:
    """Turn Matplotlib's file into an element of a page: named, in the page's colors, with the ids that are used."""
    box = figure.get("viewBox")
    figure.remove(figure[0])  # a style of every element, which the page has
    for element in figure.iter():
        element.tag = _local(element.tag)
        if element.tag == "g":
            element.attrib.pop("id", None)  # nothing refers to groups
        element.attrib = {_local(name): _value(_local(name), value) for name, value in element.attrib.items()}
        element.text, element.tail = element.text if (element.text or "").strip() else None, None
    figure.attrib = {"viewBox": box, "role": "img", "aria-label": alternative}
    return figure


def _local(name: str) -> str:
    """Return a name without its namespace, which a page does not need."""
    return name.rpartition("}")[2]


def _value(name: str, value: str) -> str:
    """Shorten the numbers of an attribute; in a style, use the page's colors and font."""
    if name == "style":
        declared = dict(declaration.split(": ") for declaration in value.split("; "))
        declared.pop("font-family", None)
        value = "; ".join(
            f"{key}: var(--{_VARIABLES[what]})" if what.startswith("#") else f"{key}: {what}"
            for key, what in declared.items()
        )
    return _FINE.sub("", " ".join(value.split()))
