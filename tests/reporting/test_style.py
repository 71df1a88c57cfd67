"""Figures in a page: named, colored by the page, the same each time."""

import re
import xml.etree.ElementTree

import matplotlib

from pipeline.reporting import style
from pipeline.runtime.output import printable

HOSTILE = 'a "$x_1$" <b> & #123456 id="q" > --> 0.123456'


def drawn() -> str:
    def paint(upper, lower):
        for number in range(8):
            upper.plot([0, 1], [number, 1], label=f"{HOSTILE} {number}", **style.line(number))
        upper.legend()
        lower.fill_between([0, 1], [1, 2], color=style.COLORS[0], alpha=0.3)
        lower.scatter([0, 1], [0, 1], color=style.INK)
        lower.set(title=HOSTILE, xlabel="$", yscale="log")

    return str(style.svg_picture("one", HOSTILE, paint, nrows=2))


def test_a_picture_is_an_element_with_a_name_in_the_colors_of_the_page():
    text = drawn()
    root = xml.etree.ElementTree.fromstring(text)
    assert root.tag == "svg" and root.get("role") == "img" and root.get("aria-label") == HOSTILE
    assert set(re.findall(r"var\(--(\w+)\)", text)) >= {"ink", "muted", "rule", *(f"c{n}" for n in range(1, 8))}
    tags = " ".join(re.findall(r"<[^>]+>", text.replace(text.split(">")[0], "")))
    assert not re.findall(r"#[0-9a-fA-F]{6}\b|font-family|font:|\.\d{3}|<style|<metadata|http", tags)


def test_text_stays_as_it_is():
    root = xml.etree.ElementTree.fromstring(drawn())
    texts = ["".join(element.itertext()) for element in root.iter("text")]
    assert HOSTILE in texts and f"{HOSTILE} 3" in texts and "$" in texts


def test_every_id_is_referred_to_and_there():
    text = drawn()
    ids = re.findall(r'<[^>]*? id="([^"]+)"', text)
    used = re.findall(r'(?:href="#|url\(#)([^")]+)', text)
    assert ids and len(ids) == len(set(ids)) and set(ids) == set(used)


def test_the_same_picture_has_the_same_bytes_and_another_name_other_ids():
    assert drawn() == drawn()

    def paint(axes):
        axes.plot([0, 1], [0, 1], "o")

    ids = [set(re.findall(r' id="([^"]+)"', style.svg_picture(name, "", paint))) for name in ("one", "two")]
    assert ids[0] and not ids[0] & ids[1]


def test_a_users_settings_of_matplotlib_change_no_byte():
    before = drawn()
    theirs = {
        "text.usetex": True,
        "font.size": 40,
        "font.family": "serif",
        "savefig.pad_inches": 3,
        "axes.xmargin": 0.4,
    }
    with matplotlib.rc_context(theirs | {"svg.fonttype": "path", "lines.marker": "o", "savefig.bbox": "tight"}):
        assert drawn() == before
        assert matplotlib.rcParams["font.size"] == 40


def test_lines_differ_by_more_than_color():
    lines = [tuple(style.line(number).values()) for number in range(28)]
    assert len(set(lines)) == 28 and len(style.DASHES) == len(style.DASH_ARRAYS)
    assert all(style.line(n)["linestyle"] != style.line(n + 1)["linestyle"] for n in range(20))


def test_control_characters_are_escaped_of_which_xml_allows_none():
    text = "\x1b[2J\x07\x00\u202e\x9b\udcff$\\frac$"

    def paint(axes) -> None:
        axes.plot([0, 1], [0, 1], label=text)
        axes.set(title=text, xlabel=text)
        axes.legend()

    picture = str(style.svg_picture("one", text, paint))
    assert printable(picture) == picture and picture.count(printable(text)) == 4
