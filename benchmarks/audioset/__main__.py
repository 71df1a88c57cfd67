"""Every pooling family on AudioSet: settings chosen on the hold-out, scores on the eval clips.

    python -m benchmarks.audioset --raw train=DIR --raw eval=DIR

1. Each family is trained with each of the preset's trials; the trial with the best hold-out GAP is the family's.
2. The five families that are best on the hold-out are trained with two more seeds.
3. The chosen runs predict the eval clips, which have chosen nothing until then, and are scored.
4. The families' runs are blended with weights tuned on half of the hold-out; a model is distilled from the blend; the
   blend is bundled with its weights as float32, float16 and int8.

Writes audioset_trials.csv (every trial), audioset.csv (every chosen run), audioset_blends.csv and a picture of both,
audioset.svg, to benchmarks/results, and prints the tables, with mean and spread (standard deviation) over the seeds. It
can be stopped and run again: finished runs are skipped, a stopped one goes on where it was. Several runs are trained at
once, each with its share of the processors: examples a second and training times are those of one run beside others.
"""

import csv
import dataclasses
import json
import os
import statistics
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import tyro
from tqdm import tqdm

from benchmarks.audioset.blends import make as blends_of
from benchmarks.audioset.picture import draw
from benchmarks.audioset.runs import Run, stage, train
from benchmarks.machine import machine
from pipeline.config import POOLING
from pipeline.presets import audioset

RESULTS = Path(__file__).parent.parent / "results"
SEEDED = 5
"""Families that are trained with more seeds."""
SEEDS = (0, 1, 2)
METRICS = {"gap": "GAP@20", "map_all_kept": "MAP", "map": "MAP@20", "hit_at_one": "Hit@1", "perr": "PERR"}


@dataclasses.dataclass(frozen=True)
class Flags:
    raw: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """SPLIT=DIR_OR_GLOB, as for ingest."""
    families: tuple[str, ...] = tuple(POOLING)
    """Families to train; the others' finished runs still count."""
    workers: int = max(len(os.sched_getaffinity(0)), 1)
    """Runs trained at once."""


def main() -> None:
    flags = tyro.cli(Flags, description=__doc__)
    stage("ingest", *(token for item in flags.raw for token in ("--raw", item)))
    trials = [Run(family, trial) for trial in audioset.TRIALS for family in POOLING]
    train([run for run in trials if run.family in flags.families], flags.workers)
    trials = _complete([run for run in trials if run.finished])
    chosen = _choose(trials)
    best = sorted(chosen, key=_holdout_gap, reverse=True)[:SEEDED]
    seeded = [dataclasses.replace(run, seed=seed) for run in best for seed in SEEDS[1:]]
    train([run for run in seeded if run.family in flags.families], flags.workers)
    final = chosen + [run for run in seeded if run.finished]
    _write("audioset_trials.csv", [_trial_row(run) for run in trials])
    rows = [_score(run) for run in tqdm(sorted(final, key=lambda run: (run.family, run.seed)), unit=" runs")]
    _write("audioset.csv", rows)
    blends = blends_of(sorted(chosen, key=lambda run: run.family), best[0])
    _write("audioset_blends.csv", blends)
    draw(rows, blends, RESULTS / "audioset.svg")
    print(f"{_table(rows)}\n\n{_table_of_blends(blends)}")
    print(f"\n{machine()}")


def _complete(finished: list[Run]) -> list[Run]:
    """Those of families that have finished all trials: only these are compared."""
    count = Counter(run.family for run in finished)
    return [run for run in finished if count[run.family] == len(audioset.TRIALS)]


def _choose(trials: list[Run]) -> list[Run]:
    """The best trial of each family, by hold-out GAP."""
    families = dict.fromkeys(run.family for run in trials)
    return [max((run for run in trials if run.family == family), key=_holdout_gap) for family in families]


def _holdout_gap(run: Run) -> float:
    return run.summary["best"]["gap"]


def _score(run: Run) -> dict[str, Any]:
    path = str(run.folder)
    stage("infer", "--run", path)
    scores = json.loads(stage("evaluate", "--run", path, "--split", "eval", "--json"))
    summary = run.summary
    return {
        "family": run.family,
        "trial": run.trial,
        "seed": run.seed,
        **{name: round(scores[name], 5) for name in METRICS},
        "holdout_gap": round(summary["best"]["gap"], 5),
        "parameters": summary["parameters"],
        "training_seconds": round(summary["seconds"]),
        "examples_per_second": round(summary["examples_per_second"]),
    }


def _trial_row(run: Run) -> dict[str, Any]:
    summary = run.summary
    return {
        "family": run.family,
        "trial": run.trial,
        "holdout_gap": round(summary["best"]["gap"], 5),
        "holdout_map": round(summary["best"]["map"], 5),
        "best_step": summary["best"]["step"],
        "steps": summary["steps"],
        "parameters": summary["parameters"],
        "training_seconds": round(summary["seconds"]),
    }


def _table(rows: list[dict[str, Any]]) -> str:
    """One line a family, the best first."""
    families = sorted({row["family"] for row in rows}, key=lambda family: -_mean(rows, family, "gap"))
    titles = ["model", *METRICS.values(), "seeds", "trial", "parameters", "training", "examples/s"]
    lines = [f"| {' | '.join(titles)} |", f"|{' --- |' * len(titles)}"]
    for family in families:
        own = [row for row in rows if row["family"] == family]
        scores = []
        for name in METRICS:
            values = [row[name] for row in own]
            spread = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
            scores.append(f"{statistics.mean(values):.4f}{spread}")
        seconds = statistics.mean(row["training_seconds"] for row in own)
        speed = statistics.mean(row["examples_per_second"] for row in own)
        about = [str(len(own)), own[0]["trial"], f"{own[0]['parameters'] / 1e6:.1f} M", f"{seconds / 60:.1f} min"]
        lines.append(f"| {' | '.join([f'`{family}`', *scores, *about, f'{speed:,.0f}'])} |")
    return "\n".join(lines)


def _table_of_blends(rows: list[dict[str, Any]]) -> str:
    titles = ["made of them", *METRICS.values(), "parameters", "bundle"]
    lines = [f"| {' | '.join(titles)} |", f"|{' --- |' * len(titles)}"]
    for row in rows:
        scores = [f"{row[name]:.4f}" for name in METRICS]
        size = f"{row['bytes'] / 1e6:.0f} MB" if row["bytes"] else ""
        lines.append(f"| {row['name']} | {' | '.join(scores)} | {row['parameters'] / 1e6:.1f} M | {size} |")
    return "\n".join(lines)


def _mean(rows: list[dict[str, Any]], family: str, name: str) -> float:
    return statistics.mean(row[name] for row in rows if row["family"] == family)


def _write(name: str, rows: list[dict[str, Any]]) -> None:
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / name).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
