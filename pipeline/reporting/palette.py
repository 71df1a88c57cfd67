"""The page's colors as CSS, for pictures that stand outside of the page."""

import re
from pathlib import Path

CSS = Path(__file__).with_name("page.css")


def palette() -> tuple[str, str]:
    """The declarations of the colors on light paper, and of those that are others in the dark."""
    light, dark, *_ = re.findall(r":root \{(.*?)\}", CSS.read_text(encoding="utf-8"), re.S)
    return light.strip(), dark.strip()
