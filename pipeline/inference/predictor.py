"""The best labels of videos, from the models of an ensemble: training and every stage predict here."""

import concurrent.futures
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from pipeline.config import SamplingConfig
from pipeline.config.errors import StageError
from pipeline.inference.ensemble import Ensemble, EnsembleMember
from pipeline.inputs.index import Index
from pipeline.inputs.reading.batches import Inputs, evaluation_batches, resample_rows
from pipeline.inputs.reading.reader import FrameReader
from pipeline.metrics import LabelLists, StreamingMetrics, top_k
from pipeline.runtime.parallel import prefetch

TopLabels = tuple[np.ndarray, np.ndarray]
"""Labels int16 [n,k], best first, and scores float32 [n,k]."""
ALL = SamplingConfig(evaluation="all")


class Predictor:
    """The best labels of each video of any batches, or of any rows of an index.

    While the device works on one batch, the next one is read and the one before it is ranked and blended. When memory
    runs out, the device gets half as many videos at a time.

    Args:
        ensemble: the models; frames are read and parsed once for all of them.
        batch_size: videos on the device to begin with.
    """

    def __init__(self, ensemble: Ensemble, batch_size: int):
        self.ensemble = ensemble
        self.batch_size = batch_size
        self._kept = min(ensemble.member_top_k, ensemble.dataset.num_classes)
        self.top_k = min(ensemble.recipe.top_k, self._kept)
        """Labels of each video."""
        self._is_single = len(ensemble.members) == 1 and ensemble.recipe.combine == "probabilities"
        self._samplings = {_frames_chosen(member.sampling): member.sampling for member in ensemble.members}
        self.sampling = ensemble.members[0].sampling if len(self._samplings) == 1 else ALL
        """What the batches must be read with: all frames, where the models want different ones."""

    def predict(self, batches: Iterable[tuple[int, Inputs]]) -> Iterator[TopLabels]:
        """The best labels of each batch's first `count` videos, in order.

        Args:
            batches: (count, inputs), read with `sampling`.
        Raises:
            StageError: a probability is not a number.
            MemoryError, or the backend's own: memory ran out with a single video on the device.
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
        """The best labels of the videos at `rows`; `progress` is told how many more are done. Raises as `predict`."""
        (best,) = self.predict_parts(reader, [rows], progress)
        return best

    def predict_parts(
        self,
        reader: FrameReader,
        parts: Sequence[np.ndarray],
        progress: Callable[[int], object] = lambda done: None,
    ) -> Iterator[TopLabels]:
        """The same for each of several lists of rows; a batch holds rows of one list, and none waits for another."""

        def batches() -> Iterator[tuple[int, Inputs]]:
            for rows in parts:
                size = min(self.batch_size, max(len(rows), 1))
                yield from evaluation_batches(reader, rows, self.sampling, size)

        predicted = self.predict(batches())
        for rows in parts:
            labels = [np.zeros((0, self.top_k), np.int16)]
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
    ) -> dict[str, float]:
        """The metrics of the videos at `rows`: see `pipeline.metrics.StreamingMetrics.result`."""
        return metrics_of(reader.index, rows, self.predict_rows(reader, rows, progress))

    def _sampled(self, batch: tuple[int, Inputs]) -> tuple[int, dict[tuple, Inputs]]:
        """The batch as each sampling wants it; runs in the thread that reads."""
        count, inputs = batch
        if len(self._samplings) == 1:
            return count, dict.fromkeys(self._samplings, inputs)
        dataset = self.ensemble.dataset
        return count, {key: resample_rows(inputs, sampling, dataset) for key, sampling in self._samplings.items()}

    def _probabilities(self, member: EnsembleMember, inputs: dict[tuple, Inputs], count: int) -> np.ndarray:
        """One model's probabilities, [count,V]."""
        chosen = inputs[_frames_chosen(member.sampling)]
        parts, position = [], 0
        while position < count:
            size = min(self.batch_size, len(chosen["num_frames"]))
            try:
                part = member.model.predict_on_batch(_slice(chosen, position, size))
            except Exception as error:
                if size == 1 or not _out_of_memory(error):
                    raise
                self.batch_size = size // 2
                print(f"out of memory: going on with {self.batch_size} videos in a batch", flush=True)
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


def metrics_of(index: Index, rows: np.ndarray, best: TopLabels) -> dict[str, float]:
    """The metrics of predictions of the videos at `rows`."""
    metrics = StreamingMetrics(index.dataset.num_classes)
    metrics.accumulate(*best, LabelLists(*index.labels_of(rows)))
    return metrics.result()


def _frames_chosen(sampling: SamplingConfig) -> tuple:
    """What tells one choice of frames from another."""
    return (sampling.evaluation, sampling.frames if sampling.evaluation == "uniform" else 0)


def _slice(inputs: Inputs, start: int, size: int) -> Inputs:
    """Rows from `start`, always `size` of them, so that a model is compiled once: the last is repeated."""
    rows = np.minimum(np.arange(start, start + size), len(inputs["num_frames"]) - 1)
    whole = start == 0 and size == len(inputs["num_frames"])
    return inputs if whole else {name: values[rows] for name, values in inputs.items()}


def _out_of_memory(error: Exception) -> bool:
    """Whether an error says that the device's or the host's memory ran out, on any backend."""
    if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
        return True
    return "RESOURCE_EXHAUSTED" in str(error) or "out of memory" in str(error).lower()
