"""Predict the best labels of every video of a split, with one trained run.

Reads runs/<preset>/<run>/ and the index; writes runs/<preset>/<run>/predictions/<split>/ as Parquet parts.
"""

from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from pipeline import backend
from pipeline.artifacts import RUN_CONFIG, Done, StageError, find_run, read_json
from pipeline.commandline import Common, parse, run_stage
from pipeline.config import DatasetConfig, InferenceConfig, SamplingConfig, from_dict
from pipeline.inputs.index import Index
from pipeline.store import Predictions, PredictionStore


@dataclass(frozen=True)
class Flags(Common):
    model: str | None = None
    """Pooling family: names the run where --run does not."""
    run: str | None = None
    """The run's name, or its path, which is all that is needed; by default the model's."""
    split: tuple[str, ...] = ()
    """Splits to predict; by default the hold-out and all that are not trained on."""
    index: Path | None = None
    """Index folder; by default that of the dataset the run was trained on."""


def main() -> None:
    flags, experiment = parse(Flags, ["inference"])
    folder = find_run(flags.places, flags.preset_name, flags.run or experiment.model.family)
    trained = Done.read(folder)
    if trained is None:
        raise StageError(f"{folder} is not trained to its end: run train again, it goes on from its checkpoint")
    config = read_json(folder / RUN_CONFIG)
    dataset = from_dict(DatasetConfig, config["dataset"], folder / RUN_CONFIG)
    sampling = from_dict(SamplingConfig, config["sampling"], folder / RUN_CONFIG)
    index = Index.open(flags.index or flags.places.index(dataset.name))
    if index.dataset.features != dataset.features or index.dataset.num_classes != dataset.num_classes:
        raise StageError(
            f"{folder} was trained on {_shape(dataset)}; the index {index.folder} has {_shape(index.dataset)}"
        )
    predictor = None
    for split in flags.split or index.scored_splits():
        rows = index.rows(split)
        store = folder / "predictions" / split
        made_with = {
            "sampling": [sampling.evaluation, sampling.frames],
            "top_k": experiment.inference.top_k,
            "videos_per_part": experiment.inference.videos_per_part,
        }
        inputs = {"model": trained.output, "index": index.digest}
        done = Done.read(store)
        if done and not done.changes(made_with, inputs):
            print(f"{store}: up to date")
            continue
        predictor = predictor or _load(folder, index, sampling, experiment.inference)
        _predict(predictor, store, split, rows, made_with, inputs, experiment.inference.videos_per_part)


def _load(folder: Path, index: Index, sampling: SamplingConfig, inference: InferenceConfig):
    backend.start()
    from pipeline.inputs.reader import FrameReader
    from pipeline.models import load_model
    from pipeline.prediction import Predictor
    from pipeline.training.loop import MODEL

    return Predictor(load_model(folder / MODEL), FrameReader(index), sampling, inference)


def _predict(predictor, folder: Path, split: str, rows, config: dict, inputs: dict, videos_per_part: int) -> None:
    store = PredictionStore(folder)
    missing = store.begin(config, inputs, len(rows), videos_per_part)
    done = len(rows) - sum(len(videos) for _, videos in missing)
    with tqdm(total=len(rows), initial=done, desc=f"infer {split}", unit=" videos", unit_scale=True) as bar:
        for number, videos in missing:
            chosen = rows[videos.start : videos.stop]
            labels, scores = predictor.predict(chosen, bar.update)
            store.write(number, Predictions(predictor.reader.index.ids_of(chosen), labels, scores))
    store.finish(config, inputs)
    print(f"{folder}: {len(rows)} videos")


def _shape(dataset: DatasetConfig) -> str:
    features = ", ".join(f"{feature.name} {feature.size} {feature.dtype}" for feature in dataset.features)
    return f"{features}; {dataset.num_classes} classes"


if __name__ == "__main__":
    run_stage(main)
