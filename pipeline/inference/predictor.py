"""Predict the best labels of videos with the models of an ensemble; training and every stage predict through this."""

import concurrent.futures
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from pipeline.config.errors import StageError
from pipeline.config.wording import counted
from pipeline.inference.ensemble import Ensemble, EnsembleMember
from pipeline.inference.scoring import Metrics, all_metrics
from pipeline.inputs.index import HOLDOUT, Index
from pipeline.inputs.reading.batches import Inputs, batches_for_all
from pipeline.inputs.reading.reader import FrameReader
from pipeline.inputs.reading.sampling import distinct_samplings, frames_chosen, split_samples
from pipeline.metrics import LabelLists, StreamingMetrics, label_dtype, top_k
from pipeline.runtime.devices import shares
from pipeline.runtime.memory import is_out_of_memory
from pipeline.runtime.parallel import prefetch

TopLabels = tuple[np.ndarray, np.ndarray]
"""Labels [n,k], of `label_dtype`, best first, and scores float32 [n,k]."""


class Predictor:
    """Predicts the best labels of each video, from batches or from rows of an index.

    While the device works on one batch, the next batch is read and the previous one is ranked and blended. When memory
    runs out, the number of videos on the device is halved.

    Args:
        ensemble: the models; frames are read and parsed once for all of them.
        batch_size: how many videos are on the device at a time, unless memory runs out.
    """

    def __init__(self, ensemble: Ensemble, batch_size: int):
        self.ensemble = ensemble
        self.batch_size = batch_size
        self._kept = min(ensemble.member_top_k, ensemble.dataset.num_classes)
        self.top_k = min(ensemble.recipe.top_k, self._kept)
        """How many labels each video gets."""
        self._is_single = len(ensemble.members) == 1 and ensemble.recipe.combine == "probabilities"
        self.samplings = distinct_samplings(member.sampling for member in ensemble.members)
        """The samplings that batches must be read with, each once; see `batches_for_all`."""

    def predict(self, batches: Iterable[tuple[int, Inputs]]) -> Iterator[TopLabels]:
        """Yield the best labels of the first `count` videos of each batch, in order.

        Args:
            batches: pairs (count, inputs), read with `samplings`.
        Raises:
            StageError: a probability is not finite.
            MemoryError, or the backend's own error: memory ran out with a single video on the device.
        """
        with concurrent.futures.ThreadPoolExecutor(1) as ranking:
            ranked: deque[concurrent.futures.Future[TopLabels]] = deque()
            for count, inputs in prefetch(self._sampled(batch) for batch in batches):
                probabilities = [self._probabilities(member, inputs, count) for member in self.ensemble.members]
                ranked.append(ranking.submit(self._rank, probabilities))
                if len(ranked) > 1:
                    yield ranked.popleft().result()
            yield from (future.result() for future in ranked)

    def predict_rows(
        self, reader: FrameReader, rows: np.ndarray, progress: Callable[[int], object] = lambda done: None
    ) -> TopLabels:
        """Return the best labels of the videos at `rows`. `progress` is told how many more videos are done.

        Raises as `predict` does.
        """
        (best,) = self.predict_parts(reader, [rows], progress)
        return best

    def predict_parts(
        self,
        reader: FrameReader,
        parts: Sequence[np.ndarray],
        progress: Callable[[int], object] = lambda done: None,
    ) -> Iterator[TopLabels]:
        """Yield the result of `predict_rows` for each of several lists of rows, without a pause between lists.

        Each batch holds rows of one list only.
        """

        def batches() -> Iterator[tuple[int, Inputs]]:
            for rows in parts:
                size = min(self.batch_size, max(len(rows), 1))
                yield from batches_for_all(reader, rows, self.samplings, size)

        predicted = self.predict(batches())
        for rows in parts:
            labels = [np.zeros((0, self.top_k), label_dtype(self.ensemble.dataset.num_classes))]
            scores = [np.zeros((0, self.top_k), np.float32)]
            done = 0
            while done < len(rows):
                best = next(predicted)
                labels.append(best[0])
                scores.append(best[1])
                done += len(best[0])
                progress(len(best[0]))
            yield np.concatenate(labels), np.concatenate(scores)

    def evaluate_rows(
        self, reader: FrameReader, rows: np.ndarray, progress: Callable[[int], object] = lambda done: None
    ) -> Metrics:
        """Return the metrics of the videos at `rows`."""
        return metrics_of(reader.index, rows, self.predict_rows(reader, rows, progress))

    def evaluate_folds(self, reader: FrameReader, progress: Callable[[int], object] = lambda done: None) -> Metrics:
        """Return the metrics of the hold-out of an index with folds, each video by the models that have not seen it."""
        rows, found = [], []
        for number in range(1, reader.index.folds + 1):
            rows.append(reader.index.fold(number).rows(HOLDOUT))
            own = Predictor(self.ensemble.fold(number), self.batch_size)
            found.append(own.predict_rows(reader, rows[-1], progress))
        labels, scores = map(np.concatenate, zip(*found))
        return metrics_of(reader.index, np.concatenate(rows), (labels, scores))

    def _sampled(self, batch: tuple[int, Inputs]) -> tuple[int, dict[tuple, Inputs]]:
        """Return the batch with the frames that each sampling asks for."""
        count, inputs = batch
        split = split_samples(inputs, self.samplings, self.ensemble.dataset)
        return count, {frames_chosen(sampling): each for sampling, each in zip(self.samplings, split)}

    def _probabilities(self, member: EnsembleMember, inputs: dict[tuple, Inputs], count: int) -> np.ndarray:
        """Return one member's probabilities, [count,V]: the mean of its models'."""
        chosen = inputs[frames_chosen(member.sampling)]
        whole = self._of_model(member.models[0], chosen, count)
        for model in member.models[1:]:
            whole = whole + self._of_model(model, chosen, count)
        return whole / np.float32(len(member.models)) if len(member.models) > 1 else whole

    def _of_model(self, model: Any, chosen: Inputs, count: int) -> np.ndarray:
        """Return one model's probabilities, float32 [count,V]."""
        parts, position = [], 0
        while position < count:
            least = shares()
            size = -(-min(self.batch_size, len(chosen["num_frames"])) // least) * least
            try:
                part = model.predict_on_batch(_slice(chosen, position, size))
            except Exception as error:
                if size == least or not is_out_of_memory(error):
                    raise
                self.batch_size = max(size // 2 // least, 1) * least
                print(f"out of memory: continuing with {counted(self.batch_size, 'video')} in a batch", flush=True)
                continue
            parts.append(np.asarray(part, np.float32)[: count - position])
            position += size
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _rank(self, probabilities: list[np.ndarray]) -> TopLabels:
        if not all(np.isfinite(each).all() for each in probabilities):
            raise StageError("the model's probabilities are not finite: its weights are damaged; train it again")
        labels, scores = zip(*(top_k(each, self._kept) for each in probabilities))
        if self._is_single:
            return labels[0][:, : self.top_k], scores[0][:, : self.top_k]
        return self.ensemble.recipe.apply(labels, scores, self.ensemble.dataset.num_classes)


def metrics_of(index: Index, rows: np.ndarray, best: TopLabels) -> Metrics:
    """Return the metrics of the predicted labels of the videos at `rows`: see `scoring.Metrics`."""
    metrics = StreamingMetrics(index.dataset.num_classes)
    metrics.accumulate(*best, LabelLists(*index.labels_of(rows)))
    metrics.rank(*best)
    return all_metrics(metrics, index)


def _slice(inputs: Inputs, start: int, size: int) -> Inputs:
    """Return `size` rows from `start`; past the end the last row repeats, so that a model is compiled once."""
    rows = np.minimum(np.arange(start, start + size), len(inputs["num_frames"]) - 1)
    whole = start == 0 and size == len(inputs["num_frames"])
    return inputs if whole else {name: values[rows] for name, values in inputs.items()}
