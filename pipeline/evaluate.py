"""Score predictions, or a written CSV, against a labeled split: GAP@20, MAP, Hit@1, PERR.

Reads runs/<preset>/*/predictions/ or a CSV, and the index; prints a table, or JSON; writes nothing.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from pipeline.artifacts.files import read_json
from pipeline.artifacts.places import find_run, list_scored
from pipeline.cli.flags import CommonFlags
from pipeline.cli.opening import open_index
from pipeline.cli.parsing import parse_flags
from pipeline.cli.running import run_stage
from pipeline.cli.stages import STAGES
from pipeline.config.errors import StageError
from pipeline.inference.freshness import prediction_store, why_stale
from pipeline.inference.scoring import score_lists, score_priors, scores_of
from pipeline.inputs.index import Index
from pipeline.submission import read_submission

_SUMMARY = {"parameters": "parameters", "examples/s": "examples_per_second"}
"""Columns of the table, and their names in a run's summary."""


@dataclass(frozen=True)
class Flags(CommonFlags):
    run: str | None = None
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
        print(_table(rows, index.dataset.synthetic))


def _scores(runs: list[Path], index: Index, splits: list[str]) -> tuple[list[dict], list[str]]:
    """Return a row for each run and split, and why others are left out: not predicted, or out of date."""
    rows, faults = [], []
    for run in runs:
        known = read_json(run / "summary.json").numbers(*_SUMMARY.values()) if (run / "summary.json").exists() else {}
        about = {"run": run.name} | {title: known.get(name) for title, name in _SUMMARY.items()}
        for split in splits:
            if fault := why_stale(run, split, index):
                faults.append(fault)
            else:
                rows.append({**about, "split": split, **scores_of(prediction_store(run, split), index, split).whole})
    return rows, faults


def _priors(index: Index, splits: list[str]) -> list[dict]:
    if splits and not index.has_training:
        print("left out: label priors, which are those of training videos; the index has none", file=sys.stderr)
        return []
    return [{"run": "label priors", "split": split, **score_priors(index, split)} for split in splits]


def score_csv(path: Path, index: Index, split: str) -> dict[str, float | int]:
    """Score a written submission, its rows in any order; raise StageError if it cannot be read."""
    try:
        return score_lists(read_submission(path, index.dataset.num_classes), index, split, path)
    except (OSError, ValueError) as error:
        raise StageError(f"{error}; `submit --check {path}` lists every fault") from error


def _table(rows: list[dict], synthetic: bool) -> str:
    """Format the scores as a table: one line for each run, the splits side by side."""
    import pandas as pd

    table = pd.DataFrame(rows)
    names = {"gap": "GAP@20", "map": "MAP@20", "map_all_kept": "MAP", "hit_at_one": "Hit@1", "perr": "PERR"}
    names = {name: title for name, title in names.items() if name in table}
    key = "csv" if "csv" in table else "run"
    about = table.drop_duplicates(key).set_index(key)
    scores = table.pivot(index=key, columns="split", values=list(names)).swaplevel(axis=1).rename(columns=names)
    order = [(split, name) for split in table["split"].unique() for name in names.values()]
    shown = scores[order].loc[about.index].map(lambda score: "" if pd.isna(score) else f"{score:.4f}")
    shown.columns = [f"{split} {name}" if name == "GAP@20" else name for split, name in order]
    if key == "run":
        whole = about["parameters"].map(lambda value: "" if pd.isna(value) else f"{int(value):,}")
        speed = about["examples/s"].map(lambda value: "" if pd.isna(value) else f"{value:,.0f}")
        shown.insert(0, "parameters", whole)
        shown.insert(1, "examples/s", speed)
    videos = ", ".join(
        f"{split} {count}" for split, count in table.groupby("split", sort=False)["videos"].first().items()
    )
    note = f"videos: {videos}" + ("; SYNTHETIC data: these scores say nothing about real videos" if synthetic else "")
    return f"{shown.rename_axis(None).to_string()}\n{note}"


if __name__ == "__main__":
    run_stage(main)
