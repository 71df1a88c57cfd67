"""Benchmarks that read what a command prints, or run where nobody looks on, at small size."""

import json
import os
import subprocess
import sys

import pytest
from fixtures.support import ROOT

from benchmarks.stages import timed
from pipeline.cli.progress import StageProgress


def test_stages_are_timed_by_what_run_all_prints(capsys):
    times = iter([0.0, 0.0, 1.0, 1.0, 4.0, 4.0, 9.0, 9.0])
    progress = StageProgress(3, lambda: next(times))
    for name in ("ingest", "train --model average --run a", "submit"):
        progress.begin(name)
    progress.end()
    lines = capsys.readouterr().out.splitlines(keepends=True)
    came = [(float(number), line) for number, line in enumerate(lines, 10)]
    seconds = timed(came, 8.0)
    assert list(seconds) == ["start", "ingest", "train average", "submit"]
    assert sum(seconds.values()) == came[-1][0] - 8 and all(taken > 0 for taken in seconds.values())


@pytest.mark.long
def test_what_runs_on_a_gpu_runs_without_one(tiny_preset, tmp_path):
    command = [sys.executable, "-m", "benchmarks.on_gpu", "--demo", str(tiny_preset), "--families", "average", "dbof"]
    command += ["--batch", "4", "--frames", "8", "--rounds", "1", "--json", str(tmp_path / "figures.json")]

    def run(*more: str) -> subprocess.CompletedProcess:
        hidden = {"PYTHONPATH": str(tmp_path / "hidden")}
        return subprocess.run(
            [*command, *more], cwd=ROOT, env=os.environ | hidden, capture_output=True, text=True, check=True
        )

    (tmp_path / "hidden" / "tensorflow").mkdir(parents=True)  # TensorFlow is not there
    (tmp_path / "hidden" / "tensorflow" / "__init__.py").write_text("raise ModuleNotFoundError('tensorflow')")
    told = run().stdout
    found = {each["case"]: each["value"] for each in json.loads((tmp_path / "figures.json").read_text())["figures"]}
    stages = ("ingest", "train average", "train netvlad", "ensemble", "submit", "evaluate", "report")
    assert all(found[f"tiny: {stage}"] > 0 for stage in stages)
    for family in ("average", "dbof"):
        assert found[f"{family}, bfloat16, B=4, cpu: examples"] > 0
    assert "No GPU here" in told and "no time was left" not in told
    assert "no time was left for demo, average, dbof: give more --seconds" in run("--seconds", "0.1").stdout
