"""Run all stages in a fresh folder, as a user does, and time each of them."""

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
_BEGINS = re.compile(r"Stage \d+ of \d+: (.+)")


def run_all(folder: Path, arguments: Sequence[str], timeout: float | None = None) -> dict[str, float]:
    """Return the seconds of each stage of `run_all`, by its name and model; "start" is what comes before the first.

    Everything is written below `folder`, which is made.

    Raises:
        SystemExit: a stage failed; with the end of its log.
        subprocess.TimeoutExpired: it took longer than that; it is killed.
    """
    places = {f"PIPELINE_{name.upper()}": str(folder / name) for name in ("data", "runs", "submissions", "reports")}
    folder.mkdir(parents=True)
    log = folder / "log"
    began = time.perf_counter()
    with log.open("w") as errors:
        command = [sys.executable, "-u", "-m", "pipeline.run_all", *arguments]
        with subprocess.Popen(
            command, cwd=ROOT, env=os.environ | places, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process:
            assert process.stdout is not None
            limit = threading.Timer(timeout or threading.TIMEOUT_MAX, process.kill)
            limit.daemon = True
            limit.start()
            stages = timed(((time.perf_counter(), line) for line in process.stdout), began)
            process.wait()
            limit.cancel()
    if timeout and time.perf_counter() - began >= timeout:
        raise subprocess.TimeoutExpired(command, timeout)
    if process.returncode:
        raise SystemExit(f"{list(stages)[-1]} failed:\n{log.read_text()[-2000:]}")
    return stages


def timed(lines: Iterable[tuple[float, str]], began: float) -> dict[str, float]:
    """Return the seconds of each stage, from the lines that `run_all` prints and the times at which they came."""
    stages, current, now = {}, "start", began
    for now, line in lines:
        if begins := _BEGINS.fullmatch(line.rstrip("\n")):
            stages[current], began = now - began, now
            current = _name(begins[1].split())
    return stages | {current: now - began}


def _name(words: Sequence[str]) -> str:
    """Return a stage, and the model where it is about one."""
    return " ".join([words[0], *([words[words.index("--model") + 1]] if "--model" in words else [])])
