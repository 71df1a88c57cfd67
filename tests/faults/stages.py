"""Stages in forked processes, with their system calls counted, disturbed, or neither.

A server process imports all that stages import, and starts nothing: no runtime of TensorFlow, no threads of Arrow. Each
stage is a fork of it, so that it costs what the stage does, and not the seconds of the imports.
"""

import contextlib
import ctypes
import importlib
import multiprocessing
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from fixtures.support import ROOT, stage_environment

from pipeline.cli.running import run_stage
from pipeline.runtime import signals

PRESET = Path(__file__).with_name("small.py")
LIMIT = 120
"""Seconds after which a stage counts as hanging."""


@dataclass(frozen=True)
class Fault:
    """What happens at a call: see calls.c."""

    at: int = 0
    what: str = ""

    def __str__(self) -> str:
        return f"{self.what} at call {self.at}"


NONE = Fault()


@dataclass(frozen=True)
class Ended:
    """A stage that has ended."""

    status: int
    """Exit status; negative: the signal that killed it."""
    out: str
    err: str
    calls: int
    places: list[tuple[str, str]] = field(repr=False)
    """Each call that changes what lies below the folder: its name and its path there."""

    @property
    def told(self) -> str:
        return f"status {self.status}\n{self.out}\n{self.err}"


def compile_library(folder: Path) -> Path:
    """Compile calls.c, and return the library."""
    library = folder / "calls.so"
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", library, Path(__file__).with_name("calls.c")], check=True)
    return library


def fault_environment(folder: Path, scratch: Path, fault: Fault) -> dict[str, str]:
    """Return the variables that calls.c reads; `scratch` is a folder for what it writes."""
    return {
        "FAULTS_BELOW": str(folder.resolve()),
        "FAULTS_STATE": str(scratch / "state"),
        "FAULTS_PLACES": str(scratch / "places"),
        "FAULTS_AT": str(fault.at),
        "FAULTS_DO": fault.what,
    }


def read_calls(scratch: Path) -> int:
    """Return the number of calls so far."""
    path = scratch / "state"
    content = path.read_bytes() if path.exists() else b""
    return struct.unpack_from("q", content)[0] if content else 0


class Running:
    """A stage in a process of its own, which leads a group."""

    def __init__(self, process, folder: Path):
        self.process, self.folder = process, folder

    def end(self) -> Ended:
        self.process.join(LIMIT)
        if self.process.exitcode is None:
            self.signal(signal.SIGKILL)
            self.process.join()
            raise AssertionError(f"it hangs:\n{(self.folder / 'err').read_text()}")
        status = self.process.exitcode
        self.process.close()
        out, err, places = (self._read(name) for name in ("out", "err", "places"))
        listed = [(line.partition("\t")[0], line.partition("\t")[2]) for line in places.splitlines()]
        return Ended(status, out, err, read_calls(self.folder), listed)

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def has_begun(self) -> bool:
        """Wait for the first call that is counted; return whether the process is still running then."""
        deadline = time.monotonic() + LIMIT
        while self.process.exitcode is None and not read_calls(self.folder):
            assert time.monotonic() < deadline, "it does not begin"
            time.sleep(0.01)
        return self.process.exitcode is None

    def is_held(self) -> bool:
        """Return whether the process is stopped by a signal; False if it has ended."""
        deadline = time.monotonic() + LIMIT
        while self.process.exitcode is None:
            assert time.monotonic() < deadline, "it neither stops nor ends"
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                if Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T":
                    return True
            time.sleep(0.01)
        return False

    def _read(self, name: str) -> str:
        path = self.folder / name
        return path.read_text(errors="replace") if path.exists() else ""


class Server:
    """Starts stages as forks of a process that has imported what they import."""

    def __init__(self, library: Path, scratch: Path):
        self.library, self.scratch = library, scratch
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["faults.preload", __name__])
        self.number = 0

    def start(self, folder: Path, stage: str, *arguments: object, fault: Fault = NONE) -> Running:
        """Start a stage with its places below a folder; calls that change what lies there are counted."""
        self.number += 1
        scratch = self.scratch / str(self.number)
        scratch.mkdir()
        faults = fault_environment(folder, scratch, fault)
        command = [stage, *map(str, arguments)]
        # Without git, which would be a program to start: calls that strike reading strike its libraries too.
        environment = {**stage_environment(folder), **faults, "PATH": "/nowhere"}
        process = self.context.Process(target=_run, args=(command, environment, str(self.library), str(scratch)))
        with _environment(PYTHONPATH=f"{ROOT}{os.pathsep}{ROOT / 'tests'}"):  # read when the server starts
            process.start()
        return Running(process, scratch)

    def run(self, folder: Path, stage: str, *arguments: object, fault: Fault = NONE) -> Ended:
        running = self.start(folder, stage, *arguments, fault=fault)
        ended = running.end()
        shutil.rmtree(running.folder)
        return ended


@contextlib.contextmanager
def _environment(**values: str):
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


# ---------------------------------------------------------------------------------------------- in the forked process


def _run(command: list[str], environment: dict[str, str], library: str, scratch: str) -> None:
    os.setsid()
    for descriptor, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(Path(scratch, name), os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # tests that run in the background ignore it
    signals.watch()  # as a command does at its very start
    ctypes.CDLL(library).faults_begin()
    os.environ.update(LD_PRELOAD=library, FAULTS_COUNTING="begun")  # for programs that it starts
    _main(command)


def _main(command: list[str]) -> None:
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)  # tracing takes longer than these few steps
    sys.argv = command
    run_stage(importlib.import_module(f"pipeline.{command[0]}").main)
