"""Choose the thresholds of a run on the hold-out, and measure what they keep where nothing was chosen."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts.predictions import PredictionStore
from pipeline.config import ThresholdConfig
from pipeline.ensembling.holdout import is_tuning_half
from pipeline.inputs.index import HOLDOUT, Index
from pipeline.inputs.predicted import read_together
from pipeline.metrics import LabelLists
from pipeline.metrics.thresholds import Choice, Kept, ThresholdSearch

Part = tuple[list[str], NDArray, NDArray, LabelLists]
"""The ids of n labeled videos, their best labels and scores, each [n,k], and their true labels."""
Chosen = Callable[[list[str]], NDArray[np.bool_]]
"""Tells of the ids of n videos which are chosen by, bool [n]."""
HALVES: tuple[Chosen, Chosen] = (is_tuning_half, lambda ids: ~is_tuning_half(ids))


def choose_thresholds(
    store: PredictionStore, index: Index, settings: ThresholdConfig, *subsets: Chosen
) -> list[Choice]:
    """Choose on all videos of the hold-out, then on each of some subsets of them. Unlabeled videos do not count.

    Predictions are read twice, part by part.

    Args:
        store: the predictions of the hold-out, see `holdout_store`.
        index: its videos and labels.
        settings: what to reach.
        subsets: tell which videos to choose on.

    Raises StageError: the predictions are damaged or of other videos.
    """
    taken: list[Chosen] = [lambda ids: np.ones(len(ids), bool), *subsets]
    searches = [ThresholdSearch(index.dataset.num_classes) for _ in taken]
    for ids, labels, scores, truth in _labeled(store, index, HOLDOUT):
        for search, chosen in zip(searches, (take(ids) for take in taken)):
            search.find(labels[chosen], scores[chosen], truth.of_videos(chosen))
    for ids, labels, scores, _ in _labeled(store, index, HOLDOUT):
        for search, chosen in zip(searches, (take(ids) for take in taken)):
            search.count(labels[chosen], scores[chosen])
    how = settings.goal, settings.value or 0.0, settings.shared, settings.least_positives
    return [search.choose(*how) for search in searches]


def measure_crosswise(store: PredictionStore, index: Index, halves: tuple[Choice, Choice]) -> dict[str, Any]:
    """Return `Kept.figures` of the hold-out, each half with the thresholds that were chosen on the other of HALVES."""
    kept = Kept(index.dataset.num_classes)
    for ids, labels, scores, truth in _labeled(store, index, HOLDOUT):
        for choice, chosen in zip(reversed(halves), (take(ids) for take in HALVES)):
            kept.add(labels[chosen], scores[chosen], truth.of_videos(chosen), choice.by_class)
    return kept.figures()


def measure(store: PredictionStore, index: Index, split: str, choice: Choice) -> dict[str, Any]:
    """Return `Kept.figures` of the labeled videos of a split."""
    kept = Kept(index.dataset.num_classes)
    for _, labels, scores, truth in _labeled(store, index, split):
        kept.add(labels, scores, truth, choice.by_class)
    return kept.figures()


def _labeled(store: PredictionStore, index: Index, split: str) -> Iterator[Part]:
    for rows, (part,) in read_together([store], index, split):
        known = index.labels_known(rows)
        ids = [id for id, there in zip(part.ids, known) if there]
        yield ids, part.labels[known], part.scores[known], LabelLists(*index.labels_of(rows[known]))
