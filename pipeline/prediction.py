"""Model and batches to the best labels of each video; training and inference both predict here."""

import concurrent.futures
from collections.abc import Callable, Iterator

import numpy as np

from pipeline.artifacts import StageError
from pipeline.config import InferenceConfig, SamplingConfig
from pipeline.inputs.batches import Inputs, evaluation_batches
from pipeline.inputs.reader import FrameReader
from pipeline.metrics import LabelLists, StreamingMetrics, top_k


class Predictor:
    """A model that predicts the best labels of any videos of an index; the batch halves when memory runs out.

    Args:
        model: a Keras model of `pipeline.models`.
        reader: where the frames come from.
        sampling: `evaluation` says which of them are read.
        inference: the batch size to begin with, and the number of labels to keep.
    """

    def __init__(self, model, reader: FrameReader, sampling: SamplingConfig, inference: InferenceConfig):
        self.model = model
        self.reader = reader
        self.sampling = sampling
        self.batch_size = inference.batch_size
        self.top_k = min(inference.top_k, reader.index.dataset.num_classes)

    def predict(
        self, rows: np.ndarray, progress: Callable[[int], object] = lambda done: None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Labels int16 [n,k] and scores float32 [n,k] of the videos at `rows`; `progress` hears of videos done.

        Raises:
            StageError: a probability is not a number.
            MemoryError, or the backend's own: memory ran out with a single video in a batch.
        """
        labels, scores, position = [], [], 0
        batch_size = min(self.batch_size, max(len(rows), 1))
        while position < len(rows):
            try:
                batches = evaluation_batches(self.reader, rows[position:], self.sampling, batch_size)
                for count, inputs in _ahead(batches):
                    best = self._best(inputs, count)
                    labels.append(best[0])
                    scores.append(best[1])
                    position += count
                    progress(count)
            except Exception as error:
                if batch_size == 1 or not _out_of_memory(error):
                    raise
                batch_size = self.batch_size = batch_size // 2
                print(f"out of memory: going on with {batch_size} videos in a batch", flush=True)
        if not labels:
            return np.zeros((0, self.top_k), np.int16), np.zeros((0, self.top_k), np.float32)
        return np.concatenate(labels), np.concatenate(scores)

    def _best(self, inputs: Inputs, count: int) -> tuple[np.ndarray, np.ndarray]:
        probabilities = np.asarray(self.model.predict_on_batch(inputs), np.float32)[:count]  # n,V
        if not np.isfinite(probabilities).all():
            raise StageError("the model's probabilities are not finite: its weights are damaged; train it again")
        return top_k(probabilities, self.top_k)

    def evaluate(self, rows: np.ndarray, progress: Callable[[int], object] = lambda done: None) -> dict[str, float]:
        """The metrics of the videos at `rows`: see `pipeline.metrics.StreamingMetrics.result`."""
        index = self.reader.index
        metrics = StreamingMetrics(index.dataset.num_classes)
        metrics.accumulate(*self.predict(rows, progress), LabelLists(*index.labels_of(rows)))
        return metrics.result()


def _ahead(batches: Iterator) -> Iterator:
    """The same items, each made in a thread while the one before it is in use."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        upcoming = pool.submit(next, batches, None)
        while (item := upcoming.result()) is not None:
            upcoming = pool.submit(next, batches, None)
            yield item


def _out_of_memory(error: Exception) -> bool:
    """Whether an error says that the device's or the host's memory ran out, on any backend."""
    if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
        return True
    return "RESOURCE_EXHAUSTED" in str(error) or "out of memory" in str(error).lower()
