"""The stage `download` over loopback against `curl` for the same files: speed and peak memory.

    python -m benchmarks.download

Both read the same number of files at a time from the same server. curl only stores them. `download` knows their md5 and
verifies it, asks for their sizes first, and waits until they are on the disk; its whole process counts, from the start
of Python on. Rounds are interleaved, the medians are printed.
"""

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import shutil
import statistics
import string
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import tyro

from benchmarks.figures import Common, Figure, interleaved, show

ROOT = Path(__file__).parent.parent


@dataclasses.dataclass(frozen=True)
class Flags(Common):
    gigabytes: float = 4.0
    """All files together."""
    files: int = 32
    """At most 676."""
    workers: int = 8
    """Transfers at a time, of both."""
    folder: Path = Path(tempfile.gettempdir())
    """Where the files lie and go: twice their size has to be free."""


def main() -> None:
    flags = tyro.cli(Flags, description=__doc__)
    if shutil.which("curl") is None:
        raise SystemExit("there is no curl on this machine, and without it nothing to compare with: install it")
    with tempfile.TemporaryDirectory(dir=flags.folder) as name:
        folder = Path(name)
        names = _make(folder / "mirror", flags)
        server = subprocess.Popen(
            [sys.executable, str(ROOT / "benchmarks" / "file_server.py"), str(folder / "mirror")],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            url = f"http://127.0.0.1:{int(server.stdout.readline())}"
            commands = {"download": _download(url, folder, flags), "curl": _curl(url, names, folder, flags)}
            memory: dict[str, list[int]] = {who: [] for who in commands}

            def transfer(who: str) -> None:
                shutil.rmtree(folder / "out", ignore_errors=True)
                (folder / "out").mkdir()
                memory[who].append(_peak(commands[who]))
                _check(folder, len(names), flags)

            seconds = interleaved(flags.rounds, {who: functools.partial(transfer, who) for who in commands})
        finally:
            server.kill()
            server.wait()
    what = f"{flags.gigabytes:g} GB in {flags.files} files, {flags.workers} at a time"
    figures = [Figure("transfer", who, 1e3 * flags.gigabytes / taken, "MB/s") for who, taken in seconds.items()]
    figures.append(Figure("of curl", "download", seconds["curl"] / seconds["download"], "share"))
    figures += [Figure("peak memory", who, statistics.median(peaks) / 1e6, "MB") for who, peaks in memory.items()]
    show(figures, flags.json, what)


def _make(mirror: Path, flags: Flags) -> list[str]:
    """Random files below 2/frame/train, and their plan."""
    letters = string.ascii_lowercase
    names = [f"train{letters[n // 26]}{letters[n % 26]}.tfrecord" for n in range(flags.files)]
    train = mirror / "2" / "frame" / "train"
    train.mkdir(parents=True)
    plan = {}
    for name in names:
        digest, left = hashlib.md5(usedforsecurity=False), int(flags.gigabytes * 1e9 / len(names))
        with (train / name).open("wb") as file:
            while left:
                piece = os.urandom(min(left, 1 << 24))
                file.write(piece)
                digest.update(piece)
                left -= len(piece)
        plan[name] = digest.hexdigest()
    (mirror / "2" / "download_plans").mkdir()
    (mirror / "2" / "download_plans" / "frame_train.json").write_text(json.dumps({"files": plan}))
    return names


def _download(url: str, folder: Path, flags: Flags) -> list[str]:
    places = ["--data-dir", str(folder / "out")]
    what = ["--preset", "youtube8m", "--splits", "train", "--mirror", url, "--workers", str(flags.workers)]
    return [sys.executable, "-m", "pipeline.download", *what, *places]


def _curl(url: str, names: list[str], folder: Path, flags: Flags) -> list[str]:
    urls = [f"{url}/2/frame/train/{name}" for name in names]
    parallel = ["--parallel", "--parallel-immediate", "--parallel-max", str(flags.workers)]
    return ["curl", "--silent", "--fail", *parallel, "--remote-name-all", "--output-dir", str(folder / "out"), *urls]


def _peak(command: list[str]) -> int:
    """Run it; the most bytes that the process had in memory."""
    peak = 0
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=said)
        while process.poll() is None:
            # Its own record: the system's record of a child begins with the memory of its parent.
            with contextlib.suppress(OSError):
                status = Path(f"/proc/{process.pid}/status").read_text()
                peak = max(peak, *(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")), 0)
            time.sleep(0.02)
        if process.returncode:
            said.seek(0)
            raise SystemExit(f"{command[0]} failed: {said.read().decode(errors='replace')[-2000:]}")
    return peak * 1024


def _check(folder: Path, count: int, flags: Flags) -> None:
    files = list((folder / "out").rglob("*.tfrecord"))
    if len(files) != count or sum(file.stat().st_size for file in files) < flags.gigabytes * 1e9 - count:
        raise SystemExit(f"only {len(files)} of {count} files arrived whole")


if __name__ == "__main__":
    main()
