"""The colors: in the dark each that a picture may use is another."""

import re

from pipeline.reporting.palette import palette


def test_both_palettes_have_the_colors_of_pictures():
    light, dark = (dict(re.findall(r"(--\w+): ([^;]+);", colors)) for colors in palette())
    used = {"--paper", "--ink", "--muted", "--rule", *(f"--c{number}" for number in range(1, 7))}
    assert used <= set(light) and used <= set(dark)
    assert all(light[name] != dark[name] for name in used)
