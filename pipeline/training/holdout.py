"""The hold-out while a model is trained: predicted by all hosts with the weights of the time, scored, and kept."""

import math
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from pipeline.artifacts.models import MODEL, digest_model
from pipeline.artifacts.predictions import Predictions
from pipeline.config import InferenceConfig, SamplingConfig
from pipeline.inference.ensemble import Ensemble
from pipeline.inference.freshness import prediction_store
from pipeline.inference.predictor import Predictor
from pipeline.inference.runs import prediction_settings
from pipeline.inference.scoring import Scores, score_predictions, write_scores
from pipeline.inputs.index import HOLDOUT, Index
from pipeline.inputs.reading.reader import FrameReader
from pipeline.runtime.hosts import Hosts
from pipeline.training.local_model import LocalModel


class Holdout:
    """The videos of an index that are held out, and what predicts them.

    Args:
        model: the model that is trained; it predicts with the weights that it has at the time.
        reader: reads the frames of the index.
        hosts: those that train it.
    """

    def __init__(
        self,
        model: keras.Model,
        reader: FrameReader,
        index: Index,
        sampling: SamplingConfig,
        inference: InferenceConfig,
        hosts: Hosts,
    ):
        self.rows = index.rows(HOLDOUT) if HOLDOUT in index.splits else np.zeros(0, np.int64)
        self._reader = reader
        self._index = index
        self._hosts = hosts
        self._settings = prediction_settings(sampling, inference, index.dataset.num_classes)
        predicts = LocalModel(model) if hosts.count > 1 else model
        self.predictor = Predictor(
            Ensemble.of_model(predicts, sampling, index.dataset, inference.top_k), inference.batch_size
        )

    def predict(self, go_on: Callable[[], None]) -> Predictions:
        """Predict the hold-out in the parts of `infer`, for the same bits; `go_on` is called between batches.

        Of several hosts, each predicts an equal part of it, filled up with videos that are predicted already.
        """
        size, videos, hosts = self._settings["videos_per_part"], len(self.rows), self._hosts
        own = np.resize(self.rows, (hosts.count, math.ceil(videos / hosts.count)))[hosts.own]
        parts = [own[start : start + size] for start in range(0, len(own), size)]
        found = zip(*self.predictor.predict_parts(self._reader, parts, lambda _: go_on()))
        labels, scores = (np.concatenate(hosts.gather(np.concatenate(each))) for each in found)
        return Predictions(self._index.ids_of(self.rows), labels[:videos], scores[:videos])

    def score(self, found: Predictions, run: Path) -> Scores:
        """Score predictions; the folder of the run is for messages."""
        return score_predictions(lambda: [found], self._index, HOLDOUT, run)

    def keep(self, found: Predictions, scores: Scores, run: Path) -> None:
        """Store predictions by the model that was just stored in the folder of a run, as `infer` would make them."""
        store = prediction_store(run, HOLDOUT)
        inputs = {"model": digest_model(run / MODEL), "index": self._index.digest}
        store.write_all(self._settings, inputs, self._settings["videos_per_part"], found)
        write_scores(store, self._index, scores)
