"""Two processes of a stage at once: one is refused by name, or both do the whole work, and the result is the same."""

import random
import signal

import pytest
from faults.stages import Fault
from faults.subjects import OTHERS, STAGES, tries

CHEAP = ("synthesize", "submit")
TRIED = 6
"""Places at which the long form holds the first process while the second one runs, at most."""
STAGES_AND_COUNTS = [
    *((stage, 1) for stage in CHEAP),
    *(pytest.param(stage, TRIED, marks=pytest.mark.long) for stage in [*STAGES, *OTHERS]),
]


@pytest.mark.parametrize(("stage", "count"), STAGES_AND_COUNTS)
def test_two_of_a_stage_at_once(stage, count, subject, tried):
    """The first is stopped at a call, the second one runs from its start to its end, and the first goes on."""
    subject = subject(stage)
    places = range(1, subject.undisturbed.calls + 1)
    chosen = sorted(random.Random(stage).sample(places, min(tries(stage, count), len(places))))
    for place in chosen:
        subject.reset()
        held = Fault(place, "stop")
        first = subject.start(held)
        if not first.is_held():
            assert first.end().status == 0  # it had less to do than the first time
            continue
        second = subject.run()
        first.signal(signal.SIGCONT)
        both = [first.end(), second]
        why = f"{stage}, the first {held}:\n" + "\n".join(ended.told for ended in both)
        assert any(ended.status == 0 for ended in both), why
        for ended in both:
            assert ended.status == 0 or "another process is at work on" in ended.err, why
        subject.compare(held)
    tried("two at once", stage, len(chosen))
