"""Search for the weights of a blend: by greedy selection with replacement, and by coordinate ascent."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

LEAST_GAIN = 1e-4
"""A step that raises the score by less than this is not made: it would add runs for nothing."""
_ROUNDS = 50  # runs that greedy selection adds at most; a run counts each time it is added
_PATIENCE = 5  # rounds in a row that may gain nothing, since each moves the mean less than the one before
_MOVES = (0.16, 0.08, 0.04, 0.02, 0.01)  # sizes by which a weight is moved; the weights sum to 1
_SWEEPS = 10  # times that each size of move goes through all weights, at most
SEARCH = _ROUNDS + len(_MOVES)
"""The sum of what greedy selection and coordinate ascent report to `progress`."""


class Step(NamedTuple):
    """The weights that a step of the search led to."""

    step: str
    weights: NDArray[np.float64]  # M, their sum is 1
    score: float


Score = Callable[[NDArray[np.float64]], float]
"""A function from weights, finite and not negative, to the number that the search maximizes."""
Progress = Callable[[int], object]


def rank_alone(measure: Score, names: Sequence[str]) -> list[Step]:
    """Return a step for each run alone, best first; of equal runs the one with the earlier name comes first."""
    alone = [Step(f"{name} alone", weights, measure(weights)) for name, weights in zip(names, np.eye(len(names)))]
    return [alone[run] for run in sorted(range(len(names)), key=lambda run: (-alone[run].score, names[run]))]


def greedy_selection(
    measure: Score, names: Sequence[str], first: Step, among: Sequence[int], progress: Progress = lambda done: None
) -> list[Step]:
    """Add to the best single run, again and again, whichever run raises the score of the mean most.

    Only runs whose numbers are `among` these are added. Returns the steps up to the best one, starting with `first`.
    Source: Caruana, Niculescu-Mizil, Crew and Ksikes, Ensemble selection from libraries of models, 2004.
    """
    steps, best, bag = [first], 0, first.weights
    while len(steps) <= _ROUNDS and len(steps) <= best + _PATIENCE and len(among) > 1:
        bags = bag + np.eye(len(names))[among]
        scores = [measure(each / each.sum()) for each in bags]
        added = int(np.argmax(scores))
        bag = bags[added]
        steps.append(Step(f"+ {names[among[added]]}", bag / bag.sum(), scores[added]))
        if steps[-1].score >= steps[best].score + LEAST_GAIN:
            best = len(steps) - 1
        progress(1)
    progress(_ROUNDS - len(steps) + 1)
    return steps[: best + 1]


def coordinate_ascent(
    measure: Score, start: Step, among: Sequence[int], progress: Progress = lambda done: None
) -> list[Step]:
    """Move one weight after the other up or down for as long as the score rises, by smaller and smaller moves.

    Only weights whose numbers are `among` these are moved. At the end, weights that are not needed become 0. Returns
    the steps, starting with `start`; none has a lower score than the one before.
    """
    steps = [start]
    for move in _MOVES:
        now = steps[-1]
        for _ in range(_SWEEPS):
            before = now
            for run in among:
                now = _climb(measure, now, run, move)
            if now is before:
                break
        if now is not steps[-1]:
            steps.append(now._replace(step=f"weights moved by {move:g}"))
        progress(1)
    now = steps[-1]
    for run in np.argsort(now.weights, kind="stable"):
        if 0 < now.weights[run] < 1:
            without = _moved(now.weights, run, -now.weights[run])
            if (score := measure(without)) >= now.score:
                now = Step("needless runs left out", without, score)
    return steps if now is steps[-1] else [*steps, now]


def _climb(measure: Score, now: Step, run: int, move: float) -> Step:
    """Return the best step of moving one weight repeatedly in the direction in which the first move gains."""
    for sign in (1, -1):
        climbed = now
        while (weights := _moved(climbed.weights, run, sign * move)) is not None:
            if (score := measure(weights)) < climbed.score + LEAST_GAIN:
                break
            climbed = Step("", weights, score)
        if climbed is not now:
            return climbed
    return now


def _moved(weights: NDArray[np.float64], run: int, move: float) -> NDArray[np.float64] | None:
    """Return the weights after one is moved, not below 0, and rescaled to sum to 1; None if that changes nothing."""
    moved = weights.copy()
    moved[run] = max(moved[run] + move, 0)
    if moved[run] == weights[run] or not moved.any() or weights[run] == 1:
        return None
    return moved / moved.sum()
