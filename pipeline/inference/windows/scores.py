"""Score the windows of videos of one's own: each as if it were a video, what frames share being computed once."""

from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.config.errors import ConfigError, StageError
from pipeline.inference.ensemble import Ensemble, EnsembleMember
from pipeline.inference.frame_weights import frame_shares, frame_weights
from pipeline.inference.given.reading import read_videos
from pipeline.inference.given.videos import OwnVideo
from pipeline.inference.unloaded import UnloadedEnsemble
from pipeline.inference.windows.models import WindowModel
from pipeline.inference.windows.times import Windows, WindowSettings
from pipeline.inputs.reading.own_records import UnreadableVideo
from pipeline.inputs.reading.sampling import choose_frames, sampled_length
from pipeline.metrics import top_k
from pipeline.runtime.parallel import prefetch

_LOOKED_AT = 1024
"""The most frames of which it is told how much they count: families whose frames see each other take their square."""


class ScoredVideo(NamedTuple):
    """What is said of a video over time."""

    video: OwnVideo | UnreadableVideo
    windows: Windows | None
    """None if it was not asked for, or cannot be read."""
    scores: NDArray[np.float32] | None
    """Of each class in each window, [W,V]."""
    shares: NDArray[np.floating] | None = None
    """How much each frame of the video counts, [n], see `WindowScorer.shares`; None if it was not asked for."""


def score_windows(
    found: Iterator[OwnVideo | UnreadableVideo],
    ensemble: UnloadedEnsemble,
    settings: WindowSettings,
    batch_size: int,
    is_known: Callable[[OwnVideo], bool] = lambda video: False,
    weigh: bool = False,
) -> Iterator[ScoredVideo]:
    """Yield the scores of each video, in their order. Models are loaded when the first video needs them.

    Args:
        found: the videos; those that are unreadable are handed on.
        ensemble: what predicts.
        settings: which windows a video has.
        batch_size: how many windows are predicted at a time, at most.
        is_known: whether a video need not be predicted.
        weigh: tell how much each frame counts.

    Raises:
        ConfigError: the videos of the model have no frames.
        StageError: a probability is not finite.
    """
    if ensemble.dataset.level == "video":
        raise ConfigError("the model sees one row a video and no frames, so it has no windows: leave out --window")
    waiting: deque[tuple[OwnVideo | UnreadableVideo, bool]] = deque()
    scorer = None
    for frames in prefetch(read_videos(found, is_known, waiting)):
        scorer = scorer or WindowScorer(ensemble.load(), batch_size)
        while not waiting[0][1]:
            yield ScoredVideo(waiting.popleft()[0], None, None)
        windows = settings.of(len(frames))
        shares = scorer.shares(frames) if weigh else None
        yield ScoredVideo(waiting.popleft()[0], windows, scorer.scores(frames, windows), shares)
    while waiting:
        yield ScoredVideo(waiting.popleft()[0], None, None)


class WindowScorer:
    """Scores the windows of one video after the other.

    Args:
        ensemble: the models.
        batch_size: how many windows are predicted at a time, at most.
    """

    def __init__(self, ensemble: Ensemble, batch_size: int):
        self.ensemble = ensemble
        self._models = [[WindowModel(model, batch_size) for model in member.models] for member in ensemble.members]
        self._kept = min(ensemble.member_top_k, ensemble.dataset.num_classes)

    def scores(self, frames: np.ndarray, windows: Windows) -> NDArray[np.float32]:
        """frames of the dataset's dtype [n,F] -> the score of each class in each window, [W,V].

        A window has the scores that it would have as a video of its own. A blend keeps the best labels of each member,
        as it does for a video; a class that no member keeps has the score 0.

        Raises StageError: a probability is not finite.
        """
        found = [
            self._of_member(member, models, frames, windows)
            for member, models in zip(self.ensemble.members, self._models)
        ]
        if not all(np.isfinite(each).all() for each in found):
            raise StageError("the model's probabilities are not finite: its weights are damaged; train it again")
        if len(found) == 1 and self.ensemble.recipe.combine == "probabilities":
            return found[0]
        labels, scores = zip(*(top_k(each, self._kept) for each in found))
        best = self.ensemble.recipe.apply(labels, scores, self.ensemble.dataset.num_classes)
        dense = np.zeros_like(found[0])
        np.put_along_axis(dense, best[0].astype(np.int64), best[1], axis=1)
        return dense

    def shares(self, frames: np.ndarray) -> NDArray[np.floating] | None:
        """frames [n,F] -> how much each counts where the whole video is pooled, [n], in all 1; None if no member tells.

        The members count by their weights. Of a video with very many frames some are looked at, evenly spread, and
        those after one count as it does.
        """
        starts = np.arange(min(len(frames), _LOOKED_AT)) * len(frames) // min(len(frames), _LOOKED_AT)
        inputs = {"frames": frames[None, starts], "num_frames": np.array([len(starts)], np.int32)}
        whole = np.zeros(len(starts))
        for member, used in zip(self.ensemble.members, self.ensemble.recipe.used):
            for model in member.models:
                found = frame_shares(frame_weights(model, inputs))
                if found is not None:
                    whole += used.weight / len(member.models) * found[0]
        spread = whole.repeat(np.diff(starts, append=len(frames)))
        return spread / spread.sum() if whole.any() else None

    def _of_member(
        self, member: EnsembleMember, models: list[WindowModel], frames: np.ndarray, windows: Windows
    ) -> NDArray[np.float32]:
        """Return one member's probabilities, [W,V]: the mean of its models'."""
        sampling = member.sampling
        length = sampled_length(sampling.evaluation, sampling, self.ensemble.dataset)
        (chosen,), (count,) = choose_frames(sampling.evaluation, np.array([windows.length]), length)
        found = [model.probabilities(frames, windows.starts, chosen[:count]) for model in models]
        return found[0] if len(found) == 1 else np.mean(found, axis=0)
