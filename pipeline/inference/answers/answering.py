"""What is said of videos: the best labels of each, or when labels are seen in it; as plain values."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.inference.answers.whole_videos import predict_videos
from pipeline.inference.given.videos import OwnVideo
from pipeline.inference.unloaded import UnloadedEnsemble
from pipeline.inference.windows.intervals import Interval, find_intervals, interval_values
from pipeline.inference.windows.scores import ScoredVideo, score_windows
from pipeline.inference.windows.times import WindowSettings
from pipeline.inputs.reading.own_records import UnreadableVideo
from pipeline.metrics.thresholds import reach

SURE = 0.5
"""The score from which on a label is assigned to a window, if no thresholds are given."""
_TOP = 5
"""How many labels are named of a video, if no thresholds are given."""


class Answer(NamedTuple):
    """What is said of a video."""

    video: OwnVideo | UnreadableVideo
    values: dict[str, Any] | None = None
    """{"labels": [...]}, or {"intervals": [...]}; None if that is known, or it cannot be read."""
    descriptors: dict[str, NDArray[np.float16]] | None = None
    """Of each model, by name, if they were asked for."""
    scored: ScoredVideo | None = None
    """The scores of all windows, where intervals are told."""
    intervals: Sequence[Interval] = ()


@dataclass(frozen=True)
class Asked:
    """Who is asked, and what."""

    ensemble: UnloadedEnsemble
    names: Sequence[str]
    """Of the classes."""
    batch_size: int
    """How many videos or windows are predicted at a time, at most."""
    top: int | None
    """How many labels are named of a video, at most; None for `_TOP`, or for all that reach their thresholds."""
    by_class: NDArray[np.float64] | None
    """The score from which on each class is assigned, [V], if that is given."""
    windows: WindowSettings | None
    """Which windows are scored; None if whole videos are."""
    describe: bool = False
    """Whether descriptors are asked for, of whole videos."""
    weigh: bool = False
    """Whether it is asked how much each frame counts, of windows."""

    def settings(self) -> list[Any]:
        """Return what the answers depend on beside the model, as plain values."""
        windows = self.windows
        times = [[windows.length, windows.step, windows.fps, SURE]] if windows else []
        said = [] if self.by_class is None else [self.by_class.tolist()]
        return [list(self.names), self._most(), *times, *said]

    def thresholds(self) -> NDArray[np.float64]:
        """Return the score from which on each class is assigned to a window, [V]."""
        return np.full(self.ensemble.dataset.num_classes, SURE) if self.by_class is None else self.by_class

    def _most(self) -> int | None:
        return _TOP if self.top is None and self.by_class is None else self.top

    def answers(
        self,
        videos: Iterator[OwnVideo | UnreadableVideo],
        is_known: Callable[[OwnVideo], bool] = lambda video: False,
    ) -> Iterator[Answer]:
        """Yield an answer for each video, in their order; raises as `predict_videos` and `score_windows` do."""
        if self.windows is None:
            for video, best, descriptors in predict_videos(
                videos, self.ensemble, self.batch_size, is_known, self.describe
            ):
                yield Answer(video, {"labels": self._labels(*best)} if best else None, descriptors)
            return
        thresholds = self.thresholds()
        for scored in score_windows(videos, self.ensemble, self.windows, self.batch_size, is_known, self.weigh):
            if scored.windows is None:
                yield Answer(scored.video)
                continue
            found = find_intervals(scored.scores, scored.windows, thresholds, self._most())
            told = [interval_values(each, self.names) for each in found]
            yield Answer(scored.video, {"intervals": told}, scored=scored, intervals=found)

    def _labels(self, labels: NDArray[np.signedinteger], scores: NDArray[np.floating]) -> list[dict[str, Any]]:
        if self.by_class is not None:
            said = reach(labels, scores, self.by_class)
            labels, scores = labels[said], scores[said]
        most = self._most()
        return [
            {"label": label, "name": self.names[label], "score": round(score, 6)}
            for label, score in zip(labels[:most].tolist(), scores[:most].tolist())
        ]


def table_lines(id: str, labels: Sequence[dict] = (), intervals: Sequence[dict] = ()) -> str:
    """Format a video's rows of the table; a video of which nothing is said has one too."""
    rows = [f"{label['score']:.4f}  {label['name']}" for label in labels]
    rows += [f"{each['start']:>8.1f} - {each['end']:<8.1f}  {each['score']:.4f}  {each['name']}" for each in intervals]
    rows = rows or ["no label reaches its threshold"]
    return "\n".join(f"{id if number == 0 else '':<20}  {row}" for number, row in enumerate(rows))
