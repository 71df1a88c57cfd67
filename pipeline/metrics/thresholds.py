"""Thresholds: from which score on a label is assigned, by class or for all, and what is right of what they keep."""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics import LabelLists
from pipeline.metrics.classes import ClassRankings, Cuts
from pipeline.metrics.matching import correct_pairs

Goal = Literal["f1", "precision", "recall"]
NEVER = 2.0
"""The threshold of a class that is never assigned: no score reaches it."""


class Choice(NamedTuple):
    """The thresholds of V classes, all of scores between 0 and 1, or `NEVER`."""

    by_class: NDArray[np.float64]
    """[V]; a label is assigned if its score is at least that of its class."""
    shared: float
    """The threshold of all classes together."""
    own: NDArray[np.bool_]
    """[V], which classes have a threshold that was chosen for them, and not the shared one."""
    missed: NDArray[np.bool_]
    """[V], which classes do not reach the goal where the threshold was chosen, whatever it is."""


def choose(cuts: Cuts, positives: NDArray[np.integer], goal: Goal, value: float) -> tuple[NDArray, NDArray]:
    """Return the threshold of each class, float64 [V], and whether it reaches the goal, bool [V].

    A threshold is the score of a correct pair, the lowest that is kept; pairs of equal scores stand or fall together.

    * f1: the best F1; of equals the highest threshold.
    * precision: of the thresholds whose precision is at least `value`, the lowest, which finds most. If there is none,
      the class is never assigned.
    * recall: of the thresholds whose recall is at least `value`, the highest, which is wrong least. If there is none,
      since correct pairs are not among those given, the lowest.

    A class without a correct pair is never assigned.

    Args:
        cuts: of `ClassRankings`.
        positives: int [V], how many videos have each class, those included whose pair was not given.
        goal: what to reach.
        value: the precision or the recall that is wanted.
    """
    thresholds, reached = np.full(len(positives), NEVER), np.zeros(len(positives), bool)
    places = np.arange(len(cuts.classes))
    of_class = positives[cuts.classes]
    if goal == "f1":
        worth = 2 * cuts.correct / (cuts.pairs + of_class)
        order, good = np.lexsort((places, -worth, cuts.classes)), np.ones(len(places), bool)
    elif goal == "precision":
        good = cuts.correct / cuts.pairs >= value
        order = places[good][::-1]
    else:
        good = cuts.correct / of_class >= value
        order = np.concatenate([places[good], places[::-1]])  # in case there is none, the lowest
    classes, first = np.unique(cuts.classes[order], return_index=True)
    chosen = order[first]
    thresholds[classes], reached[classes] = cuts.scores[chosen], good[chosen]
    return thresholds, reached


class ThresholdSearch:
    """Chooses thresholds on videos that are given twice in parts: first all to `find`, then all to `count`.

    What is kept is some 80 bytes for each correct pair.
    """

    def __init__(self, num_classes: int) -> None:
        self.positives = np.zeros(num_classes, np.int64)
        """[V], how many of the videos have each class."""
        self._each, self._all = ClassRankings(num_classes), ClassRankings(1)

    def find(self, labels: NDArray[np.integer], scores: NDArray[np.floating], truth: LabelLists) -> None:
        """Add n videos: labels int [n,K], -1 where there are fewer, their scores float [n,K], and the true labels."""
        correct = correct_pairs(labels, truth, len(self.positives))
        self.positives += np.bincount(truth.values, minlength=len(self.positives))
        self._each.find(labels[correct], scores[correct])
        self._all.find(np.zeros(np.count_nonzero(correct), np.int64), scores[correct])

    def count(self, labels: NDArray[np.integer], scores: NDArray[np.floating]) -> None:
        """Count the pairs of n videos, in the second pass."""
        listed = labels >= 0
        self._each.count(labels[listed], scores[listed])
        self._all.count(np.zeros(np.count_nonzero(listed), np.int64), scores[listed])

    def choose(self, goal: Goal, value: float, shared: bool, least_positives: int) -> Choice:
        """Return thresholds, as `choose`.

        Args:
            goal: what to reach, by each class or, for the shared threshold, by all pairs in one ranking.
            value: the precision or the recall that is wanted.
            shared: whether all classes have the shared threshold.
            least_positives: a class of fewer positive videos has it too.
        """
        (together,), (together_reached,) = choose(self._all.cuts(), self.positives.sum(keepdims=True), goal, value)
        own = (self.positives >= least_positives) & (not shared)
        by_class, reached = choose(self._each.cuts(), self.positives, goal, value)
        missed = ~np.where(own, reached, together_reached)
        return Choice(np.where(own, by_class, together), float(together), own, missed)


class Kept:
    """Counts what thresholds keep of videos that are given in parts, each with the thresholds that count for it."""

    def __init__(self, num_classes: int) -> None:
        self._correct, self._said, self._positives = np.zeros((3, num_classes), np.int64)
        self._videos = self._without = 0

    def add(
        self,
        labels: NDArray[np.integer],
        scores: NDArray[np.floating],
        truth: LabelLists,
        by_class: NDArray[np.float64],
    ) -> None:
        """Add n videos, as to `ThresholdSearch.find`, with the thresholds of the classes, float64 [V]."""
        said = reach(labels, scores, by_class)
        correct = correct_pairs(labels, truth, len(by_class)) & said
        for counts, found in ((self._said, labels[said]), (self._correct, labels[correct])):
            counts += np.bincount(found, minlength=len(by_class))
        self._positives += np.bincount(truth.values, minlength=len(by_class))
        self._videos += len(labels)
        self._without += int(np.count_nonzero(~said.any(axis=1)))

    def figures(self) -> dict[str, float | int]:
        """Return the number of `videos`, `labels` a video, videos `without` any, and precision, recall and F1.

        `precision`, `recall` and `f1` are those of all pairs. Those with `macro_` are means over the classes that some
        video has; a class that is never assigned has a precision of 0. What has nothing to divide by is 0.
        """
        correct, said, positives = self._correct, self._said, self._positives
        there = positives > 0
        each = {
            "precision": _shares(correct, said)[there],
            "recall": _shares(correct, positives)[there],
            "f1": _shares(2 * correct, said + positives)[there],
        }
        hits, kept, wanted = int(correct.sum()), int(said.sum()), int(positives.sum())
        return {
            "videos": self._videos,
            "labels": kept / max(self._videos, 1),
            "without": self._without,
            "precision": hits / max(kept, 1),
            "recall": hits / max(wanted, 1),
            "f1": 2 * hits / max(kept + wanted, 1),
            **{f"macro_{name}": float(values.mean()) if len(values) else 0.0 for name, values in each.items()},
        }


def reach(
    labels: NDArray[np.integer], scores: NDArray[np.floating], by_class: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Return which labels, int [..., K], -1 for none, are assigned: whose scores, float [..., K], reach the thresholds.

    Scores and thresholds are compared as float64, so that a threshold which is a float32 score is reached by it.
    """
    return (labels >= 0) & (scores.astype(np.float64) >= by_class[labels])


def _shares(counts: NDArray[np.int64], of: NDArray[np.int64]) -> NDArray[np.float64]:
    return counts / np.maximum(of, 1)
