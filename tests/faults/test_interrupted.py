"""Stages that are told to stop, by Ctrl-C or by a system that shuts down, stop, and then go on."""

import random
import signal
import time

import pytest
from faults.stages import Ended, Fault
from faults.subjects import OTHERS, STAGES, Subject, tries

SIGNALS = (signal.SIGINT, signal.SIGTERM)
CHEAP = ("synthesize",)
TRIED = 6
"""Places, and moments, at which the long form interrupts a stage with each signal, at most."""


def check_stopped(ended: Ended, number: int, why: str) -> None:
    """Assert that a stage ended with the status and the line of a signal."""
    assert ended.status == 128 + number, f"{why}: {ended.told}"
    line = f"stopped by {signal.Signals(number).name}; the same command goes on from here"
    assert ended.err.splitlines()[-1].endswith(line) and ended.err.count("stopped by") == 1, f"{why}: {ended.told}"
    assert "Traceback" not in ended.err, f"{why}: {ended.told}"


def interrupt(subject: Subject, number: int, place: int) -> Fault:
    """Send a signal to the stage at a call."""
    fault = Fault(place, f"signal {int(number)}")
    ended = subject.run(fault)
    if ended.calls >= place:  # what was done before may leave less to do
        check_stopped(ended, number, f"{subject.name}, {fault}")
    return fault


def interrupt_later(subject: Subject, number: int, seconds: float) -> bool:
    """Send a signal to the stage and the processes that it started; return whether it was still running."""
    running = subject.start()
    if running.has_begun():
        time.sleep(seconds)
        running.signal(number)
    ended = running.end()
    if ended.status:
        check_stopped(ended, number, f"{subject.name}, {signal.Signals(number).name} after {seconds:.2f} seconds")
    return ended.status != 0


@pytest.mark.parametrize("stage", CHEAP)
def test_a_stage_that_is_interrupted_again_and_again_goes_on(stage, subject, tried):
    subject = subject(stage)
    chance = random.Random(stage)
    faults = [interrupt(subject, number, chance.randint(1, subject.undisturbed.calls // 2)) for number in SIGNALS]
    subject.check(*faults)
    tried("interrupted, again and again", stage, len(faults))


@pytest.mark.long
@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("stage", [*STAGES, *OTHERS])
def test_a_stage_that_is_interrupted_anywhere_goes_on(stage, number, subject, tried):
    subject = subject(stage)
    chance = random.Random(f"{stage} {number}")
    places = range(1, subject.undisturbed.calls + 1)
    count = min(tries(stage, TRIED), len(places))
    for place in sorted(chance.sample(places, count)):
        subject.reset()
        subject.check(interrupt(subject, number, place))
    tried(f"{number.name} at a call", stage, count)
    subject.reset()
    began = time.monotonic()
    subject.run()
    whole = time.monotonic() - began
    struck = 0
    for _ in range(count):
        subject.reset()
        struck += interrupt_later(subject, number, chance.uniform(0, whole))
        subject.check()
    tried(f"{number.name} at a moment", stage, struck)
