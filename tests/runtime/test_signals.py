"""Signals end a command at once, or at the end of what must not be cut short; with one line, and their own status."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fixtures.support import ROOT, stage_command

from pipeline.runtime import signals
from pipeline.runtime.signals import Stopped

LINE = "stopped by {}; the same command goes on from here\n"
BUSY = "import sys; sys.argv = ['-m']; import pipeline; sys.argv = ['']; import os, time\n"
"""The beginning of a command: `python -m pipeline.<stage>`."""


@pytest.fixture
def ended(monkeypatch):
    """The signals that would have ended this process."""
    found = []
    monkeypatch.setattr(signals, "_end", found.append)
    return found


def start(script: str, *before: str) -> subprocess.Popen:
    """Start a script as a command, and wait for its first line."""
    command = [*before, sys.executable, "-c", BUSY + script]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "begun\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_command_at_once_whatever_it_does(number):
    """Inside a block that clears up, too; what was printed before is not lost."""
    process = start("print('printed'); os.write(1, b'begun\\n')\ntry: time.sleep(60)\nfinally: print('cleared up')")
    process.send_signal(number)
    assert process.communicate(timeout=10) == ("printed\n", LINE.format(number.name))
    assert process.returncode == 128 + number


def test_a_signal_ends_a_command_whose_main_thread_is_busy_in_compiled_code():
    work = "import numpy as np; a = np.ones((1 << 12, 1 << 12), np.float32)\nprint('begun', flush=True)\n"
    process = start(work + "for _ in range(100): np.linalg.eigvals(a)")
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=10)[1] == LINE.format("SIGTERM")
    assert process.returncode == 143


@pytest.mark.parametrize("seconds", [0.0, 0.1, 0.3])
def test_a_signal_in_the_first_moments_leaves_no_trace_but_the_line(seconds):
    """From the moment on that the handlers are there: the stage itself has not been imported yet."""
    process = subprocess.Popen(
        stage_command("train", "--help"), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    while not _catches_hangups(process.pid):
        assert process.poll() is None
        time.sleep(0.002)
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=10)[1] == LINE.format("SIGINT")
    assert process.returncode == 130


def _catches_hangups(process: int) -> bool:
    """Whether the last one of the handlers is there."""
    status = dict(
        line.split(":\t") for line in Path(f"/proc/{process}/status").read_text().splitlines() if ":\t" in line
    )
    return bool(int(status["SigCgt"], 16) & 1 << signal.SIGHUP - 1)


def test_what_is_ignored_stays_ignored():
    """As under `nohup`."""
    process = start("print('begun', flush=True); time.sleep(60)", "sh", "-c", 'trap "" HUP; exec "$@"', "sh")
    process.send_signal(signal.SIGHUP)
    time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=10)[1] == LINE.format("SIGTERM")


@pytest.mark.skipif(not shutil.which("unshare"), reason="needs unshare")
def test_process_1_of_a_container_ends_too():
    try:
        process = start("print('begun', flush=True); time.sleep(60)", "unshare", "--user", "--pid", "--fork")
    except AssertionError:
        pytest.skip("no namespaces here")
    (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(child), signal.SIGTERM)
    assert process.communicate(timeout=10)[1] == LINE.format("SIGTERM")
    assert process.returncode == 143


def test_a_command_that_nobody_reads_from_ends_too():
    """A full pipe: the message cannot be written."""
    process = start("print('begun', flush=True)\nwhile True: sys.stderr.write('more' * 1000)")
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=10) == 130
    process.communicate()


def test_a_program_that_imports_the_pipeline_keeps_its_handlers():
    script = "import signal, pipeline.runtime.signals; print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)"
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert result.stdout == "True\n"


def test_a_block_that_holds_signals_ends_before_the_process_does(ended):
    done = []
    with pytest.raises(Stopped, match="143") as stopped, signals.held() as request:
        assert not request
        request.check()
        signals.receive(signal.SIGTERM)
        assert request and not ended
        done.append("work")
    assert done and not ended
    assert stopped.value.code == 143 and stopped.value.message == LINE.format("SIGTERM").strip()
    signals.receive(signal.SIGINT)
    assert ended == [signal.SIGINT]


def test_a_block_may_end_early(ended):
    with pytest.raises(Stopped), signals.held() as request:
        signals.receive(signal.SIGHUP)
        request.check()
        pytest.fail("it goes on")


def test_a_second_signal_ends_the_process_at_once(ended):
    with pytest.raises(Stopped), signals.held():
        signals.receive(signal.SIGTERM)
        signals.receive(signal.SIGINT)
        assert ended == [signal.SIGINT]


def test_without_a_signal_a_block_just_ends(ended):
    with signals.held() as request:
        pass
    assert not request and not ended


def test_a_block_that_takes_longer_than_its_grace_is_ended(ended):
    with pytest.raises(Stopped), signals.held(grace=0.01):
        signals.receive(signal.SIGTERM)
        for _ in range(1000):
            if ended:
                break
            time.sleep(0.01)
        assert ended == [signal.SIGTERM]


def test_a_block_that_ends_within_its_grace_is_left_alone(ended):
    with pytest.raises(Stopped), signals.held(grace=0.2) as request:
        signals.receive(signal.SIGTERM)
    request._late.join()
    assert not ended
