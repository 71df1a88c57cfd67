"""Inference: records to Parquet, for single models and for all of them in one pass, as shares of their forward speed.

    python -m benchmarks.inference [--families netvlad nextvlad] [--preset demo]

Frame-level shards of YouTube-8M's format (`synthesize`: 120 to 300 frames of rgb and audio, 3862 classes), in the page
cache, become the 100 best labels of each video in Parquet, as `infer` does it; the models are untrained. The limit is
the models' forward pass alone: `predict_on_batch`, the same batch again and again. All models in one pass read each
record once, blend their lists with equal weights and write one; beside it the sum of their single passes, which
blend nothing. `--preset` says whose settings the models have; demo's are small.
"""

import dataclasses
import functools
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from benchmarks.figures import Common, Figure, interleaved, show
from benchmarks.input import write_shards
from benchmarks.input_sides import SHARD, YOUTUBE8M
from pipeline.config import InferenceConfig

if TYPE_CHECKING:
    from pipeline.inference.ensemble import EnsembleMember
    from pipeline.inference.predictor import Predictor
    from pipeline.inputs.reading.reader import FrameReader

TOGETHER, SUM, FORWARD = "one pass", "sum of single passes", "forward only"


@dataclasses.dataclass(frozen=True)
class Flags(Common):
    families: tuple[str, ...] = ("average", "netvlad", "nextvlad")
    preset: str = "youtube8m"
    videos: int = 2 * SHARD
    """Videos in all, 0.25 MB each; a multiple of 256 and of the batch size."""
    batch: int = 64
    """Videos in a batch."""


def main() -> None:
    flags = tyro.cli(Flags, description=__doc__)
    if flags.videos % SHARD or flags.videos % flags.batch:
        raise SystemExit(f"--videos must be a multiple of {SHARD} and of --batch")
    os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "TQDM_DISABLE": "1"}
    with tempfile.TemporaryDirectory() as name:
        figures = _measure(Path(name), flags)
    show(figures, flags.json, f"inference, settings of {flags.preset}, batches of {flags.batch}")


def _measure(folder: Path, flags: Flags) -> list[Figure]:
    from pipeline.inputs.index import Index
    from pipeline.inputs.reading.reader import FrameReader

    write_shards(folder, flags.videos)
    reader = FrameReader(Index.open(folder / "index"))
    models = {family: _model(flags.preset, family) for family in flags.families}
    sides: dict[str, Callable[[], object]] = {}
    for family, model in models.items():
        sides[family] = functools.partial(_infer, _predictor([model], flags.batch), reader, folder / family)
        sides[f"{family}: {FORWARD}"] = _forward(model, reader, flags)
    together = len(models) > 1
    if together:
        predictor = _predictor(list(models.values()), flags.batch)
        sides[TOGETHER] = functools.partial(_infer, predictor, reader, folder / "ensemble")
    for run in sides.values():  # traces, and fills the page cache
        run()
    seconds = interleaved(flags.rounds, sides)
    figures = []
    for family in models:
        ours, limit = seconds[family], seconds[f"{family}: {FORWARD}"]
        figures += _compared(family, "ours", flags.videos, ours, limit)
    if together:
        limit = sum(seconds[f"{family}: {FORWARD}"] for family in models)
        singles = sum(seconds[family] for family in models)
        figures += _compared("all of them", TOGETHER, flags.videos, seconds[TOGETHER], limit)
        figures += [
            Figure("all of them: records to Parquet", SUM, flags.videos / singles, "videos/s"),
            Figure("all of them: one pass to their sum", TOGETHER, singles / seconds[TOGETHER], "times"),
        ]
    return figures


def _compared(case: str, who: str, videos: int, seconds: float, forward: float) -> list[Figure]:
    return [
        Figure(f"{case}: records to Parquet", who, videos / seconds, "videos/s"),
        Figure(f"{case}: records to Parquet", FORWARD, videos / forward, "videos/s"),
        Figure(f"{case}: of the forward speed", who, forward / seconds, "share"),
    ]


def _model(preset: str, family: str) -> "EnsembleMember":
    from pipeline.inference.ensemble import EnsembleMember
    from pipeline.models import build_model
    from pipeline.presets import load_experiment

    experiment = load_experiment(preset, family)
    return EnsembleMember((build_model(experiment.model, YOUTUBE8M),), experiment.sampling)


def _predictor(models: "list[EnsembleMember]", batch: int) -> "Predictor":
    from pipeline.ensembling.recipe import Member, Recipe
    from pipeline.inference.ensemble import Ensemble
    from pipeline.inference.predictor import Predictor

    top_k = InferenceConfig().top_k
    recipe = Recipe(tuple(Member(str(number), "", 1.0) for number in range(len(models))), top_k=top_k)
    return Predictor(Ensemble(YOUTUBE8M, tuple(models), recipe, top_k), batch)


def _infer(predictor: "Predictor", reader: "FrameReader", folder: Path) -> None:
    """All videos into a store that is begun anew."""
    import shutil

    from pipeline.artifacts.predictions import PredictionStore
    from pipeline.inference.parts import predict_parts

    shutil.rmtree(folder, ignore_errors=True)
    store, videos = PredictionStore(folder), len(reader.index.rows("train"))
    predict_parts(predictor, reader, store, "train", store.begin({}, {}, videos, InferenceConfig().videos_per_part))
    store.finish({}, {})


def _forward(model: "EnsembleMember", reader: "FrameReader", flags: Flags) -> Callable[[], Any]:
    from pipeline.inputs.reading.batches import batches_for_all

    rows = reader.index.rows("train")[: flags.batch]
    ((_, inputs),) = batches_for_all(reader, rows, model.samplings, flags.batch)

    def run() -> None:
        for _ in range(flags.videos // flags.batch):
            model.models[0].predict_on_batch(inputs)

    return run


if __name__ == "__main__":
    main()
