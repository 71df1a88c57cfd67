"""Settings tried on AudioSet's hold-out, the same number for each family; the best become the preset's.

    python -m benchmarks.audioset_trials --raw train=DIR --raw eval=DIR

Trains every trial (finished ones are skipped), and writes benchmarks/results/audioset_trials.csv. The eval split is
neither read nor scored here: it must not choose anything.
"""

import csv
import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import tyro

from pipeline.artifacts import Places

RESULTS = Path(__file__).parent / "results" / "audioset_trials.csv"

_BASE = {
    "training.batch-size": "128",
    "training.learning-rate": "1e-3",
    "training.decay": "cosine",
    "training.warmup-examples": "5000",
    "training.ema-half-life": "300",
    "training.epochs": "30",
    "training.patience": "4",
    "classifier.hidden": "512",
}
_LAYERS = {
    "classifier.gating": "none",
    "classifier.head": "logistic",
    "classifier.hidden": "0",
    "classifier.head-dropout": "0.5",
    "training.mixup": "1.0",
}
TRIALS = {
    "plain": {"training.epochs": "8"},
    "mixup": {"training.mixup": "0.4"},
    "one-layer": {**_LAYERS, "classifier.head-hidden": "1024"},
    "two-layers": {**_LAYERS, "classifier.head-hidden": "1024 1024"},
    "two-layers-no-mixup": {**_LAYERS, "classifier.head-hidden": "1024 1024", "training.mixup": "0.0"},
    "two-layers-light-mixup": {**_LAYERS, "classifier.head-hidden": "1024 1024", "training.mixup": "0.2"},
    "experts-dropout": {
        "training.mixup": "0.4",
        "classifier.head-hidden": "1024",
        "classifier.head-dropout": "0.5",
    },
    "two-layers-gated": {**_LAYERS, "classifier.head-hidden": "1024 1024", "classifier.output-gating": "context"},
    "two-layers-dropout": {**_LAYERS, "classifier.head-hidden": "1024 1024", "classifier.dropout": "0.3"},
}
"""What each trial changes of the base; the same for every family."""
FAMILIES = ("average", "netvlad")


@dataclasses.dataclass(frozen=True)
class Flags:
    raw: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """SPLIT=DIR_OR_GLOB, as for ingest."""
    families: tuple[str, ...] = FAMILIES


def main() -> None:
    flags = tyro.cli(Flags, description=__doc__)
    _stage("ingest", *(token for item in flags.raw for token in ("--raw", item)))
    rows = []
    for family in flags.families:
        for trial, changes in TRIALS.items():
            settings = {**_BASE, **changes}
            overrides = [token for name, value in settings.items() for token in (f"--{name}", *value.split())]
            run = f"trial-{family}-{trial}"
            _stage("train", "--model", family, "--run", run, *overrides)
            summary = json.loads((Places.from_environment().run("audioset", run) / "summary.json").read_text())
            rows.append(
                {
                    "family": family,
                    "trial": trial,
                    "holdout_gap": round(summary["best"]["gap"], 4),
                    "holdout_map": round(summary["best"]["map"], 4),
                    "best_step": summary["best"]["step"],
                    "steps": summary["steps"],
                    "parameters": summary["parameters"],
                    "training_seconds": round(summary["seconds"]),
                    "settings": " ".join(overrides),
                }
            )
            _write(rows)


def _stage(stage: str, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", f"pipeline.{stage}", "--preset", "audioset", *arguments], check=True)


def _write(rows: list[dict]) -> None:
    RESULTS.parent.mkdir(exist_ok=True)
    with RESULTS.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
