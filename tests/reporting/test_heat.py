"""Pictures of what frames count for: which clusters, where they are dark, how they are told."""

import re
import xml.etree.ElementTree

import numpy as np
import pytest

from pipeline.reporting import heat

FEATURE = 'rgb <&> "x"'


def cells(text: str) -> dict[tuple[str, int, int], float]:
    """(class, column, row) -> opacity of each square of a picture."""
    root = xml.etree.ElementTree.fromstring(text)
    width = (heat._WIDTH - heat._LEFT) / max(len(set(re.findall(r"M([\d.]+) ", text))), 1)
    found = {}
    for path in root.iter("path"):
        for x, y in re.findall(r"M([\d.]+) (\d+)h", path.get("d")):
            column = round((float(x) - heat._LEFT) / width)
            found[path.get("class"), column, int(y) // (heat._HEIGHT + heat._GAP)] = float(path.get("fill-opacity"))
    return found


def rows(text: str) -> list[int]:
    root = xml.etree.ElementTree.fromstring(text)
    return [int(each.text) for each in root.iter("text") if each.get("text-anchor") == "end"][:-1]


def test_the_highest_peaks_in_the_order_of_time():
    weights = np.zeros((5, 30), np.float32)
    for cluster in range(30):
        weights[cluster % 5, cluster] = cluster / 30
    text = heat.heat_map(weights, FEATURE)
    shown = rows(text)
    assert sorted(shown) == list(range(20, 30)) and [each % 5 for each in shown] == sorted(each % 5 for each in shown)
    assert set(cells(text)) == {("more", cluster % 5, row) for row, cluster in enumerate(shown)}
    assert cells(text)["more", 4, shown.index(29)] == 1
    root = xml.etree.ElementTree.fromstring(text)
    assert root.get("role") == "img" and root.get("aria-label").startswith(
        f"{FEATURE}, 10 of 30 clusters over 5 frames"
    )
    assert "cluster 29 most at frame 5: 0.97" in root.get("aria-label")


def test_shades_are_the_weights_of_either_sign():
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(12, 6)).astype(np.float32)
    text, most = heat.heat_map(weights, "a"), np.abs(weights).max()
    found, shown = cells(text), rows(text)
    for row, cluster in enumerate(shown):
        for frame in range(12):
            value = weights[frame, cluster] / most
            drawn = found.get(("more", frame, row), 0) - found.get(("less", frame, row), 0)
            assert drawn == pytest.approx(value, abs=0.51 / heat.LEVELS)


def test_long_videos_stay_small():
    weights = np.random.default_rng(0).random((300, 256)).astype(np.float32)
    text = heat.heat_map(weights, "a")
    columns = {column for _, column, _ in cells(text)}
    assert len(columns) == heat.COLUMNS and len(text) < 25_000
    mean = weights[:5].mean(axis=0) / weights.reshape(60, 5, 256)[:, :, rows(text)].mean(axis=1).max()
    for row, cluster in enumerate(rows(text)):
        assert cells(text)["more", 0, row] == pytest.approx(mean[cluster], abs=0.51 / heat.LEVELS)


def test_nothing_counts():
    assert cells(heat.heat_map(np.zeros((3, 2), np.float32), "a")) == {}
