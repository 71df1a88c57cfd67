"""Predict the best labels of every video of a split, with one trained run or with a bundle.

Reads runs/<preset>/<run>/, or a bundle, and the index; writes runs/<preset>/<run>/predictions/<split>/ as Parquet
parts, the bundle's under its file's name. Each record is read once for all members of a bundle.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tqdm import tqdm

from pipeline import backend
from pipeline.artifacts import RUN_CONFIG, WEIGHTS, Done, StageError, digest_file, find_run, locked, write_json
from pipeline.bundle.header import read_header, read_scores
from pipeline.commandline import Common, parse, run_stage
from pipeline.config import DatasetConfig, Experiment, InferenceConfig
from pipeline.inputs.index import Index
from pipeline.runs import TrainedRun, check_fits
from pipeline.store import Predictions, PredictionStore

if TYPE_CHECKING:
    from pipeline.prediction import IndexScorer, Scorer


@dataclass(frozen=True)
class Flags(Common):
    model: str | None = None
    """Pooling family: names the run where --run does not."""
    run: str | None = None
    """The run's name, or its path, which is all that is needed; by default the model's."""
    bundle: Path | None = None
    """A file that `export` made, to predict with instead of a run."""
    split: tuple[str, ...] = ()
    """Splits to predict; by default the hold-out and all that are not trained on."""
    index: Path | None = None
    """Index folder; by default that of the dataset the run was trained on."""


class _Source(NamedTuple):
    """What predicts."""

    folder: Path
    """Where its predictions go."""
    dataset: DatasetConfig
    """What it was trained on."""
    settings: dict[str, Any]
    """What its predictions depend on, beside itself."""
    digest: str
    load: Callable[[], "Scorer"]


def main() -> None:
    flags, experiment = parse(Flags, ["inference"])
    if flags.bundle and (flags.run or flags.model):
        raise StageError("--bundle brings its own models: leave out --run and --model")
    source = _of_bundle(flags, experiment.inference) if flags.bundle else _of_run(flags, experiment)
    dataset = source.dataset
    index = Index.open(flags.index or flags.places.index(dataset.name))
    check_fits(dataset, source.folder, index)
    scorer = None
    for split in flags.split or index.scored_splits():
        rows = index.rows(split)
        store = PredictionStore(source.folder / "predictions" / split)
        made_with = {**source.settings, "videos_per_part": experiment.inference.videos_per_part}
        inputs = {"model": source.digest, "index": index.digest}
        done = Done.read(store.folder)
        if done and not done.changes(made_with, inputs):
            print(f"{store.folder}: up to date")
            continue
        scorer = scorer or _load(source, index)
        with locked(store.folder.parent):
            predict(scorer, store, split, rows, made_with, inputs)


def _of_run(flags: Flags, experiment: Experiment) -> _Source:
    run = TrainedRun.read(find_run(flags.places, flags.preset_name, flags.run or experiment.model.family))
    top_k = experiment.inference.top_k

    def load() -> "Scorer":
        from pipeline.models import load_model
        from pipeline.prediction import SampledModel, Scorer

        return Scorer([SampledModel(load_model(run.stored), run.sampling)], run.dataset, experiment.inference)

    settings = {"sampling": [run.sampling.evaluation, run.sampling.frames], "top_k": top_k}
    return _Source(run.folder, run.dataset, settings, run.digest, load)


def _of_bundle(flags: Flags, inference: InferenceConfig) -> _Source:
    path = flags.bundle
    header, digest = read_header(path), digest_file(path)
    folder = flags.places.run(flags.preset_name, path.stem)
    if (folder / RUN_CONFIG).exists():
        raise StageError(f"{folder} is a run: give the bundle {path} another name, its predictions go by it")
    summary = {"run": folder.name, "bundle": path.name, "digest": digest, "synthetic": header.dataset.synthetic}
    summary |= {"weights": header.weights, "versions": header.versions, "scores": read_scores(path)}
    write_json(folder / WEIGHTS, header.recipe.to_dict())
    write_json(folder / "summary.json", summary)

    def load() -> "Scorer":
        from pipeline.bundle.loading import load

        return load(path).scorer(inference)

    return _Source(folder, header.dataset, {"top_k": header.recipe.top_k}, digest, load)


def _load(source: _Source, index: Index) -> "IndexScorer":
    backend.start()
    from pipeline.inputs.reader import FrameReader
    from pipeline.prediction import IndexScorer

    return IndexScorer(source.load(), FrameReader(index))


def predict(scorer: "IndexScorer", store: PredictionStore, split: str, rows, config: dict, inputs: dict) -> None:
    """The videos at `rows` into a store, part by part, those that are missing; says what became of it."""
    missing = store.begin(config, inputs, len(rows), config["videos_per_part"])
    parts = [rows[videos.start : videos.stop] for _, videos in missing]
    done = len(rows) - sum(map(len, parts))
    bar = tqdm(total=len(rows), initial=done, desc=f"infer {split}", unit=" videos", unit_scale=True)
    with bar, ThreadPoolExecutor(1) as writer:
        written = None
        for (number, _), part, best in zip(missing, parts, scorer.predict_each(parts, bar.update)):
            if written:
                written.result()
            written = writer.submit(store.write, number, Predictions(scorer.reader.index.ids_of(part), *best))
        if written:
            written.result()
    store.finish(config, inputs)
    print(f"{store.folder}: {len(rows)} videos")


if __name__ == "__main__":
    run_stage(main)
