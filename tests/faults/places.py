"""Where the long form kills: how often each stage, at which of its system calls, in which items."""

import itertools
import math
import random

from faults.subjects import SECONDS

PLACES = {
    "synthesize": 80,
    "ingest": 150,
    "train": 60,
    "soup": 80,
    "infer": 120,
    "ensemble": 160,
    "threshold": 30,
    "submit": 40,
    "evaluate": 40,
    "report": 40,
    "export": 40,
    "download": 60,
    "run_all": 30,
    "pack": 40,
    "extract": 60,
    "predict": 60,
    "predict in windows": 40,
    "train in folds": 30,
    "infer in folds": 30,
}
"""At how many places the long form kills each stage: evenly spread, or at all of a stage that has fewer."""
PART = 60
"""About how many seconds of them are an item of the long form: processes share these."""
LEAST = 1000
"""Kills of the whole long form, without which it fails."""
KILLS = "test_a_stage_that_is_killed_anywhere_goes_on"
"""The test that kills there."""


def items() -> list[tuple[str, int]]:
    """Return the items of the long form: a stage, and which part of its places."""
    return [(stage, part) for stage in PLACES for part in range(parts(stage))]


def parts(stage: str) -> int:
    """Return into how many items the long form divides the places of a stage."""
    return math.ceil(PLACES[stage] * SECONDS.get(stage, 2) / PART)


def spread(calls: int, most: int, chance: random.Random) -> list[int]:
    """Return places from 1 to `calls`: all, or one at random in each of `most` equal stretches."""
    if calls <= most:
        return list(range(1, calls + 1))
    bounds = [calls * number // most for number in range(most + 1)]
    return [chance.randrange(start, end) + 1 for start, end in itertools.pairwise(bounds)]
