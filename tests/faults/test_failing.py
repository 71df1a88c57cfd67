"""Stages that the disk fails: they end with one line that says what to do, and then go on from there."""

import random
import re

import pytest
from faults.same import content, differences
from faults.stages import Ended, Fault
from faults.subjects import OTHERS, STAGES, Subject, tries

FAILURES = ("ENOSPC", "EIO", "EMFILE")
"""From a call on: a full disk; one that refuses every change; no more files can be opened."""
HARMLESS = ("short", "EINTR")
"""From a call on: reading and writing do half of what is asked; every second call is interrupted by a signal."""
DISPENSABLE = r"/\.|/download|/priors-"
"""What a stage may end well without writing, or deleting: locks, and what spares it work the next time."""
CHEAP = ("synthesize", "submit", "evaluate")
TRIED = 8
"""Places of a stage at which the long form begins each failure, at most."""


def fail(subject: Subject, fault: Fault) -> Ended:
    """Run a stage; assert that it tells the failure in one line, or does without what failed."""
    ended = subject.run(fault)
    where = f"{subject.name}, {fault}: {ended.told}"
    assert ended.status in (0, 1), where
    if ended.status == 0:
        found = differences(content(subject.folder), subject.expected)
        assert not [line for line in found if not re.search(DISPENSABLE, line)], where
        assert subject.name != "evaluate" or ended.out == subject.undisturbed.out, where
    return ended


def is_well_told(ended: Ended, subject: Subject) -> bool:
    """Whether the error is one line with a path; bars of progress may stand before it."""
    errors = [line for line in ended.err.splitlines() if line.startswith("error: ")]
    return "Traceback" not in ended.err and len(errors) == 1 and str(subject.folder) in errors[0]


@pytest.mark.wide
@pytest.mark.parametrize("stage", CHEAP)
def test_a_stage_that_the_disk_fails_again_and_again_goes_on(stage, subject, tried):
    subject = subject(stage)
    chance = random.Random(stage)
    faults = [Fault(chance.randint(1, subject.undisturbed.calls), what) for what in FAILURES]
    ended = [fail(subject, fault) for fault in faults]
    subject.check(*faults)
    tried("failing, again and again", stage, len(faults))
    told(subject, *zip(faults, ended))


@pytest.mark.parametrize("what", HARMLESS)
@pytest.mark.parametrize(
    "stage",
    [
        *CHEAP,
        *(pytest.param(stage, marks=pytest.mark.long) for stage in [*STAGES, *OTHERS] if stage not in CHEAP),
    ],
)
def test_a_stage_takes_what_a_disk_may_do(stage, what, subject, tried):
    """To read and write less than asked, and to be interrupted, is no failure."""
    subject = subject(stage)
    ended = subject.run(Fault(1, what))
    assert ended.status == 0, ended.told
    subject.compare(Fault(1, what))
    tried(what, stage, 1)


@pytest.mark.long
@pytest.mark.parametrize("what", FAILURES)
@pytest.mark.parametrize("stage", [*STAGES, *OTHERS])
def test_a_stage_that_the_disk_fails_anywhere_goes_on(stage, what, subject, tried):
    subject = subject(stage)
    places = range(1, subject.undisturbed.calls + 1)
    chosen = sorted({1, *random.Random(stage + what).sample(places, min(tries(stage, TRIED), len(places)))})
    all_ended = []
    for fault in (Fault(place, what) for place in chosen):
        subject.reset()
        all_ended.append((fault, fail(subject, fault)))
        subject.check(fault)
    tried(what, stage, len(chosen))
    told(subject, *all_ended)


def told(subject: Subject, *all_ended: tuple[Fault, Ended]) -> None:
    """Assert that each failure is told well."""
    badly = [
        f"{fault}: {ended.told}" for fault, ended in all_ended if ended.status and not is_well_told(ended, subject)
    ]
    assert not badly, "\n".join([subject.name, *badly])
