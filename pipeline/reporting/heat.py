"""Draw what a model looks at in one video: clusters by frames, the darker the more a frame counts."""

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

ROWS, COLUMNS, LEVELS = 10, 60, 8
"""The most clusters, columns and shades of a picture."""
_WIDTH, _LEFT, _HEIGHT, _GAP = 400, 42, 13, 2  # widths of the picture and its labels; height of a row; gap of rows


def heat_map(weights: NDArray[np.floating], feature: str) -> Markup:
    """Return inline SVG of the clusters with the highest peaks, in the order of their peaks, in the page's colors.

    Args:
        weights: how much each frame counts for each cluster, [T,K], of either sign; valid frames only.
        feature: the name of the feature.
    """
    frames, clusters = weights.shape
    peaks = np.abs(weights).max(axis=0)  # K
    shown = np.argsort(-peaks, kind="stable")[:ROWS]
    when = np.abs(weights[:, shown]).argmax(axis=0)
    shown, when = (array[np.argsort(when, kind="stable")] for array in (shown, when))
    columns = min(frames, COLUMNS)
    edges = np.linspace(0, frames, columns + 1).round().astype(int)
    cells = np.add.reduceat(weights[:, shown], edges[:-1], axis=0) / np.diff(edges)[:, None]  # columns, rows
    most = np.abs(cells).max(initial=0)
    shades = np.rint(cells / (most or 1) * LEVELS).astype(int)
    said = [
        f"cluster {cluster} most at frame {place + 1}: {weights[place, cluster]:.2f}"
        for cluster, place in zip(shown.tolist(), when.tolist())
    ]
    alternative = f"{feature}, {len(shown)} of {clusters} clusters over {frames} frames. {'; '.join(said)}"
    height = len(shown) * (_HEIGHT + _GAP)
    text = Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>').format
    labels = [
        text(_LEFT - 6, row * (_HEIGHT + _GAP) + _HEIGHT - 2.5, "end", cluster)
        for row, cluster in enumerate(shown.tolist())
    ]
    labels += [text(_LEFT, height + 14, "start", "frame 1"), text(_WIDTH, height + 14, "end", frames)]
    ground = Markup('<rect class="ground" x="{}" width="{}" height="{}"/>').format(_LEFT, _WIDTH - _LEFT, height - _GAP)
    return Markup('<svg class="heat" viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}{}</svg>').format(
        _WIDTH, height + 18, alternative, ground, _cells(shades), Markup("").join(labels)
    )


def _cells(shades: NDArray[np.integer]) -> Markup:
    """Draw shades, int [C,R] by column and row, one path for each: positive ones in one color, negative in another."""
    width = (_WIDTH - _LEFT) / len(shades)
    paths = []
    for shade in np.unique(shades[shades != 0]).tolist():
        squares = [
            f"M{_LEFT + column * width:.1f} {row * (_HEIGHT + _GAP)}h{max(width - 1, width / 2):.1f}v{_HEIGHT}"
            f"h-{max(width - 1, width / 2):.1f}z"
            for column, row in zip(*(axis.tolist() for axis in np.nonzero(shades == shade)))
        ]
        path = Markup('<path class="{}" fill-opacity="{:.3f}" d="{}"/>')
        paths.append(path.format("more" if shade > 0 else "less", abs(shade) / LEVELS, "".join(squares)))
    return Markup("").join(paths)
