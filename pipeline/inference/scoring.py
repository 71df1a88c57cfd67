"""Score predictions against the labels of an index once, and keep the scores in scores.json for every stage."""

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts.done import Done, check_format, format_fields
from pipeline.artifacts.files import read_json, remove_leftovers, write_json
from pipeline.artifacts.predictions import PredictionStore
from pipeline.config import labels_kept
from pipeline.config.errors import StageError
from pipeline.config.wording import counted
from pipeline.ensembling.holdout import is_tuning_half
from pipeline.inputs.index import HOLDOUT, TRAIN, Index
from pipeline.metrics import LabelLists, StreamingMetrics

SCORES = "scores.json"
Metrics = dict[str, float | int | None]
"""`gap`, `map`, `hit_at_one`, `perr`, `videos`: see `pipeline.metrics.StreamingMetrics.result`. With one label a video,
`top_1` and `top_5` too. Stored predictions also have `map_all_kept`, MAP over all labels that are kept and not over 20,
`auc` and `d_prime`, which are None if not all classes are kept, or no class has videos with and without it."""
Part = tuple[Sequence[str], NDArray, NDArray]
"""The ids of n videos, and their best labels and scores, each [n,k]."""


class Scores(NamedTuple):
    """The metrics of a split's predictions."""

    whole: Metrics
    tuned: Metrics | None = None
    """The metrics on the half of a hold-out that the weights of a blend are chosen on."""
    reported: Metrics | None = None
    """The metrics on the other half."""
    by_class: dict[str, list[float | None]] | None = None
    """On the whole split, `average_precision` and `auc` of each class; None where a class has none."""
    folds: list[Metrics] | None = None
    """The metrics on each fold of a hold-out that is one of folds."""

    @property
    def comparable(self) -> Metrics:
        """The metrics to compare runs by: not of the half that weights are chosen on, where a blend scores too high."""
        return self.reported or self.whole


def scores_of(store: PredictionStore, index: Index, split: str) -> Scores:
    """Return the scores of a split's finished predictions: from scores.json, or else computed and stored there.

    Raises StageError if the predictions are unfinished, damaged, or not those of the split's videos, or if the split
    has no labels.
    """
    made_from = _made_from(store, index)
    if (known := _read(store.folder / SCORES, made_from)) and store.is_whole():
        return known
    scores = score_predictions(store.read, index, split, store.folder)
    write_scores(store, index, scores)
    return scores


def write_scores(store: PredictionStore, index: Index, scores: Scores) -> None:
    """Write the scores of finished predictions beside them."""
    _write(store.folder / SCORES, _made_from(store, index), scores)


def score_priors(index: Index, split: str) -> Metrics:
    """Return the metrics of predicting for every video how frequent each label is in training: the score to beat.

    The index must have training videos; see `Index.has_training`.
    """
    path, made_from = index.folder / f"priors-{split}.json", {"index": index.digest}
    if known := _read(path, made_from):
        return known.whole
    counts = np.bincount(index.labels_of(index.rows(TRAIN))[0], minlength=index.dataset.num_classes)
    best = np.argsort(-counts, kind="stable")[: labels_kept(None, index.dataset.num_classes)]
    shares = (counts[best] / max(len(index.rows(TRAIN)), 1)).astype(np.float32)
    ids = index.ids_of(index.rows(split))
    shape = (len(ids), len(best))
    predictions = ids, np.broadcast_to(best, shape), np.broadcast_to(shares, shape)
    scores = score_predictions(lambda: [predictions], index, split, index.folder)
    _write(path, made_from, scores)
    return scores.whole


def score_lists(parts: Iterable[Part], index: Index, split: str, source: Path) -> Metrics:
    """Return the challenge's metrics of predictions in any order.

    Raises StageError, naming `source`, if they do not hold each video of the split exactly once.
    """
    metrics = StreamingMetrics(index.dataset.num_classes)
    for (_, labels, scores), rows in _with_labels(parts, index, split, source):
        metrics.accumulate(labels, scores, LabelLists(*index.labels_of(rows)))
    return {**metrics.result(), **_accuracy(metrics, index)}


def score_predictions(read: Callable[[], Iterable[Part]], index: Index, split: str, source: Path) -> Scores:
    """Return the scores of a split's predictions. Raises as `score_lists` does.

    Args:
        read: gives the parts, in any order. It is called twice, and only one part is in memory at a time.
        index: the videos and their labels.
        split: which of them are predicted.
        source: what messages name.
    """
    whole, *subsets = (StreamingMetrics(index.dataset.num_classes) for _ in range(3 + index.folds))
    for (ids, labels, scores), rows in _with_labels(read(), index, split, source):
        truth = LabelLists(*index.labels_of(rows))
        whole.accumulate(labels, scores, truth)
        for subset, chosen in zip(subsets, _subsets(ids, rows, index)) if split == HOLDOUT else ():
            subset.accumulate(labels[chosen], scores[chosen], truth.of_videos(chosen))
    for (ids, labels, scores), rows in _with_labels(read(), index, split, source):
        whole.rank(labels, scores)
        for subset, chosen in zip(subsets, _subsets(ids, rows, index)) if split == HOLDOUT else ():
            subset.rank(labels[chosen], scores[chosen])
    tuned, reported, *folds = [all_metrics(each, index) if split == HOLDOUT else None for each in subsets]
    by_class = {"average_precision": _listed(whole.average_precisions()), "auc": _listed(whole.areas())}
    return Scores(all_metrics(whole, index), tuned, reported, by_class, folds if split == HOLDOUT and folds else None)


def _subsets(ids: Sequence[str], rows: NDArray[np.int64], index: Index) -> list[NDArray[np.bool_]]:
    """Return which videos of a hold-out are in the half that is tuned on, in the other one, and in each fold."""
    half, fold = is_tuning_half(ids), index.fold_of(rows)
    return [half, ~half, *(fold == number for number in range(1, index.folds + 1))]


def all_metrics(metrics: StreamingMetrics, index: Index) -> Metrics:
    """Return the metrics of videos of an index that were given twice, to `accumulate` and to `rank`."""
    return {**metrics.result(), **metrics.by_class(), **_accuracy(metrics, index)}


def _accuracy(metrics: StreamingMetrics, index: Index) -> Metrics:
    return metrics.accuracy() if index.dataset.task == "single_label" else {}


def _listed(values: NDArray[np.float64]) -> list[float | None]:
    return [None if math.isnan(value) else value for value in values.tolist()]


def _made_from(store: PredictionStore, index: Index) -> dict[str, str]:
    done = Done.read(store.folder)
    return {"predictions": done.output if done else "", "index": index.digest}


def _read(path: Path, made_from: dict[str, str]) -> Scores | None:
    """Return the scores that a file holds; None if it is missing, damaged or made from something else.

    What a process left that was killed while it wrote them is removed: scores that are there are not written again.
    """
    remove_leftovers(path.parent, path.name)
    values = read_json(path) if path.exists() else {}
    check_format(path, values)
    if values.get("made_from") != made_from:
        return None
    if not isinstance(values.get("by_class"), dict):  # of an earlier version, which had fewer metrics
        return None
    scores = Scores(*(values[name] for name in Scores._fields if name != "folds"), values.get("folds"))
    kept = [each for each in (*scores[:3], *(scores.folds or ())) if each is not None]
    return scores if scores.whole and all(map(_are_metrics, kept)) and _are_lists(scores.by_class) else None


def _are_metrics(values: object) -> bool:
    return isinstance(values, dict) and all(isinstance(value, int | float | None) for value in values.values())


def _are_lists(values: object) -> bool:
    return isinstance(values, dict) and all(isinstance(each, list) for each in values.values())


def _write(path: Path, made_from: dict[str, str], scores: Scores) -> None:
    with contextlib.suppress(OSError):  # a read-only folder: the scores are computed anew each time
        told = scores._asdict()
        if scores.folds is None:
            del told["folds"]  # as it was before there were folds
        write_json(path, {**format_fields(), "made_from": made_from, **told})


def _with_labels(
    parts: Iterable[Part], index: Index, split: str, source: Path
) -> Iterator[tuple[Part, NDArray[np.int64]]]:
    """Yield the videos of each part whose labels are known, and their rows; raises as `score_lists` does."""
    rows = index.rows(split)
    if not index.labeled(split):
        raise StageError(f"split {split} has no labels to score against")
    row_of = dict(zip(index.ids_of(rows), rows))
    for part in parts:
        try:
            chosen = np.array([row_of.pop(id) for id in part[0]], np.int64)
        except KeyError as error:
            raise StageError(
                f"{source}: video {error.args[0]!r} is not in split {split} of {index.folder}, or is there twice"
            ) from None
        known = index.labels_known(chosen)
        if not known.all():
            ids, labels, scores = part
            part = [id for id, there in zip(ids, known) if there], labels[known], scores[known]
        yield part, chosen[known]
    if row_of:
        raise StageError(
            f"{source} lacks {counted(len(row_of), 'video')} of split {split}, for example {next(iter(row_of))!r}"
        )
