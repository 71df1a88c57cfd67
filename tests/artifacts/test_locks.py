"""Locks: one process at a time, whatever becomes of the folder meanwhile."""

import os
import shutil
import signal
import subprocess
import sys
import threading

import pytest
from fixtures.support import ROOT

from pipeline.artifacts.locks import locked
from pipeline.config.errors import StageError

HOLD = (
    "import sys, time\nfrom pathlib import Path\nfrom pipeline.artifacts.locks import locked\n"
    "with locked(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(60)\n"
)


def holder(place) -> subprocess.Popen:
    command = [sys.executable, "-c", HOLD, str(place)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_process_is_refused_and_told_who_holds_it(tmp_path):
    process = holder(tmp_path / "run")
    told = rf"another process is at work on .*run \(process {process.pid} on .+\); wait"
    with pytest.raises(StageError, match=told), locked(tmp_path / "run"):
        pass
    process.send_signal(signal.SIGKILL)
    process.wait()
    with locked(tmp_path / "run"):  # the lock of what is dead is no lock
        pass
    assert list(tmp_path.iterdir()) == []


def test_deleting_what_is_locked_does_not_open_it(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    with locked(folder):
        shutil.rmtree(folder)
        folder.mkdir()
        with pytest.raises(StageError, match="is at work on"), locked(folder):
            pass


def test_no_two_are_ever_inside(tmp_path):
    """Locks are deleted when they end: who comes just then must not hold a file that nobody sees any more."""
    inside, most, entered = [], [], []

    def enter() -> None:
        for _ in range(300):
            try:
                with locked(tmp_path / "run"):
                    inside.append(1)
                    most.append(len(inside))
                    inside.pop()
                    entered.append(1)
            except StageError:
                continue

    threads = [threading.Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1 and len(entered) > 20
