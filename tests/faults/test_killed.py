"""Stages that are killed at system calls which change the disk end, when run again, as if nothing had happened."""

import os
import random
import subprocess
from pathlib import Path

import pytest
from faults.places import PLACES, items, parts, spread
from faults.same import content, differences
from faults.stages import NONE, PRESET, Fault, fault_environment, read_calls
from faults.subjects import STAGES
from fixtures.support import ROOT, stage_command, stage_environment

QUICK = {"train": 2, "soup": 1, "infer": 2, "export": 1, "ingest": 2, "threshold": 2}
"""How often a stage is killed in the quick form, where that takes long; else 4 times."""


def fault_at(place: int, call: str, chance: random.Random) -> Fault:
    """Before the call, after it, or in its middle, where it writes."""
    return Fault(place, chance.choice(["kill before", "kill after", *(["kill half"] if "write" in call else [])]))


@pytest.mark.parametrize(
    "stage",
    [
        *(stage for stage in STAGES if stage != "report"),
        "download",
        "pack",
        *(pytest.param(stage, marks=pytest.mark.wide) for stage in ("extract", "predict", "predict in windows")),
    ],
)
def test_a_stage_that_is_killed_again_and_again_goes_on(stage, subject, tried):
    """Killed at a few places, one after the other, each time by where the last one left it."""
    subject = subject(stage)
    chance = random.Random(stage)
    faults: list[Fault] = []
    for _ in range(QUICK.get(stage, 4)):
        place = chance.randrange(subject.undisturbed.calls)
        fault = fault_at(place + 1, subject.undisturbed.places[place][0], chance)
        ended = subject.run(fault)
        assert ended.status in (0, -9), f"{stage}, {fault}: {ended.told}"
        faults += [fault] * (ended.status == -9)
        if ended.status == 0:  # there was less to do than the first time
            break
    assert faults
    subject.check(*faults)
    tried("killed, again and again", stage, len(faults))


@pytest.mark.long
@pytest.mark.parametrize(("stage", "part"), items())
def test_a_stage_that_is_killed_anywhere_goes_on(stage, part, subject, tried):
    subject = subject(stage)
    killed, lost = 0, []
    for place in spread(subject.undisturbed.calls, PLACES[stage], random.Random(stage))[part :: parts(stage)]:
        subject.reset()
        call, path = subject.undisturbed.places[place - 1]
        fault = fault_at(place, call, random.Random(f"{stage} {place}"))
        ended = subject.run(fault)
        if ended.status == 0 and place > ended.calls:  # how many checkpoints there are depends on time
            continue
        assert ended.status == -9, f"{stage}, {fault}: {ended.told}"
        killed += 1
        try:
            subject.check(fault)
        except AssertionError as error:
            lost.append(f"{call} {path}: {error}")
    tried("killed", stage, killed)
    tried("killed, and something was lost or different", stage, sum("left over: " not in each for each in lost))
    tried("killed, and something was left over", stage, sum("left over: " in each for each in lost))
    assert killed
    assert not lost, f"{len(lost)} of {killed}:\n" + "\n".join(lost)


@pytest.mark.long
@pytest.mark.parametrize("stage", ["synthesize", "ingest"])
def test_a_command_whose_workers_are_killed_with_it_goes_on(stage, subject, server, tmp_path, tried):
    """As a user runs it, with processes that it starts; a call of any of them may be the one."""
    subject = subject(stage)

    def run(fault: Fault) -> tuple[int, int]:
        scratch = Path(os.path.realpath(tmp_path), str(len(list(tmp_path.iterdir()))))
        scratch.mkdir()
        environment = stage_environment(subject.folder) | fault_environment(subject.folder, scratch, fault)
        environment |= {"LD_PRELOAD": str(server.library), "FAULTS_COUNTING": "begin"}
        command = stage_command(stage, "--preset", PRESET, "--workers", 2)
        ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, start_new_session=True)
        return ended.returncode, read_calls(scratch)

    status, calls = run(NONE)
    assert status == 0
    assert calls > subject.undisturbed.calls / 2  # those of its workers are among them
    assert not differences(content(subject.folder), subject.expected)
    subject.reset()
    chance = random.Random(stage)
    faults = [Fault(chance.randint(1, calls // 2), what) for what in ("kill before", "kill after", "kill half")]
    killed = sum(run(fault)[0] == -9 for fault in faults)
    assert killed
    subject.check(*faults)
    tried("killed with the processes that it starts", stage, killed)
