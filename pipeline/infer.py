"""Predict the best labels of every video of a split, with one trained run or with a bundle.

Reads runs/<preset>/<run>/, or a bundle, and the index; writes runs/<preset>/<run>/predictions/<split>/ as Parquet
parts. Predictions of a bundle go to a run named after its file. A record is read once for all members of a bundle.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.artifacts.done import digest_file
from pipeline.artifacts.files import write_json
from pipeline.artifacts.locks import locked
from pipeline.artifacts.places import RUN_CONFIG, WEIGHTS, find_run
from pipeline.artifacts.predictions import Predictions, PredictionStore
from pipeline.cli.flags import ReadingFlags
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
from pipeline.inference.freshness import prediction_store
from pipeline.inference.runs import TrainedRun, check_run_fits_index, prediction_settings
from pipeline.inference.scoring import scores_of
from pipeline.inference.thresholds import BROUGHT
from pipeline.inputs.index import Index
from pipeline.runtime import backend
from pipeline.runtime.progress import progress_bar

if TYPE_CHECKING:
    from pipeline.inference.predictor import Predictor
    from pipeline.inputs.reading.reader import FrameReader


@dataclass(frozen=True)
class Flags(ReadingFlags):
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
    with locked(folder):
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
        splits = dict.fromkeys(flags.split or index.scored_splits())
        for split in splits:  # an unknown split is refused before any is predicted
            index.rows(split)
        stores = {split: prediction_store(folder, split) for split in splits}
        if missing := [split for split in splits if not stores[split].is_up_to_date(settings, inputs)]:
            predictor, reader = _load(run, flags.bundle, experiment.inference, index)
            for split in missing:
                predict(predictor, reader, stores[split], split, settings, inputs)
        for split in filter(index.labeled, splits):
            scores_of(stores[split], index, split)  # an infer that was killed may have left predictions without scores


def _folder(flags: Flags, family: str) -> Path:
    """Return the folder for predictions: the run's own, or one named after the bundle's file."""
    if not flags.bundle:
        return find_run(flags.places, flags.preset_name, flags.run or family)
    folder = flags.places.run(flags.preset_name, flags.bundle.stem)
    check_value(f"the name of --bundle {flags.bundle}", flags.bundle.stem, RunName)
    if (folder / RUN_CONFIG).exists():
        raise StageError(f"predictions of {flags.bundle} would go to {folder}, which has another use: rename the file")
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


def _load(
    run: TrainedRun | None, bundle: Path | None, inference: InferenceConfig, index: Index
) -> "tuple[Predictor, FrameReader]":
    backend.start_backend()
    from pipeline.inference.ensemble import Ensemble
    from pipeline.inference.predictor import Predictor
    from pipeline.inputs.reading.reader import FrameReader

    if run:
        from pipeline.models import load_model

        ensemble = Ensemble.of_model(load_model(run.stored), run.sampling, run.dataset, inference.top_k)
    else:
        from pipeline.inference.bundle.loading import load_bundle

        ensemble = load_bundle(bundle)
    return Predictor(ensemble, inference.batch_size), FrameReader(index)


def predict(
    predictor: "Predictor", reader: "FrameReader", store: PredictionStore, split: str, settings: dict, inputs: dict
) -> None:
    """Predict the videos of a split that are missing from a store, part by part; print the result."""
    index = reader.index
    rows = index.rows(split)
    missing = store.begin(settings, inputs, len(rows), settings["videos_per_part"])
    parts = [rows[videos.start : videos.stop] for _, videos in missing]
    done = len(rows) - sum(map(len, parts))
    bar = progress_bar(total=len(rows), initial=done, desc=f"infer {split}", unit=" videos", unit_scale=True)
    with bar, ThreadPoolExecutor(1) as writer:
        written = None
        for (number, _), part, best in zip(missing, parts, predictor.predict_parts(reader, parts, bar.update)):
            if written:
                written.result()
            written = writer.submit(store.write, number, Predictions(index.ids_of(part), *best))
        if written:
            written.result()
    store.finish(settings, inputs)
    print(f"{store.folder}: {counted(len(rows), 'video')}")


if __name__ == "__main__":
    run_stage(main)
