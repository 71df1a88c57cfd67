"""Choose the runs of a blend and their weights on one half of the hold-out; report their score on the other half."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from pipeline.artifacts.places import ENSEMBLE
from pipeline.artifacts.predictions import PredictionStore, list_predicted_splits
from pipeline.config import EnsembleConfig
from pipeline.config.errors import StageError
from pipeline.config.monitor import Monitor, title_of
from pipeline.ensembling.holdout import Half, holdout_halves, score_quantiles
from pipeline.ensembling.recipe import Member, Recipe
from pipeline.ensembling.tuning import SEARCH, Step, coordinate_ascent, greedy_selection, rank_alone
from pipeline.inputs.index import HOLDOUT, Index
from pipeline.runtime.progress import progress_bar


@dataclass(frozen=True)
class Choice:
    """A recipe, and how it was chosen."""

    recipe: Recipe
    method: str
    """One of equal, given, greedy and coordinate."""
    steps: list[dict[str, str | float]]
    """For each step: `step` says what was done; `tuned` and `reported` are the score after it, on the half of the
    hold-out that weights are chosen on, and on the other half."""
    reported: dict[str, float]
    """Score on the other half, of each run by its name, and of the blend under "ensemble"."""


def choose_weights(
    runs: Sequence[Path], settings: EnsembleConfig, given: Sequence[float], index: Index, monitor: Monitor, top_k: int
) -> Choice:
    """Choose runs and weights as the settings say.

    Args:
        runs: the runs, which have predicted the hold-out.
        settings: the settings; what follows takes the place of theirs, which may be None.
        given: a weight for each run, or nothing.
        index: the videos and their labels.
        monitor: the metric to choose by.
        top_k: how many labels of each video the blend keeps.

    If either half of the hold-out has no labels, the choice has no steps and no reported scores.

    Raises:
        StageError: the settings need labels that the hold-out lacks, or predictions that a run lacks.
    """
    method = settings.method if settings.method != "auto" else "given" if given else "coordinate"
    method = "equal" if settings.select == "best" else method
    chooses = method in ("greedy", "coordinate") or settings.select != "all"
    labeled = index.holdout_labeled
    missing = ", ".join(run.name for run in runs if HOLDOUT not in list_predicted_splits(run))
    if missing and ((chooses and labeled) or settings.combine == "ranks"):
        raise StageError(f"these runs have not predicted the hold-out: {missing}; run infer --run for each of them")
    stores = [PredictionStore(run / "predictions" / HOLDOUT) for run in runs]
    members = [Member(run.name, str(run), 0.0) for run in runs]
    if settings.combine == "ranks":
        members = [replace(member, quantiles=score_quantiles(store)) for member, store in zip(members, stores)]
    if labeled and not missing:
        with progress_bar(total=len(stores[0].parts()) + SEARCH, desc="ensemble weights", unit=" steps") as bar:
            tuned, other = holdout_halves(monitor, stores, members, settings.combine, index, bar.update)
            if tuned.positives and other.positives:
                steps = _search(tuned, [member.run for member in members], settings, method, given, bar)
                return _choice(members, settings, method, steps, other, top_k)
    if chooses and (settings.method != "auto" or settings.select != "all"):
        raise StageError(
            "the hold-out has too few labels to choose by; set --ensemble.method to equal or given, which need none"
        )
    if chooses:
        print("the hold-out has too few labels to tune weights on: all runs get the same weight")
    weights = np.array(given) if given else np.ones(len(runs))
    steps = [Step("", weights / weights.sum(), 0)]
    return _choice(members, settings, "given" if given else "equal", steps, None, top_k)


def _search(
    tuned: Half, names: Sequence[str], settings: EnsembleConfig, method: str, given: Sequence[float], bar: tqdm
) -> list[Step]:
    """Return the steps that lead from the best single run to the blend."""
    alone = rank_alone(tuned.score, names)
    most = {"all": len(names), "top": settings.top_runs, "best": 1}[settings.select]
    among = np.sort([np.argmax(step.weights) for step in alone[:most]])
    weights = np.array(given) if given else np.bincount(among, minlength=len(names))
    whole = Step(f"{method if given else 'equal'} weights", weights / weights.sum(), tuned.score(weights))
    steps = alone[:1] if len(among) == 1 else [alone[0], whole]
    if method in ("greedy", "coordinate"):
        selected = greedy_selection(tuned.score, names, alone[0], among, bar.update)
        if method == "greedy" or selected[-1].score > whole.score:
            steps = selected
    if method == "coordinate":
        steps = steps[:-1] + coordinate_ascent(tuned.score, steps[-1], among, bar.update)
    bar.update(bar.total - bar.n)
    return steps


def _choice(
    members: Sequence[Member],
    settings: EnsembleConfig,
    method: str,
    steps: list[Step],
    other: Half | None,
    top_k: int,
) -> Choice:
    weights = steps[-1].weights.tolist()
    weighed = tuple(replace(member, weight=weight) for member, weight in zip(members, weights))
    recipe = Recipe(weighed, settings.combine, top_k)
    if other is None:
        return Choice(recipe, method, [], {})
    told = [{"step": step.step, "tuned": step.score, "reported": other.score(step.weights)} for step in steps]
    alone = {member.run: other.score(one) for member, one in zip(members, np.eye(len(members)))}
    return Choice(recipe, method, told, {**alone, ENSEMBLE: told[-1]["reported"]})


def step_table(about: dict[str, Any]) -> str:
    """Return a table of the score that each step gained on either half of the hold-out, and a line with the weights.

    `about` is the content of weights.json: the fields of `Choice` and of its recipe, and `monitor` if it is not gap.
    """
    lines, before = [], None
    for step in about["steps"]:
        row = f"{step['step']:<32}"
        for half in ("tuned", "reported"):
            row += f"{step[half]:10.4f}" + (f"{step[half] - before[half]:+8.4f}" if before else " " * 8)
        lines.append(row.rstrip())
        before = step
    if lines:
        title = f"hold-out {title_of(about.get('monitor', 'gap'))}"
        lines.insert(0, f"{title:<32}{'tuned on':>10}{'gain':>8}{'reported':>10}{'gain':>8}")
    used = [f"{member['run']} {member['weight']:.3f}" for member in about["members"] if member["weight"]]
    return "\n".join([*lines, f"{about['method']} weights of {about['combine']}: {', '.join(used)}"])
