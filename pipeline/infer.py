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

from pipeline.artifacts.done import digest_file
from pipeline.artifacts.files import write_json
from pipeline.artifacts.locks import locked
from pipeline.artifacts.places import ENSEMBLE, RUN_CONFIG, WEIGHTS, find_run
from pipeline.artifacts.predictions import Predictions, PredictionStore
from pipeline.cli.flags import Reading
from pipeline.cli.opening import open_index
from pipeline.cli.parsing import parse
from pipeline.cli.running import run_stage
from pipeline.config import DatasetConfig, InferenceConfig
from pipeline.config.errors import StageError
from pipeline.inference.bundle.header import read_header, read_scores
from pipeline.inference.freshness import predictions
from pipeline.inference.runs import TrainedRun, check_fits
from pipeline.inputs.index import Index
from pipeline.runtime import backend

if TYPE_CHECKING:
    from pipeline.inference.predictor import IndexScorer, Scorer


@dataclass(frozen=True)
class Flags(Reading):
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

    dataset: DatasetConfig
    """What it was trained on."""
    settings: dict[str, Any]
    """What its predictions depend on, beside itself."""
    digest: str
    load: Callable[[], "Scorer"]


def main() -> None:
    flags, experiment = parse(Flags, ["dataset", "inference"])
    if flags.bundle and (flags.run or flags.model):
        raise StageError("--bundle brings its own models: leave out --run and --model")
    folder = _folder(flags, experiment.model.family)
    with locked(folder):
        source = (_of_bundle if flags.bundle else _of_run)(folder, flags, experiment.inference)
        index = open_index(flags, experiment, flags.index or flags.places.index(source.dataset.name))
        check_fits(source.dataset, folder, index)
        scorer = None
        for split, rows in {split: index.rows(split) for split in flags.split or index.scored_splits()}.items():
            store = predictions(folder, split)
            made_with = {**source.settings, "videos_per_part": experiment.inference.videos_per_part}
            inputs = {"model": source.digest, "index": index.digest}
            changes = store.stale(made_with, inputs)
            if changes == []:
                print(f"{store.folder}: up to date")
                continue
            if changes:
                print(f"{store.folder} is made again: {'; '.join(changes)}")
            scorer = scorer or _load(source, index)
            predict(scorer, store, split, rows, made_with, inputs)


def _folder(flags: Flags, family: str) -> Path:
    """Where predictions go: the run's folder, or one that has the name of the bundle's file."""
    if not flags.bundle:
        return find_run(flags.places, flags.preset_name, flags.run or family)
    folder = flags.places.run(flags.preset_name, flags.bundle.stem)
    if (folder / RUN_CONFIG).exists() or folder.name == ENSEMBLE or folder.name.startswith("."):
        raise StageError(f"predictions of {flags.bundle} would go to {folder}, which has another use: rename the file")
    return folder


def _of_run(folder: Path, flags: Flags, inference: InferenceConfig) -> _Source:
    run = TrainedRun.read(folder)

    def load() -> "Scorer":
        from pipeline.inference.predictor import SampledModel, Scorer
        from pipeline.models import load_model

        return Scorer([SampledModel(load_model(run.stored), run.sampling)], run.dataset, inference)

    settings = {"sampling": [run.sampling.evaluation, run.sampling.frames], "top_k": inference.top_k}
    return _Source(run.dataset, settings, run.digest, load)


def _of_bundle(folder: Path, flags: Flags, inference: InferenceConfig) -> _Source:
    path = flags.bundle
    header, digest = read_header(path), digest_file(path)
    summary = {"run": folder.name, "bundle": path.name, "digest": digest, "synthetic": header.dataset.synthetic}
    summary |= {"weights": header.weights, "versions": header.versions, "scores": read_scores(path)}
    write_json(folder / WEIGHTS, header.recipe.to_dict())
    write_json(folder / "summary.json", summary)

    def load() -> "Scorer":
        from pipeline.inference.bundle.loading import load

        return load(path).scorer(inference)

    return _Source(header.dataset, {"top_k": header.recipe.top_k}, digest, load)


def _load(source: _Source, index: Index) -> "IndexScorer":
    backend.start()
    from pipeline.inference.predictor import IndexScorer
    from pipeline.inputs.reading.reader import FrameReader

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
