"""Predict a split part by part: here, or each part as a task of a cluster, by models that a process loads once."""

import functools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from pipeline.artifacts.predictions import Predictions, PredictionStore
from pipeline.config import InferenceConfig
from pipeline.config.errors import StageError
from pipeline.inference.bundle.opening import is_onnx
from pipeline.inference.runs import TrainedRun
from pipeline.inputs.index import Index
from pipeline.runtime import backend, devices
from pipeline.runtime.progress import progress_bar

if TYPE_CHECKING:
    from pipeline.inference.ensemble import Ensemble
    from pipeline.inference.predictor import Predictor
    from pipeline.inputs.reading.reader import FrameReader


@dataclass(frozen=True)
class Models:
    """The models that predict, of a run or else of a bundle; they are loaded when they are needed, and once."""

    run: TrainedRun | None
    bundle: Path | None
    inference: InferenceConfig

    @functools.cached_property
    def _ensemble(self) -> "Ensemble":
        if not (self.bundle and is_onnx(self.bundle)):
            backend.start_backend()
            devices.spread(self.inference.devices, "inference.devices")
        from pipeline.inference.bundle.loading import load_bundle
        from pipeline.inference.ensemble import Ensemble

        run, top_k = self.run, self.inference.top_k
        return Ensemble.of_runs(run.alone(top_k), [run], top_k) if run else load_bundle(self.bundle)

    def reading(self, index: Index, fold: int | None = None) -> "tuple[Predictor, FrameReader]":
        """Return what predicts, all models together or that of one fold, and what reads the videos of an index."""
        ensemble = self._ensemble.fold(fold) if fold else self._ensemble
        from pipeline.inference.predictor import Predictor
        from pipeline.inputs.reading.reader import FrameReader

        return Predictor(ensemble, self.inference.batch_size), FrameReader(index)


@dataclass(frozen=True)
class SplitTask:
    """What a process needs to predict any part of a split.

    Args:
        models: that predict.
        index: folder of the index.
        verify: whether every shard is verified when it is opened.
        digest: of the index, or of its view for a fold.
        split: that is predicted.
        fold: whose model predicts the videos that it has not seen; None: all models.
        store: folder of the predictions.
    """

    models: Models
    index: Path
    verify: bool
    digest: str
    split: str
    fold: int | None
    store: Path

    @functools.cached_property
    def _reading(self) -> "tuple[Predictor, FrameReader]":
        index = Index.open(self.index, verify=self.verify)
        view = index.fold(self.fold) if self.fold else index
        if view.digest != self.digest:
            raise StageError(f"{self.index} was made anew meanwhile: run infer again")
        return self.models.reading(view, self.fold)


def predict_part(task: SplitTask, part: tuple[int, range]) -> int:
    """Predict and store a part, its number and its videos within the split; return how many videos it has."""
    number, videos = part
    predictor, reader = task._reading
    rows = reader.index.rows(task.split)[videos.start : videos.stop]
    best = predictor.predict_rows(reader, rows)
    PredictionStore(task.store).write(number, Predictions(reader.index.ids_of(rows), *best))
    return len(rows)


def predict_parts(
    predictor: "Predictor",
    reader: "FrameReader",
    store: PredictionStore,
    split: str,
    missing: Sequence[tuple[int, range]],
    videos: int | None = None,
) -> None:
    """Predict and store missing parts of a split, without a pause between them; `videos` is as of `bar_of`."""
    index = reader.index
    rows = index.rows(split)
    parts = [rows[each.start : each.stop] for _, each in missing]
    with bar_of(split, missing, videos) as bar, ThreadPoolExecutor(1) as writer:
        written = None
        for (number, _), part, best in zip(missing, parts, predictor.predict_parts(reader, parts, bar.update)):
            if written:
                written.result()
            written = writer.submit(store.write, number, Predictions(index.ids_of(part), *best))
        if written:
            written.result()


def bar_of(split: str, missing: Sequence[tuple[int, range]], videos: int | None = None) -> tqdm:
    """Return the bar of missing parts of a split; it leads to `videos`, all of the split, or else to theirs."""
    own = sum(len(each) for _, each in missing)
    total = own if videos is None else videos
    return progress_bar(total=total, initial=total - own, desc=f"infer {split}", unit=" videos", unit_scale=True)
