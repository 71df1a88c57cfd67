"""Check whether stored predictions still fit the current index, model and blend."""

from pathlib import Path
from typing import Any

from pipeline.artifacts.done import Done
from pipeline.artifacts.files import read_json
from pipeline.artifacts.folds import fold_folders, is_folded
from pipeline.artifacts.places import RUN_CONFIG, WEIGHTS, is_trained
from pipeline.artifacts.predictions import PredictionStore
from pipeline.config.errors import StageError
from pipeline.ensembling.recipe import Recipe
from pipeline.inputs.index import Index

SUMMARY = "summary.json"


def prediction_store(run: Path, split: str) -> PredictionStore:
    """Return the store of the predictions of a run, a blend or a bundle."""
    return PredictionStore(run / "predictions" / split)


def fresh_predictions(run: Path, split: str, index: Index) -> PredictionStore:
    """Return the predictions of a split, if they are up to date.

    Raises:
        StageError: there are none, or they were made from something else. The message says from what, and the remedy.
    """
    if fault := why_stale(run, split, index):
        raise StageError(fault)
    return prediction_store(run, split)


def why_stale(run: Path, split: str, index: Index) -> str:
    """Return a sentence that says why the predictions of a split are out of date; it is empty if they are up to date.

    Predictions are out of date if they were made from another index, or by another model or blend.

    Args:
        run: the folder of a trained run, of a blend, or of a bundle.
        split: a split of the index.
        index: the index that the predictions are to be used with.
    """
    store = prediction_store(run, split)
    done = Done.read(store.folder)
    remedy = remedy_of(run, split)
    if done is None:
        return f"{run} has no predictions of {split}: {remedy}"
    if done.inputs.get("index") != index.digest:
        return f"{store.folder} was made from another index than {index.folder} is now: {remedy} again"
    if is_trained(run):
        fault = _other_model(run, done)
    elif (bundle := bundle_summary(run)) is not None:
        fault = "" if bundle["digest"] == done.inputs.get("model") else "was made by another bundle of this name"
    else:
        fault = _other_blend(run, split, done)
    return f"{store.folder} {fault}: {remedy} again" if fault else ""


def is_of_index(run: Path, index: Index) -> bool:
    """Return whether a run was trained, or a blend chosen, on this index; False for a bundle, which does not say."""
    if bundle_summary(run):
        return True
    if is_folded(run):
        folds = fold_folders(run)
        begun = [(number, fold) for number, fold in enumerate(folds, 1) if (fold / RUN_CONFIG).exists()]
        return len(folds) == index.folds and all(is_of_index(fold, index.fold(number)) for number, fold in begun)
    if (run / RUN_CONFIG).exists():
        made_from = read_json(run / RUN_CONFIG)
    else:
        made_from = read_json(run / WEIGHTS).typed("made_from", dict) or {}
    return (made_from.typed("inputs", dict) or {}).get("index") == index.digest if made_from else False


def blend_inputs(runs: list[Path], split: str, index: Index) -> dict[str, str]:
    """Return what a blend's predictions are made from, for `Done.inputs`: its runs' predictions, models, the index."""
    inputs = {"index": index.digest}
    for run in runs:
        done = Done.read(prediction_store(run, split).folder)
        inputs |= {run.name: done.output, _model_of(run.name): done.inputs["model"]}
    return inputs


def _model_of(run: str) -> str:
    return f"model of {run}"


def _other_model(run: Path, made: Done) -> str:
    trained = Done.read(run)
    if trained is None:
        return "is of a run that is not trained to its end"
    return "" if trained.output == made.inputs.get("model") else "was made by another model than the run has now"


def _other_blend(blend: Path, split: str, made: Done) -> str:
    recipe = Recipe.read(blend / WEIGHTS)
    if made.changes(recipe.settings(), made.inputs):
        return "was blended with other weights than the ensemble has now"
    for member in recipe.used:
        # A member may have been deleted: the blend made from it is still good.
        folder = next((each for each in (Path(member.path), blend.with_name(member.run)) if each.exists()), None)
        trained = Done.read(folder) if folder else None
        if trained and trained.output != made.inputs.get(_model_of(member.run)):
            return f"was blended from predictions by another model than {member.run} has now"
        predicted = Done.read(prediction_store(folder, split).folder) if folder else None
        if predicted and predicted.output != made.inputs.get(member.run):
            return f"was blended from other predictions than {member.run} has now"
    return ""


def bundle_summary(folder: Path) -> dict[str, Any] | None:
    """Return the summary in a bundle's folder; None if the folder is not a bundle's."""
    summary = read_json(folder / SUMMARY) if (folder / SUMMARY).exists() else {}
    return summary if "bundle" in summary else None


def remedy_of(run: Path, split: str) -> str:
    """Return the command that makes the predictions of a split."""
    if is_trained(run):
        return f"run infer --run {run.name} --split {split}"
    bundle = bundle_summary(run)
    return f"run infer --bundle {bundle['bundle']} --split {split}" if bundle else f"run ensemble --split {split}"
