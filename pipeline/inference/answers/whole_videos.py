"""Predict videos of one's own: batch after batch, those that are known already and those that are faulty between."""

import itertools
from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.inference.activations import videos_at_once
from pipeline.inference.given.reading import read_videos
from pipeline.inference.given.videos import OwnVideo
from pipeline.inference.unloaded import UnloadedEnsemble
from pipeline.inputs.reading.batches import Inputs, batch_videos, sample_video
from pipeline.inputs.reading.own_records import UnreadableVideo
from pipeline.inputs.reading.sampling import sampled_length

_MOST_VALUES = 1 << 30
"""Values of the frames of a batch: fewer videos are taken at once if a bundle is of long ones."""


class Answer(NamedTuple):
    """What is said of a video."""

    video: OwnVideo | UnreadableVideo
    best: tuple[np.ndarray, np.ndarray] | None
    """Labels int [k], best first, and their scores float32 [k]; None if it was not asked for, or cannot be read."""
    descriptors: dict[str, NDArray[np.float16]] | None = None
    """The descriptor [D] of each model, by name; None if they were not asked for."""


def predict_videos(
    found: Iterator[OwnVideo | UnreadableVideo],
    ensemble: UnloadedEnsemble,
    batch_size: int,
    is_known: Callable[[OwnVideo], bool] = lambda video: False,
    describe: bool = False,
) -> Iterator[Answer]:
    """Yield an answer for each video, in their order. Models are loaded when the first video needs them.

    A batch is predicted while the next one is read; of a long video no more is kept than is shown to the models.

    Args:
        found: the videos; those that are unreadable are handed on.
        ensemble: what predicts.
        batch_size: how many videos are predicted at a time, at most.
        is_known: whether a video need not be predicted.
        describe: answer with descriptors too.

    Raises as `Describing.take`, as `Predictor.predict` and as `videos_at_once` does, and OSError where no more files
    can be opened.
    """
    waiting: deque[tuple[OwnVideo | UnreadableVideo, bool]] = deque()
    read = read_videos(
        found, is_known, waiting, lambda frames: sample_video(frames, ensemble.samplings, ensemble.dataset)
    )
    first = next(read, None)
    if first is not None:
        loaded = ensemble.load()
        from pipeline.inference.descriptors import Describing
        from pipeline.inference.predictor import Predictor  # only now: Keras takes seconds

        dataset, samplings = ensemble.dataset, ensemble.samplings
        frames = sum(sampled_length(each.evaluation, each, dataset) for each in samplings)
        batch_size = max(1, min(batch_size, _MOST_VALUES // (dataset.width * frames)))
        models = [model for member in loaded.members for model in member.models]
        batch_size = videos_at_once(models, frames, batch_size)
        describing = Describing(loaded) if describe else None
        predictor = Predictor(describing.ensemble if describing else loaded, batch_size)

        def batches() -> Iterator[tuple[int, Inputs]]:
            videos = itertools.chain([first], read)
            for chunk in iter(lambda: list(itertools.islice(videos, batch_size)), []):
                yield from batch_videos(chunk, dataset, samplings, batch_size)

        for labels, scores in predictor.predict(batches()):
            found_of = describing.take(len(labels)) if describing else []
            for row, best in enumerate(zip(labels, scores)):
                while not waiting[0][1]:
                    yield Answer(waiting.popleft()[0], None)
                own = dict(zip(describing.names, (each[row] for each in found_of))) if describing else None
                yield Answer(waiting.popleft()[0], best, own)
    while waiting:
        yield Answer(waiting.popleft()[0], None)
