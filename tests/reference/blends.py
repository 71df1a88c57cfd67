"""Ensembles made up at random, and their blend in a slow form."""

import numpy as np
from hypothesis import strategies as st


def slow_blend(labels, scores, weights, top_k, num_classes):
    """One video at a time, a dict a model; classes that nobody kept are left out."""
    total = sum(weights)
    rows = []
    for video in range(len(labels[0])):
        models = [
            (weight / total, dict(zip(kept[video].tolist(), given[video].astype(float).tolist())))
            for kept, given, weight in zip(labels, scores, weights)
            if weight
        ]
        means = {
            label: np.float32(sum(weight * model.get(label, min(model.values())) for weight, model in models))
            for label in range(num_classes)
            if any(label in model for _, model in models)
        }
        rows.append(sorted(means.items(), key=lambda item: (-item[1], item[0]))[:top_k])
    return [[label for label, _ in row] for row in rows], [[float(mean) for _, mean in row] for row in rows]


@st.composite
def ensembles(draw, exact=True):
    """Models whose scores and weights sum without rounding, so that ties are ties in any form; or any at all."""
    num_classes, videos = draw(st.integers(1, 12)), draw(st.integers(0, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    lengths = draw(st.lists(st.integers(1, num_classes), min_size=1, max_size=4))
    labels = [
        np.array([rng.permutation(num_classes)[:k] for _ in range(videos)], int).reshape(videos, k) for k in lengths
    ]
    if exact:
        scores = [(rng.integers(0, 9, kept.shape) / 8).astype(np.float32) for kept in labels]
        weights = [[4.0], [1.0, 3.0], [1.0, 2.0, 1.0], [1.0, 0.0, 2.0, 1.0]][len(lengths) - 1]
    else:
        scores = [rng.random(kept.shape, np.float32) ** 9 for kept in labels]
        weights = [float(weight) for weight in rng.choice([0.1, 0.3, 1.0, 7.0], len(lengths))]
    used = [k for k, weight in zip(lengths, weights) if weight]
    return labels, scores, weights, draw(st.integers(1, max(used))), num_classes
