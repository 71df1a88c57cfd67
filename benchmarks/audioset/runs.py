"""Runs of the preset audioset as the benchmark trains them: each in a process of its own, several at once."""

import dataclasses
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tqdm import tqdm

from pipeline.artifacts.done import Done
from pipeline.artifacts.places import Places
from pipeline.cli.overrides import override_flags
from pipeline.config import to_dict
from pipeline.presets import audioset


@dataclasses.dataclass(frozen=True)
class Run:
    """One training of one family."""

    family: str
    trial: str
    seed: int = 0

    @property
    def name(self) -> str:
        return f"{self.family}-{self.trial}-{self.seed}"

    @property
    def folder(self) -> Path:
        return Places.from_environment().run("audioset", self.name)

    @property
    def summary(self) -> dict[str, Any]:
        return json.loads((self.folder / "summary.json").read_text(encoding="utf-8"))

    @property
    def finished(self) -> bool:
        return Done.read(self.folder) is not None

    def flags(self) -> list[str]:
        """What the trial overrides of the preset."""
        usual, wanted = audioset.experiment(self.family), audioset.experiment(self.family, self.trial)
        changes = [
            *override_flags("classifier", to_dict(usual.model.classifier), to_dict(wanted.model.classifier)),
            *override_flags("training", to_dict(usual.training), to_dict(wanted.training) | {"seed": self.seed}),
        ]
        return ["--model", self.family, "--run", self.name, *changes]


def train(runs: list[Run], workers: int) -> None:
    """Train what is not finished, `workers` runs at once, each with its share of the processors."""
    waiting = [run for run in runs if not run.finished]
    threads = str(max(len(os.sched_getaffinity(0)) // workers, 1))
    environment = {"TF_NUM_INTRAOP_THREADS": threads, "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": threads}
    with (
        tqdm(total=len(runs), initial=len(runs) - len(waiting), unit=" runs", desc="train") as bar,
        ThreadPoolExecutor(workers) as pool,
    ):
        for run in pool.map(lambda run: (stage("train", *run.flags(), **environment), run)[1], waiting):
            bar.update()
            summary = run.summary
            best = summary["best"]
            bar.write(f"{run.name}: hold-out GAP {best['gap']:.4f}, MAP {best['map']:.4f}, {summary['seconds']:.0f} s")


def train_one(run: Run, name: str, *changes: str) -> None:
    """Train a run's family with its trial's settings and what changes, under another name."""
    flags = run.flags()
    flags[flags.index("--run") + 1] = name
    stage("train", *flags, *changes)


def stage(stage: str, *arguments: str, **environment: str) -> str:
    """Run a stage on the preset; returns what it printed, which is shown where it fails."""
    command = [sys.executable, "-m", f"pipeline.{stage}", "--preset", "audioset", *arguments]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done.stdout
