"""Predict the best labels of every video of a split, with one trained run or with a bundle.

A run that is trained in folds predicts each training video by the model of the fold that held it out, as the split
holdout, and the other splits by the mean of all its models.

Reads runs/<preset>/<run>/, or a bundle, and the index; writes runs/<preset>/<run>/predictions/<split>/ as Parquet
parts. Predictions of a bundle go to a run named after its file, x of x.zip and x-onnx of x.onnx. A record is read once
for all models.
"""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.artifacts.done import Done, digest_file, digest_json
from pipeline.artifacts.files import write_json
from pipeline.artifacts.folds import fold_folders, is_folded
from pipeline.artifacts.locks import locked
from pipeline.artifacts.parts import PATIENCE, Part, note_part, require_parts
from pipeline.artifacts.places import WEIGHTS, find_run, is_trained
from pipeline.artifacts.predictions import PredictionStore
from pipeline.cli.flags import PartFlags, ReadingFlags
from pipeline.cli.opening import open_index
from pipeline.cli.parsing import parse_flags
from pipeline.cli.paths import PathOrName
from pipeline.cli.running import run_stage
from pipeline.cli.stages import STAGES
from pipeline.cli.types import Family
from pipeline.config import DatasetConfig, InferenceConfig, to_dict
from pipeline.config.checked import check_value
from pipeline.config.errors import StageError
from pipeline.config.ranges import RunName
from pipeline.config.wording import counted
from pipeline.inference.bundle.header import read_header, read_scores
from pipeline.inference.bundle.opening import is_onnx
from pipeline.inference.folds import fold_views, join_folds, why_seen
from pipeline.inference.freshness import bundle_summary, prediction_store
from pipeline.inference.parts import Models, SplitTask, bar_of, predict_part, predict_parts
from pipeline.inference.runs import TrainedRun, check_run_fits_index, prediction_settings
from pipeline.inference.scoring import scores_of
from pipeline.inference.thresholds import BROUGHT
from pipeline.inputs.index import HOLDOUT, TRAIN, Index
from pipeline.runtime.engine import RayCluster


@dataclass(frozen=True)
class Flags(PartFlags, ReadingFlags):
    model: Family = None
    """Pooling family of the run, which has its name unless --run gives another."""
    run: PathOrName | None = None
    """Run to predict with, by name or path (a path needs no --preset); by default the model's name."""
    bundle: Path | None = None
    """Bundle to predict with instead of a run: a file that `export` made."""
    split: tuple[str, ...] = ()
    """Splits to predict; by default the hold-out and all splits that are not trained on."""
    index: Path | None = None
    """Folder of the index; by default that of the dataset that the run was trained on."""


def main() -> None:
    flags, experiment = parse_flags(Flags, STAGES["infer"].sections)
    if flags.bundle and (flags.run or flags.model):
        raise StageError("--bundle brings its own models: leave out --run and --model")
    folder = _folder(flags, experiment.model.family)
    with contextlib.ExitStack() as locks:
        for each in (folder, *(fold_folders(folder) if is_folded(folder) else ())):
            locks.enter_context(locked(each, shared=bool(flags.part)))
        _folder(flags, experiment.model.family)  # asked again, now that nobody else makes something of it
        run = None if flags.bundle else TrainedRun.read(folder)
        if run:
            dataset, digest = run.dataset, run.digest
            settings = prediction_settings(run.sampling, experiment.inference, dataset.num_classes)
        else:
            dataset, digest, settings = _bundle(flags.bundle, folder, experiment.inference)
        index = open_index(flags, experiment, flags.index or flags.places.index(dataset.name))
        check_run_fits_index(dataset, folder, index)
        inputs = {"model": digest, "index": index.digest}
        splits = _splits(flags, folder, run, dataset, index)
        stores = {split: prediction_store(folder, split) for split in splits}
        missing = [split for split in splits if not stores[split].is_up_to_date(settings, inputs)]
        models = Models(run, flags.bundle, experiment.inference)
        if share := flags.share:
            _predict_part(share, models, index, {split: stores[split] for split in missing}, settings, inputs)
            return
        if flags.join:
            for split in missing:
                if not (index.folds and split == HOLDOUT):
                    require_parts(stores[split].folder, flags.join, digest_json(settings, inputs))
        cluster = flags.ray_cluster(models=True) if missing else None
        for split in missing:
            if index.folds and split == HOLDOUT:
                _predict_folds(folder, models, index, stores[split], settings, inputs, cluster)
            else:
                _predict(models, index, stores[split], split, settings, inputs, cluster)
        for split in filter(index.labeled, splits):
            scores_of(stores[split], index, split)  # an infer that was killed may have left predictions without scores


def _folder(flags: Flags, family: str) -> Path:
    """Return the folder for predictions: the run's own, or one named after the bundle's file.

    An .onnx file has another than a zip of its name: both are bundles of one run.
    """
    if not (bundle := flags.bundle):
        return find_run(flags.places, flags.preset_name, flags.run or family)
    name = f"{bundle.stem}-onnx" if is_onnx(bundle) else bundle.stem
    check_value(f"the name of --bundle {bundle}", name, RunName)
    folder = flags.places.run(flags.preset_name, name)
    if is_trained(folder):
        raise StageError(f"predictions of {bundle} would go to {folder}, which has another use: rename the file")
    there = bundle_summary(folder)
    if there and there["bundle"] != bundle.name:
        raise StageError(
            f"predictions of {bundle} would go to {folder}, which has those of {there['bundle']}: rename the file, or "
            "delete the folder"
        )
    return folder


def _bundle(path: Path, folder: Path, inference: InferenceConfig) -> tuple[DatasetConfig, str, dict[str, Any]]:
    """Return a bundle's dataset, digest and prediction settings; note in the folder which bundle it is."""
    header, digest = read_header(path), digest_file(path)
    summary = {"run": folder.name, "bundle": path.name, "digest": digest, "synthetic": header.dataset.synthetic}
    summary |= {"weights": header.weights, "versions": header.versions, "scores": read_scores(path)}
    if header.thresholds:
        summary[BROUGHT] = to_dict(header.thresholds)
    write_json(folder / WEIGHTS, header.recipe.to_dict())
    write_json(folder / "summary.json", summary)
    return header.dataset, digest, {"top_k": header.recipe.top_k, "videos_per_part": inference.videos_per_part}


def _splits(
    flags: Flags, folder: Path, run: TrainedRun | None, dataset: DatasetConfig, index: Index
) -> dict[str, None]:
    """Return the splits to predict; raise StageError where one is not there, or its models have seen it."""
    splits = dict.fromkeys(flags.split or index.scored_splits())
    for split in splits:  # an unknown split is refused before any is predicted
        index.rows(split)
    if HOLDOUT in splits and (fault := why_seen(folder, dataset, run.trained_on if run else (), index)):
        if flags.split or len(splits) == 1:
            raise StageError(fault)
        print(f"{HOLDOUT} is left out: {fault}")
        del splits[HOLDOUT]
    if TRAIN in splits and run and len(run.models) > 1:
        raise StageError(
            f"{folder} is trained in folds: all of its models but one have been trained on each video of {TRAIN}. Its "
            f"predictions of {HOLDOUT} are of the same videos, each by the model that has not"
        )
    return splits


def _predict(
    models: Models,
    index: Index,
    store: PredictionStore,
    split: str,
    settings: dict[str, Any],
    inputs: dict[str, str],
    cluster: RayCluster | None,
    fold: int | None = None,
) -> None:
    """Predict a split here or on a cluster, by all models or by that of one fold of the index; print the result."""
    videos = len(index.rows(split))
    missing = store.begin(settings, inputs, videos, settings["videos_per_part"])
    if missing and cluster:
        task = SplitTask(models, index.folder, index.verify, index.digest, split, fold, store.folder)
        with bar_of(split, missing, videos) as bar:
            for predicted in cluster.map(predict_part, missing, shared=(task,)):
                bar.update(predicted)
    elif missing:
        predict_parts(*models.reading(index, fold), store, split, missing, videos)
    _finish(store, videos, settings, inputs)


def _predict_part(
    part: Part,
    models: Models,
    index: Index,
    stores: dict[str, PredictionStore],
    settings: dict[str, Any],
    inputs: dict[str, str],
) -> None:
    """Predict a part of each split. What the folds have predicted of their own videos is joined with the last part."""
    for split, store in stores.items():
        if index.folds and split == HOLDOUT:
            continue
        videos = len(index.rows(split))
        plan = (settings, inputs, videos, settings["videos_per_part"])
        if not store.is_begun(*plan):
            with locked(store.folder, patience=PATIENCE):  # with other settings, the parts at work must end first
                store.begin(*plan)
        with locked(store.folder, shared=True, patience=PATIENCE), locked(store.folder.with_name(f"{split} {part}")):
            if not store.is_begun(*plan):
                raise StageError(f"{store.folder} was begun anew with other settings: give all parts the same")
            own = [each for each in store.begin(*plan) if part.takes(each[0])]
            if own:
                predict_parts(*models.reading(index), store, split, own)
            note_part(store.folder, part, digest_json(settings, inputs))
        print(f"{store.folder}: {part} is predicted")


def _predict_folds(
    folder: Path,
    models: Models,
    index: Index,
    store: PredictionStore,
    settings: dict[str, Any],
    inputs: dict[str, str],
    cluster: RayCluster | None,
) -> None:
    """Predict every training video by the model of the fold that held it out; print the result.

    The folds' own predictions come first, which training has made already, each in its own folder.
    """
    stores = []
    for number, (fold, view) in enumerate(zip(fold_folders(folder), fold_views(index)), 1):
        own = prediction_store(fold, HOLDOUT)
        made_from = {"model": Done.read(fold).output, "index": view.digest}
        if not own.is_up_to_date(settings, made_from):
            _predict(models, view, own, HOLDOUT, settings, made_from, cluster, number)
        if view.labeled(HOLDOUT):
            scores_of(own, view, HOLDOUT)
        stores.append(own)
    rows, size = index.rows(HOLDOUT), settings["videos_per_part"]
    missing = dict(store.begin(settings, inputs, len(rows), size))
    parts = [rows[start : start + size] for start in range(0, len(rows), size)]
    for number, part in enumerate(join_folds(stores, index, parts)):
        if number in missing:
            store.write(number, part)
    store.finish(settings, inputs)
    print(f"{store.folder}: {counted(len(rows), 'video')}, each by the model of its fold")


def _finish(store: PredictionStore, videos: int, settings: dict, inputs: dict) -> None:
    store.finish(settings, inputs)
    print(f"{store.folder}: {counted(videos, 'video')}")


if __name__ == "__main__":
    run_stage(main)
