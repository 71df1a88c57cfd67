"""Models and batches to the best labels of each video; training and inference predict here."""

import concurrent.futures
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from pipeline.config import DatasetConfig, InferenceConfig, SamplingConfig
from pipeline.config.errors import StageError
from pipeline.ensembling.recipe import Recipe
from pipeline.inputs.reading.batches import Inputs, evaluation_batches, resampled
from pipeline.inputs.reading.reader import FrameReader
from pipeline.metrics import LabelLists, StreamingMetrics, top_k
from pipeline.runtime.parallel import ahead

Best = tuple[np.ndarray, np.ndarray]
"""Labels int16 [n,k], best first, and scores float32 [n,k]."""
ALL = SamplingConfig(evaluation="all")


class SampledModel(NamedTuple):
    """A Keras model of `pipeline.models`, and the frames that it wants: `evaluation` counts."""

    model: object
    sampling: SamplingConfig


class Scorer:
    """Models that answer together: the best labels of each video of any batches.

    While the device works at one batch, the next one is read and the one before it is ranked and blended. When memory
    runs out, the device gets half as many videos at a time.

    Args:
        models: those that answer; frames are read and parsed once for all of them.
        dataset: what the batches are of.
        inference: videos on the device to begin with, and the labels of each model to keep.
        recipe: how their lists become one, `recipe.used` in the models' order; None for a single model's own list.
    """

    def __init__(
        self,
        models: Sequence[SampledModel],
        dataset: DatasetConfig,
        inference: InferenceConfig,
        recipe: Recipe | None = None,
    ):
        wanted = 1 if recipe is None else len(recipe.used)
        if len(models) != wanted:
            raise ValueError(f"{len(models)} models for a recipe of {wanted}")
        self.models = list(models)
        self.dataset = dataset
        self.recipe = recipe
        self.batch_size = inference.batch_size
        self._kept = min(inference.top_k, dataset.num_classes)
        self.top_k = self._kept if recipe is None else min(recipe.top_k, self._kept)
        self._samplings = {_frames_chosen(each.sampling): each.sampling for each in models}
        self.sampling = models[0].sampling if len(self._samplings) == 1 else ALL
        """What the batches must be read with: all frames, where the models want different ones."""

    def best(self, batches: Iterable[tuple[int, Inputs]]) -> Iterator[Best]:
        """The best labels of each batch's first `count` videos, in order.

        Args:
            batches: (count, inputs), read with `sampling`.
        Raises:
            StageError: a probability is not a number.
            MemoryError, or the backend's own: memory ran out with a single video on the device.
        """
        with concurrent.futures.ThreadPoolExecutor(1) as ranking:
            ranked: deque[concurrent.futures.Future[Best]] = deque()
            for count, inputs in ahead(self._sampled(batch) for batch in batches):
                probabilities = [self._probabilities(each, inputs, count) for each in self.models]
                ranked.append(ranking.submit(self._rank, probabilities))
                if len(ranked) > 1:
                    yield ranked.popleft().result()
            yield from (future.result() for future in ranked)

    def _sampled(self, batch: tuple[int, Inputs]) -> tuple[int, dict[tuple, Inputs]]:
        """The batch as each sampling wants it; runs in the thread that reads."""
        count, inputs = batch
        if len(self._samplings) == 1:
            return count, dict.fromkeys(self._samplings, inputs)
        return count, {key: resampled(inputs, sampling, self.dataset) for key, sampling in self._samplings.items()}

    def _probabilities(self, scored: SampledModel, inputs: dict[tuple, Inputs], count: int) -> np.ndarray:
        """One model's probabilities, [count,V]."""
        chosen = inputs[_frames_chosen(scored.sampling)]
        parts, position = [], 0
        while position < count:
            size = min(self.batch_size, len(chosen["num_frames"]))
            try:
                part = scored.model.predict_on_batch(_slice(chosen, position, size))
            except Exception as error:
                if size == 1 or not _out_of_memory(error):
                    raise
                self.batch_size = size // 2
                print(f"out of memory: going on with {self.batch_size} videos in a batch", flush=True)
                continue
            parts.append(np.asarray(part, np.float32)[: count - position])
            position += size
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _rank(self, probabilities: list[np.ndarray]) -> Best:
        if not all(np.isfinite(each).all() for each in probabilities):
            raise StageError("the model's probabilities are not finite: its weights are damaged; train it again")
        labels, scores = zip(*(top_k(each, self._kept) for each in probabilities))
        if self.recipe is None:
            return labels[0], scores[0]
        return self.recipe.apply(labels, scores, self.dataset.num_classes)


class IndexScorer:
    """The best labels of any videos of an index.

    Args:
        scorer: the models.
        reader: where the frames come from.
    """

    def __init__(self, scorer: Scorer, reader: FrameReader):
        self.scorer = scorer
        self.reader = reader

    def predict(self, rows: np.ndarray, progress: Callable[[int], object] = lambda done: None) -> Best:
        """The best labels of the videos at `rows`; `progress` hears of videos done. Raises as `Scorer.best` does."""
        (best,) = self.predict_each([rows], progress)
        return best

    def predict_each(
        self, parts: Sequence[np.ndarray], progress: Callable[[int], object] = lambda done: None
    ) -> Iterator[Best]:
        """The same for each of several lists of rows; a batch holds rows of one list, and none waits for another."""
        scorer = self.scorer

        def batches() -> Iterator[tuple[int, Inputs]]:
            for rows in parts:
                size = min(scorer.batch_size, max(len(rows), 1))
                yield from evaluation_batches(self.reader, rows, scorer.sampling, size)

        answers = scorer.best(batches())
        for rows in parts:
            labels = [np.zeros((0, scorer.top_k), np.int16)]
            scores = [np.zeros((0, scorer.top_k), np.float32)]
            done = 0
            while done < len(rows):
                best = next(answers)
                labels.append(best[0])
                scores.append(best[1])
                done += len(best[0])
                progress(len(best[0]))
            yield np.concatenate(labels), np.concatenate(scores)

    def evaluate(self, rows: np.ndarray, progress: Callable[[int], object] = lambda done: None) -> dict[str, float]:
        """The metrics of the videos at `rows`: see `pipeline.metrics.StreamingMetrics.result`."""
        index = self.reader.index
        metrics = StreamingMetrics(index.dataset.num_classes)
        metrics.accumulate(*self.predict(rows, progress), LabelLists(*index.labels_of(rows)))
        return metrics.result()


class Predictor(IndexScorer):
    """A single model over an index: see `Scorer` and `IndexScorer`."""

    def __init__(self, model, reader: FrameReader, sampling: SamplingConfig, inference: InferenceConfig):
        super().__init__(Scorer([SampledModel(model, sampling)], reader.index.dataset, inference), reader)


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
