"""A run's log as the points of a curve: one by step, each as sure as the others."""

import math
from typing import Any

LEAST_SPAN = 0.75
"""Of the longest range of steps: a point of the loss is the mean over at least so much."""


def curve(log: list[dict[str, Any]], key: str) -> list[tuple[int, float]]:
    """Steps and values of `key`, by step; records without a finite value are left out.

    A record's loss is the mean over the steps since the record before. Training also stops to store a checkpoint, and
    the steps from there to the end of the epoch can be few: such a mean is joined with its neighbors, weighted by
    steps, since on its own it would be a bend that training did not take.
    """
    points = [(record["step"], record[key]) for record in log if math.isfinite(record.get(key, math.nan))]
    return _joined(points) if key == "loss" else points


def _joined(points: list[tuple[int, float]]) -> list[tuple[int, float]]:
    spans = [step - before for (step, _), before in zip(points, [0, *(step for step, _ in points)])]
    least = LEAST_SPAN * max(spans, default=0)
    joined: list[tuple[int, float, int]] = []  # step, mean, and how many steps it is of
    span, whole = 0, 0.0
    for (step, mean), steps in zip(points, spans):
        span, whole = span + steps, whole + steps * mean
        if span >= least:
            joined.append((step, whole / span, span))
            span, whole = 0, 0.0
    if span:  # too few are left for a point of their own
        _, mean, steps = joined.pop()
        joined.append((points[-1][0], (whole + steps * mean) / (span + steps), span + steps))
    return [(step, mean) for step, mean, _ in joined]
