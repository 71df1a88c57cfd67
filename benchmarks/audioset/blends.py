"""What is made of the chosen runs: their ensemble, a model distilled from it, bundles of it in each weight format."""

import json
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.audioset.runs import Run, stage, train_one
from pipeline.artifacts.files import read_json
from pipeline.artifacts.places import ENSEMBLE, WEIGHTS, Places

FORMATS = ("float32", "float16", "int8")
DISTILLED = "distilled"
SHARE = 0.5
"""Of the ensemble's predictions in the targets that the distilled model learns."""


def make(members: list[Run], best: Run) -> list[dict[str, Any]]:
    """Blend the runs, distil the best one's family from the blend, bundle the blend; score all of it on the eval clips.

    Args:
        members: one run a family; all have predicted the hold-out and the eval clips. Half of the hold-out chooses
            their weights.
        best: whose family and trial the distilled model has.
    """
    names = [run.name for run in members]
    stage("ensemble", "--runs", *names)
    weights = read_json(_folder(ENSEMBLE) / WEIGHTS)
    used = [member["run"] for member in weights["members"] if member["weight"]]
    size = sum(run.summary["parameters"] for run in members if run.name in used)
    rows = [_row(f"ensemble of {len(used)}", ENSEMBLE, size)]
    for name in tqdm(used, desc="predict the training clips", unit=" runs"):
        stage("infer", "--run", name, "--split", "train")
    stage("ensemble", "--runs", *names, "--split", "holdout", "eval", "train")
    teacher = ("--training.teacher", ENSEMBLE, "--training.teacher-share", str(SHARE))
    train_one(best, DISTILLED, *teacher)
    stage("infer", "--run", DISTILLED)
    rows.append(_row(f"{best.family}, distilled", DISTILLED, best.summary["parameters"]))
    for weights_as in tqdm(FORMATS, desc="bundles", unit=" bundles"):
        path = _folder(f"{ENSEMBLE}-{weights_as}.zip")
        stage("export", "--run", ENSEMBLE, "--weights", weights_as)
        stage("infer", "--bundle", str(path), "--split", "eval")
        rows.append(_row(f"bundle, {weights_as}", path.stem, size, path.stat().st_size))
    return rows


def _row(title: str, run: str, parameters: int, size: int | None = None) -> dict[str, Any]:
    scores = json.loads(stage("evaluate", "--run", str(_folder(run)), "--split", "eval", "--json"))
    names = ("gap", "map_all_kept", "map", "hit_at_one", "perr")
    return {"name": title, **{name: round(scores[name], 5) for name in names}, "parameters": parameters, "bytes": size}


def _folder(run: str) -> Path:
    return Places.from_environment().run("audioset", run)
