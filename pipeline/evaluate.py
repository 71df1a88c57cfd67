"""Score predictions, or a written CSV, against a labeled split: GAP@20, MAP, AUC, d', Hit@1, PERR, accuracy.

Reads runs/<preset>/*/predictions/ or a CSV, and the index; prints a table, or JSON; writes nothing.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from pipeline.artifacts.files import read_json
from pipeline.artifacts.places import find_run, list_scored
from pipeline.artifacts.predictions import list_predicted_splits
from pipeline.cli.flags import CommonFlags
from pipeline.cli.opening import open_index
from pipeline.cli.parsing import parse_flags
from pipeline.cli.paths import PathOrName
from pipeline.cli.running import run_stage
from pipeline.cli.stages import STAGES
from pipeline.config import DatasetConfig
from pipeline.config.errors import StageError
from pipeline.config.monitor import TITLES, Monitor
from pipeline.config.wording import counted
from pipeline.inference.comparing import columns, scored_by, spread_of
from pipeline.inference.freshness import prediction_store, remedy_of, why_stale
from pipeline.inference.monitor import monitor_of
from pipeline.inference.scoring import score_lists, score_priors, scores_of
from pipeline.inputs.index import Index
from pipeline.submission import read_submission

_SUMMARY = {"parameters": "parameters", "examples/s": "examples_per_second"}
"""What is told of a run beside its scores, and its name in the run's summary."""
_WIDTH = 80
"""Columns of a terminal."""
_BY_CLASS, _FOLDS, _PRIORS = "by_class", "folds", "label priors"


@dataclass(frozen=True)
class Flags(CommonFlags):
    run: PathOrName | None = None
    """Run to score, by name or path; by default all runs of the preset, their ensemble, and the label priors."""
    csv: Path | None = None
    """Submission file (CSV) to score instead of runs."""
    labels: Path | None = None
    """Folder of the index that has the labels; by default that of the preset's dataset."""
    split: str | None = None
    """Split to score; by default every labeled split that is not trained on (for a CSV: the last of them)."""
    json: bool = False
    """Print JSON instead of a table: one object for a run or a CSV on one split, otherwise a list of objects."""


def main() -> None:
    flags, experiment = parse_flags(Flags, STAGES["evaluate"].sections)
    index = open_index(flags, experiment, flags.labels)
    labeled = [split for split in index.scored_splits() if index.labeled(split)]
    if flags.split and not index.labeled(flags.split):
        raise StageError(
            f"split {flags.split} of {index.folder} has no labels; labeled: {', '.join(labeled) or 'none'}"
        )
    splits = [flags.split] if flags.split else labeled
    if flags.csv and not splits:
        raise StageError(
            f"{index.folder} has no labeled split besides those that are trained on; choose a split with --split"
        )
    if flags.csv:
        rows = [{"csv": str(flags.csv), "split": split, **score_csv(flags.csv, index, split)} for split in splits[-1:]]
    else:
        named = [find_run(flags.places, flags.preset_name, flags.run)] if flags.run else []
        runs = named or list_scored(flags.places, flags.preset_name)
        rows, faults = _scores(runs, index, splits)
        faults += _not_predicted(runs, splits)
        if faults and not rows:
            raise StageError("\n  ".join(["nothing to score:", *faults]))
        for fault in faults:
            print(f"left out: {fault}", file=sys.stderr)
        if not flags.run:
            rows += _priors(index, [split for split in splits if any(row["split"] == split for row in rows)])
    if not rows and not labeled and not (flags.split or flags.csv or flags.run):
        print(f"{index.folder}: no split has labels to score against, but those that are trained on")
        return
    if not rows:
        raise StageError(f"no run has predicted {', '.join(splits)}: run infer first")
    if flags.json:
        print(json.dumps(rows[0] if len(rows) == 1 else rows))
    else:
        found = [find_run(flags.places, flags.preset_name, flags.run)] if flags.run else []
        monitor = monitor_of(found or list_scored(flags.places, flags.preset_name))
        print(_table(rows, index.dataset, monitor))


def _scores(runs: list[Path], index: Index, splits: list[str]) -> tuple[list[dict], list[str]]:
    """Return a row for each run and split that it has predicted, and why some of these are left out: out of date."""
    rows, faults = [], []
    for run in runs:
        known = read_json(run / "summary.json").numbers(*_SUMMARY.values()) if (run / "summary.json").exists() else {}
        about = {"run": run.name} | {title: known.get(name) for title, name in _SUMMARY.items()}
        for split in splits:
            if not _has_predicted(run, split):
                continue
            if fault := why_stale(run, split, index):
                faults.append(fault)
            else:
                scores = scores_of(prediction_store(run, split), index, split)
                rows.append({**about, "split": split, **scores.whole, _BY_CLASS: scores.by_class})
                if scores.folds:
                    rows[-1][_FOLDS] = scores.folds
    return rows, faults


def _has_predicted(run: Path, split: str) -> bool:
    return split in list_predicted_splits(run)


def _not_predicted(runs: list[Path], splits: list[str]) -> list[str]:
    """Return a line for each split that some runs have not predicted, with the command that does it."""
    lines = []
    for split in splits:
        missing = [run for run in runs if not _has_predicted(run, split)]
        if missing:
            names, has, also = ", ".join(run.name for run in missing), "has", ""
            if len(missing) > 1:
                has, also = "have", ", and so on"
            lines.append(f"{names} {has} no predictions of {split}: {remedy_of(missing[0], split)}{also}")
    return lines


def _priors(index: Index, splits: list[str]) -> list[dict]:
    if splits and not index.has_training:
        print("left out: label priors, which are those of training videos; the index has none", file=sys.stderr)
        return []
    return [{"run": _PRIORS, "split": split, **score_priors(index, split)} for split in splits]


def score_csv(path: Path, index: Index, split: str) -> dict[str, float | int]:
    """Score a written submission, its rows in any order; raise StageError if it cannot be read."""
    try:
        return score_lists(read_submission(path, index.dataset.num_classes), index, split, path)
    except (OSError, ValueError) as error:
        raise StageError(f"{error}; `submit --check {path}` lists every fault") from error


def _table(rows: list[dict], dataset: DatasetConfig, monitor: Monitor) -> str:
    """Format the scores as a block of lines for each split, the best first, in 80 columns."""
    blocks = [
        "\n".join(_block(split, [row for row in rows if row["split"] == split], dataset, monitor))
        for split in dict.fromkeys(row["split"] for row in rows)
    ]
    note = "\nSYNTHETIC data: these scores say nothing about real videos" if dataset.synthetic else ""
    return "\n\n".join(blocks) + note


def _block(split: str, rows: list[dict], dataset: DatasetConfig, monitor: Monitor) -> list[str]:
    runs = [row for row in rows if row.get("run") != _PRIORS] or rows
    known = {key for row in runs for key, value in row.items() if value is not None}
    metrics = {key: TITLES[key] for key in columns(dataset, known)}
    sized = any(row.get("parameters") for row in rows)
    titles = [*metrics.values(), *(["parameters"] if sized else [])]
    widths = [max(8, len(title) + 2) for title in titles]
    widths[-1] += 3 * sized
    first = _WIDTH - sum(widths)
    lines = [(f"{split}: {counted(rows[0]['videos'], 'video')}", titles)]
    for row in sorted(rows, key=lambda row: -scored_by(monitor, row)):
        values = [f"{row[key]:.4f}" if row.get(key) is not None else "" for key in metrics]
        if sized:
            values.append(f"{row['parameters']:,}" if row.get("parameters") else "")
        lines.append((row.get("run") or row["csv"], values))
        if folds := row.get(_FOLDS):
            spreads = [spread_of(folds, key) for key in metrics]
            for place, title in enumerate(("mean", "deviation")):
                told = [f"{spread[place]:.4f}" if spread else "" for spread in spreads]
                lines.append((f"  {title} of {len(folds)} folds", told))
    return [
        (_shortened(name, first) + "".join(f"{value:>{width}}" for value, width in zip(values, widths))).rstrip()
        for name, values in lines
    ]


def _shortened(name: str, width: int) -> str:
    """Fill a name up to a width or, if it is too long, keep its end."""
    return name.ljust(width) if len(name) < width else f"…{name[2 - width :]} "


if __name__ == "__main__":
    run_stage(main)
