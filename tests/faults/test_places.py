"""Where the long form kills: enough places, spread evenly, of every stage that changes the disk."""

import random

from faults.places import LEAST, PLACES, items, parts, spread

from pipeline.cli.stages import STAGES


def test_every_stage_is_killed():
    assert {name.split()[0] for name in PLACES} == STAGES.keys() - {"cost"}
    assert sum(PLACES.values()) > LEAST


def test_places_are_spread_over_all_calls_and_their_parts_are_all_of_them():
    for calls in (1, 7, 80, 539):
        found = spread(calls, 80, random.Random(0))
        assert found == spread(calls, 80, random.Random(0)) and len(set(found)) == min(calls, 80)
        assert all(
            abs((number + 0.5) * calls / len(found) - place) <= calls / 80 + 1 for number, place in enumerate(found)
        )
    for stage in ("run_all", "submit"):
        assert [part for name, part in items() if name == stage] == list(range(parts(stage)))
