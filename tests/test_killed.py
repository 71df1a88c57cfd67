"""Stages killed or stopped at random moments and run again end with the files of a run that nothing disturbed."""

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from fixtures.support import ROOT, stage_command, stage_environment

MODEL = ("--model", "netvlad")


def start(folder: Path, stage: str, *arguments: object) -> subprocess.Popen:
    return subprocess.Popen(
        stage_command(stage, *arguments),
        cwd=ROOT,
        env=stage_environment(folder),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def kill(process: subprocess.Popen, number: signal.Signals = signal.SIGKILL) -> bool:
    """Whether it was still running."""
    running = process.poll() is None
    if running:
        os.kill(process.pid, number)
    status = process.wait()
    assert not running or number == signal.SIGKILL or status == 128 + number
    return running


def finish(folder: Path, stage: str, *arguments: object) -> None:
    result = subprocess.run(
        stage_command(stage, *arguments), cwd=ROOT, env=stage_environment(folder), capture_output=True, text=True
    )
    assert result.returncode == 0, f"{stage}:\n{result.stdout}\n{result.stderr}"


def results(folder: Path) -> dict[str, bytes]:
    """The files that must not differ: data, index, predictions. What is made of these is a function of them."""
    patterns = ("data/**/*.tfrecord", "data/**/index.parquet", "runs/**/part-*.parquet")
    return {str(path.relative_to(folder)): path.read_bytes() for pattern in patterns for path in folder.glob(pattern)}


@pytest.fixture(scope="module")
def undisturbed(tiny_preset, tmp_path_factory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("undisturbed")
    for stage, more in (("synthesize", ()), ("ingest", ()), ("train", MODEL), ("infer", MODEL)):
        finish(folder, stage, "--preset", tiny_preset, *more)
    files = results(folder)
    assert {Path(name).suffix for name in files} == {".tfrecord", ".parquet"}
    return files


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.long), pytest.param(2, marks=pytest.mark.long)])
def test_killed_stages_go_on(tiny_preset, undisturbed, tmp_path, seed):
    chance = random.Random(seed)
    preset = ("--preset", tiny_preset)
    killed = 0
    for stage in ("synthesize", "ingest"):
        for _ in range(2):
            process = start(tmp_path, stage, *preset)
            time.sleep(chance.uniform(0.3, 1.5))
            killed += kill(process)
        finish(tmp_path, stage, *preset)
    assert killed, "nothing was running any more when it was to be killed"

    checkpoint = tmp_path / "runs" / "tiny" / "netvlad" / "checkpoint.npz"
    for number in (signal.SIGKILL, signal.SIGTERM):
        stamp = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        process = start(tmp_path, "train", *preset, *MODEL)
        # At a random moment after the next checkpoint: in the middle of an epoch, or of storing.
        deadline = time.monotonic() + 120
        while process.poll() is None and (not checkpoint.exists() or checkpoint.stat().st_mtime_ns == stamp):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(chance.uniform(0.0, 0.4))
        assert kill(process, number), "training ended before it could be killed"
    finish(tmp_path, "train", *preset, *MODEL)

    parts = tmp_path / "runs" / "tiny" / "netvlad" / "predictions"
    process = start(tmp_path, "infer", *preset, *MODEL)
    deadline = time.monotonic() + 120
    while process.poll() is None and not list(parts.glob("*/part-*.parquet")):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    kill(process)
    finish(tmp_path, "infer", *preset, *MODEL)

    again = results(tmp_path)
    assert again.keys() == undisturbed.keys()
    assert [name for name in again if again[name] != undisturbed[name]] == []
    leftovers = [path for path in tmp_path.rglob(".*part*") if path.exists()]
    assert leftovers == []
