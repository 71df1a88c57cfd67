"""What the weights of a blend are chosen by where that is not GAP: another metric of the blend, of all labels kept."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.config.monitor import OF_CLASSES, Monitor, key_of
from pipeline.metrics import LabelLists, StreamingMetrics


@dataclass(frozen=True)
class Lists:
    """The labels that M models list for N videos, side by side, and the metric of any weighted mean of them.

    W is the most labels that the models list together for a video. The mean is that of `combining.blend`: where a model
    does not list a label, the smallest value that it lists for the video stands for it.
    """

    monitor: Monitor
    num_classes: int
    classes: NDArray[np.int32]
    """[N,W], ascending, -1 where there are fewer."""
    values: NDArray[np.float32]
    """[M,N,W]"""
    listed: NDArray[np.bool_]
    """[M,N,W], which model lists which label."""
    truth: LabelLists

    @classmethod
    def align(
        cls,
        monitor: Monitor,
        labels: Sequence[ArrayLike],
        values: Sequence[ArrayLike],
        truth: LabelLists,
        num_classes: int,
    ) -> "Lists":
        """Put M models' lists, int [N,K_m] and float [N,K_m], side by side; `truth` holds the videos' true labels."""
        each = [np.asarray(one, np.int64) for one in labels]
        named = np.sort(np.concatenate(each, axis=1), axis=1)
        new = np.diff(named, axis=1, prepend=-1) > 0
        width = int(new.sum(axis=1).max(initial=1))
        rows = np.arange(len(named))[:, None]
        classes = np.full((len(named), width), num_classes, np.int64)  # beyond all classes, so that each row ascends
        classes[np.broadcast_to(rows, named.shape)[new], (np.cumsum(new, axis=1) - 1)[new]] = named[new]
        places = (rows * (num_classes + 1) + classes).ravel()
        aligned = np.empty((len(each), len(named), width), np.float32)
        listed = np.zeros(aligned.shape, bool)
        for model, (own, given) in enumerate(zip(each, values)):
            given = np.asarray(given, np.float32)
            place = np.searchsorted(places, (rows * (num_classes + 1) + own).ravel())
            aligned[model] = given.min(axis=1, keepdims=True)
            aligned[model].ravel()[place] = given.ravel()
            listed[model].ravel()[place] = True
        classes[classes == num_classes] = -1
        return cls(monitor, num_classes, classes.astype(np.int32), aligned, listed, truth)

    @classmethod
    def joined(cls, parts: Sequence["Lists"]) -> "Lists":
        """Join the lists of several sets of videos."""
        width = max(part.classes.shape[1] for part in parts)

        def wide(array: NDArray, value: float) -> NDArray:
            room = [(0, 0)] * (array.ndim - 1) + [(0, width - array.shape[-1])]
            return np.pad(array, room, constant_values=value)

        sizes = np.concatenate([np.diff(part.truth.offsets) for part in parts])
        truth = LabelLists(
            np.concatenate([part.truth.values for part in parts]), np.concatenate([[0], np.cumsum(sizes)])
        )
        return cls(
            parts[0].monitor,
            parts[0].num_classes,
            np.concatenate([wide(part.classes, -1) for part in parts]),
            np.concatenate([wide(part.values, 0) for part in parts], axis=1),
            np.concatenate([wide(part.listed, False) for part in parts], axis=1),
            truth,
        )

    @property
    def positives(self) -> int:
        """The number of true labels."""
        return len(self.truth.values)

    @property
    def videos(self) -> int:
        return len(self.classes)

    @property
    def nbytes(self) -> int:
        return self.classes.nbytes + self.values.nbytes + self.listed.nbytes

    def score(self, weights: ArrayLike) -> float:
        """Return the metric of the blend with these weights [M]; 0 if it has no value."""
        weights = np.asarray(weights, np.float64)
        used = np.flatnonzero(weights)
        means = sum(weights[model] / weights.sum() * self.values[model].astype(np.float64) for model in used)
        labels = np.where(self.listed[used].any(axis=0), self.classes, -1)
        metrics = StreamingMetrics(self.num_classes)
        scores = np.asarray(means, np.float32)
        metrics.accumulate(labels, scores, self.truth)
        if self.monitor in OF_CLASSES:
            metrics.rank(labels, scores)
            found = metrics.by_class()
        else:
            found = {**metrics.result(), **metrics.accuracy()}
        value = found[key_of(self.monitor)]
        return 0.0 if value is None else float(value)
