"""The search for the weights of a blend: greedy selection with replacement, and coordinate ascent."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

LEAST_GAIN = 1e-4
"""A step that raises GAP by less is not made: it would add runs for nothing."""
_ROUNDS = 50  # runs that greedy selection adds at most, repeated ones counted
_PATIENCE = 5  # of them, those in a row that may gain nothing, since each moves the mean less than the one before
_MOVES = (0.16, 0.08, 0.04, 0.02, 0.01)  # of a weight, the weights summing to 1
_SWEEPS = 10  # through all weights, by each move
SEARCH = _ROUNDS + len(_MOVES)
"""What `progress` of greedy selection and of coordinate ascent hears together."""


class Step(NamedTuple):
    """Weights met on the way."""

    step: str
    weights: NDArray[np.float64]  # M, their sum is 1
    gap: float


Gap = Callable[[NDArray[np.float64]], float]
"""Weights, finite and not negative, to what is to be high."""
Progress = Callable[[int], object]


def rank_alone(gap: Gap, names: Sequence[str]) -> list[Step]:
    """Each run alone, the best first; of equal ones the earlier name."""
    alone = [Step(f"{name} alone", weights, gap(weights)) for name, weights in zip(names, np.eye(len(names)))]
    return [alone[run] for run in sorted(range(len(names)), key=lambda run: (-alone[run].gap, names[run]))]


def greedy_selection(
    gap: Gap, names: Sequence[str], first: Step, among: Sequence[int], progress: Progress = lambda done: None
) -> list[Step]:
    """Caruana's selection: to the best single run add, again and again, whichever raises the mean's GAP most.

    Only runs `among` these numbers are added. The steps up to the best, the first as given. Caruana, Niculescu-Mizil,
    Crew and Ksikes, Ensemble selection from libraries of models, 2004.
    """
    steps, best, bag = [first], 0, first.weights
    while len(steps) <= _ROUNDS and len(steps) <= best + _PATIENCE and len(among) > 1:
        bags = bag + np.eye(len(names))[among]
        gaps = [gap(each / each.sum()) for each in bags]
        added = int(np.argmax(gaps))
        bag = bags[added]
        steps.append(Step(f"+ {names[among[added]]}", bag / bag.sum(), gaps[added]))
        if steps[-1].gap >= steps[best].gap + LEAST_GAIN:
            best = len(steps) - 1
        progress(1)
    progress(_ROUNDS - len(steps) + 1)
    return steps[: best + 1]


def coordinate_ascent(
    gap: Gap, start: Step, among: Sequence[int], progress: Progress = lambda done: None
) -> list[Step]:
    """Coordinate ascent: move one weight after the other up or down for as long as GAP rises, by ever smaller moves.

    Only weights `among` these numbers are moved; at last the needless ones become 0. The steps, the start first, none
    below the one before.
    """
    steps = [start]
    for move in _MOVES:
        now = steps[-1]
        for _ in range(_SWEEPS):
            before = now
            for run in among:
                now = _climb(gap, now, run, move)
            if now is before:
                break
        if now is not steps[-1]:
            steps.append(now._replace(step=f"weights moved by {move:g}"))
        progress(1)
    now = steps[-1]
    for run in np.argsort(now.weights, kind="stable"):
        if 0 < now.weights[run] < 1:
            without = _moved(now.weights, run, -now.weights[run])
            if (score := gap(without)) >= now.gap:
                now = Step("needless runs left out", without, score)
    return steps if now is steps[-1] else [*steps, now]


def _climb(gap: Gap, now: Step, run: int, move: float) -> Step:
    """The best of moving one weight on and on, in the direction in which the first move gains."""
    for sign in (1, -1):
        climbed = now
        while (weights := _moved(climbed.weights, run, sign * move)) is not None:
            if (score := gap(weights)) < climbed.gap + LEAST_GAIN:
                break
            climbed = Step("", weights, score)
        if climbed is not now:
            return climbed
    return now


def _moved(weights: NDArray[np.float64], run: int, move: float) -> NDArray[np.float64] | None:
    """Weights with one of them moved, not below 0, and their sum 1 again; None where that changes nothing."""
    moved = weights.copy()
    moved[run] = max(moved[run] + move, 0)
    if moved[run] == weights[run] or not moved.any() or weights[run] == 1:
        return None
    return moved / moved.sum()
