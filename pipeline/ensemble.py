"""Blend the predictions of several runs, with weights chosen on one half of the hold-out and reported on the other.

Reads runs/<preset>/*/predictions/<split>/; writes runs/<preset>/ensemble/: weights, scores, blended predictions.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.artifacts.done import Done, StageOutput, format_fields, stage_output
from pipeline.artifacts.files import read_json, remove_folder, write_json
from pipeline.artifacts.places import ENSEMBLE, WEIGHTS, find_run, list_runs
from pipeline.artifacts.predictions import Predictions, PredictionStore, labels_kept_by, list_predicted_splits
from pipeline.cli.flags import CommonFlags
from pipeline.cli.opening import open_index
from pipeline.cli.parsing import parse_flags
from pipeline.cli.paths import PathOrName
from pipeline.cli.running import run_stage
from pipeline.cli.stages import STAGES
from pipeline.config import EnsembleConfig, from_dict, to_dict
from pipeline.config.errors import StageError
from pipeline.config.monitor import Monitor, why_not
from pipeline.config.wording import counted
from pipeline.ensembling.choosing import choose_weights, step_table
from pipeline.ensembling.recipe import Recipe
from pipeline.inference.freshness import blend_inputs, prediction_store, why_stale
from pipeline.inference.monitor import monitor_of
from pipeline.inference.scoring import scores_of
from pipeline.inputs.index import HOLDOUT, Index
from pipeline.inputs.predicted import read_together
from pipeline.runtime.progress import progress_bar


@dataclass(frozen=True)
class Flags(CommonFlags):
    runs: tuple[PathOrName, ...] = ()
    """Names or paths of the runs to blend; by default every run of the preset that has predictions."""
    split: tuple[str, ...] = ()
    """Splits to blend; by default those that are not trained on and that every run in the blend has predicted."""


def main() -> None:
    flags, experiment = parse_flags(Flags, STAGES["ensemble"].sections)
    settings = experiment.ensemble
    if settings.given and len(settings.given) != len(flags.runs):
        raise StageError(
            f"--ensemble.given has {counted(len(settings.given), 'weight')} for {len(flags.runs)} --runs: "
            "give one for each run"
        )
    if flags.runs:
        named = [find_run(flags.places, flags.preset_name, run) for run in flags.runs]
    else:
        named = _predicted(list_runs(flags.places, flags.preset_name))
    runs = sorted(named, key=lambda run: run.name)  # so that the order of --runs does not matter
    names = [run.name for run in runs]
    if not runs or len(set(names)) < len(names) or ENSEMBLE in names:
        raise StageError(
            f"no runs to blend, two of one name, or the blend itself: {', '.join(names) or 'none'}. "
            "Run train and infer, or name different runs with --runs"
        )
    index = open_index(flags, experiment)
    given = [settings.given[named.index(run)] for run in runs] if settings.given else []
    folder = flags.places.run(flags.preset_name, ENSEMBLE)
    with stage_output(folder / WEIGHTS, _chosen, lock=folder) as work:
        _check_fresh(runs, flags.split, index)
        monitor = settings.monitor or monitor_of(runs)
        _check_monitor(monitor, runs, index)
        about, recipe = _weights(work, runs, given, settings, index, monitor)
        used = [run for run, member in zip(runs, recipe.members) if member.weight]
        for split in flags.split or _splits(used, index):
            _blend(recipe, used, split, prediction_store(folder, split), index)
            if index.labeled(split):  # an ensemble that was killed may have left a blend without scores
                scores_of(prediction_store(folder, split), index, split)
    print(step_table(about))
    print(f"{folder}: {len(used)} of {counted(len(runs), 'run')} blended on {', '.join(list_predicted_splits(folder))}")


def _chosen(weights: Path) -> Done | None:
    """Return what the weights were chosen from; None if there are none, or an older version did not note it."""
    made_from = read_json(weights).typed("made_from", dict) if weights.exists() else None
    return Done(made_from["config"], made_from["inputs"], "") if made_from else None


def _weights(
    work: StageOutput, runs: list[Path], given: list[float], settings: EnsembleConfig, index: Index, monitor: Monitor
) -> tuple[dict[str, Any], Recipe]:
    """Return the content of weights.json and its recipe, chosen anew if stale; remove blends by other recipes."""
    names = [run.name for run in runs]
    top_k = settings.top_k or labels_kept_by(runs)
    config = {**to_dict(settings), "top_k": top_k, "given": dict(zip(names, given)), "runs": names}
    chosen_by = {"monitor": monitor} if monitor != "gap" else {}
    config |= chosen_by
    inputs = {run.name: done.output for run in runs if (done := Done.read(run / "predictions" / HOLDOUT))}
    inputs = {**inputs, "index": index.digest}
    folder = work.place.parent
    if work.is_up_to_date(config, inputs):
        Recipe.read(work.place)  # raises if it is damaged
        about = read_json(work.place)
    else:
        choice = choose_weights(runs, settings, given, index, monitor, top_k)
        told = {"method": choice.method, "steps": choice.steps, "reported": choice.reported}
        made_from = {"config": config, "inputs": inputs}
        told |= chosen_by
        about = {**format_fields(), **choice.recipe.to_dict(), **told, "made_from": made_from}
    for run, member in zip(runs, about["members"]):
        member["path"] = str(run)
    recipe = from_dict(Recipe, {name: about[name] for name in ("members", "combine", "top_k")}, work.place)
    for split in list_predicted_splits(folder):
        store = folder / "predictions" / split
        if differ := Done.read(store).changes(recipe.settings(), Done.read(store).inputs):
            print(f"{store}: was blended otherwise: {'; '.join(differ)}")
            remove_folder(store)
    write_json(work.place, about)
    return about, recipe


def _check_monitor(monitor: Monitor, runs: list[Path], index: Index) -> None:
    """Raise StageError if the metric to choose by cannot be computed from what the runs have predicted."""
    classes = index.dataset.num_classes
    for run in runs:
        if fault := why_not(monitor, index.dataset.task, min(labels_kept_by([run]), classes), classes):
            raise StageError(f"--ensemble.monitor {monitor}, {run.name}: {fault}, or another --ensemble.monitor")


def _predicted(runs: list[Path]) -> list[Path]:
    """Return the runs to blend by default, those that infer predicted with; training predicts the hold-out alone."""
    found = [run for run in runs if list_predicted_splits(run)]
    if any({*list_predicted_splits(run)} - {HOLDOUT} for run in found):
        for run in found:
            if list_predicted_splits(run) == [HOLDOUT]:
                print(f"{run.name} is left out: it has predicted the hold-out alone; run infer --run {run.name}")
        return [run for run in found if list_predicted_splits(run) != [HOLDOUT]]
    return found


def _check_fresh(runs: list[Path], asked: tuple[str, ...], index: Index) -> None:
    """Raise StageError with all predictions that would be blended and are out of date."""
    splits = {*index.scored_splits(), *asked}
    found = [why_stale(run, split, index) for run in runs for split in list_predicted_splits(run) if split in splits]
    if faults := list(filter(None, found)):
        raise StageError("predictions are out of date:\n  " + "\n  ".join(faults))


def _splits(used: list[Path], index: Index) -> list[str]:
    """Return the splits that are not trained on and that all runs have predicted."""
    lacking = {
        split: [run.name for run in used if split not in list_predicted_splits(run)] for split in index.scored_splits()
    }
    for split, names in lacking.items():
        if names:
            print(f"{split} is left out: not predicted by {', '.join(names)}; run infer for it")
    if not (splits := [split for split, names in lacking.items() if not names]):
        raise StageError("there is no split that all runs have predicted: run infer for each of them")
    return splits


def _blend(recipe: Recipe, runs: list[Path], split: str, store: PredictionStore, index: Index) -> None:
    if missing := [run.name for run in runs if split not in list_predicted_splits(run)]:
        raise StageError(f"{split} is not predicted by {', '.join(missing)}: run infer --split {split} for each")
    stores = [prediction_store(run, split) for run in runs]
    config, inputs = recipe.settings(), blend_inputs(runs, split, index)
    if store.is_up_to_date(config, inputs):
        return
    missing = dict(store.begin(config, inputs, len(index.rows(split)), stores[0].videos_per_part))
    with progress_bar(total=len(stores[0].parts()), desc=f"ensemble {split}", unit=" parts") as bar:
        for number, (_, parts) in enumerate(read_together(stores, index, split)):
            if number in missing:
                labels, scores = [part.labels for part in parts], [part.scores for part in parts]
                blended = recipe.apply(labels, scores, index.dataset.num_classes)
                store.write(number, Predictions(parts[0].ids, *blended))
            bar.update()
    if blend_inputs(runs, split, index) != inputs:
        raise StageError(f"predictions of {split} were made anew while they were blended: run the same command again")
    store.finish(config, inputs)


if __name__ == "__main__":
    run_stage(main)
