"""Score predictions against the labels of an index once, and keep the scores in scores.json for every stage."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts.done import Done, check_format, format_fields
from pipeline.artifacts.files import read_json, remove_leftovers, write_json
from pipeline.artifacts.places import ENSEMBLE
from pipeline.artifacts.predictions import PredictionStore, list_predicted_splits
from pipeline.config.errors import StageError
from pipeline.config.wording import counted
from pipeline.ensembling.holdout import is_tuning_half
from pipeline.inference.freshness import fresh_predictions
from pipeline.inputs.index import HOLDOUT, TRAIN, Index
from pipeline.metrics import LabelLists, StreamingMetrics

SCORES = "scores.json"
Metrics = dict[str, float | int]
"""`gap`, `map`, `hit_at_one`, `perr`, `videos`: see `pipeline.metrics.StreamingMetrics.result`. Stored predictions also
have `map_all_kept`: MAP over all labels that are kept for a video, by default 100, and not over 20."""
METRICS = {"gap": "GAP@20", "map_all_kept": "MAP", "hit_at_one": "Hit@1", "perr": "PERR", "map": "MAP@20"}
"""What tables call them, in the order of their columns."""
Part = tuple[Sequence[str], NDArray, NDArray]
"""The ids of n videos, and their best labels and scores, each [n,k]."""


class Scores(NamedTuple):
    """The metrics of a split's predictions."""

    whole: Metrics
    tuned: Metrics | None = None
    """The metrics on the half of a hold-out that the weights of a blend are chosen on."""
    reported: Metrics | None = None
    """The metrics on the other half."""

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
    scores = score_predictions(store.read(), index, split, store.folder)
    write_scores(store, index, scores)
    return scores


def write_scores(store: PredictionStore, index: Index, scores: Scores) -> None:
    """Write the scores of finished predictions beside them."""
    _write(store.folder / SCORES, _made_from(store, index), scores)


def best_run(runs: Sequence[Path], index: Index) -> tuple[Path, dict[str, float]]:
    """Return the best of runs, bundles and their blend, and the GAP of each that has predicted the hold-out.

    Without a labeled hold-out it returns the blend, or the only run.

    Raises:
        StageError: predictions of the hold-out are out of date, or nothing shows which run is best.
    """
    gaps = {}
    for run in runs if index.holdout_labeled else ():
        if HOLDOUT in list_predicted_splits(run):
            gaps[run] = scores_of(fresh_predictions(run, HOLDOUT, index), index, HOLDOUT).comparable["gap"]
    if gaps:
        if others := [run.name for run in runs if run not in gaps]:
            print(f"these runs cannot be chosen, since they have not predicted the hold-out: {', '.join(others)}")
        return max(gaps, key=lambda run: gaps[run]), {run.name: gap for run, gap in gaps.items()}
    blends = [run for run in runs if run.name == ENSEMBLE]
    if len(runs) == 1 or blends:
        return (blends or list(runs))[0], {}
    names = ", ".join(run.name for run in runs)
    raise StageError(f"which run? None has predicted a labeled hold-out: choose --run from: {names}, or run infer")


def score_priors(index: Index, split: str) -> Metrics:
    """Return the metrics of predicting for every video how frequent each label is in training: the score to beat.

    The index must have training videos; see `Index.has_training`.
    """
    path, made_from = index.folder / f"priors-{split}.json", {"index": index.digest}
    if known := _read(path, made_from):
        return known.whole
    counts = np.bincount(index.labels_of(index.rows(TRAIN))[0], minlength=index.dataset.num_classes)
    best = np.argsort(-counts, kind="stable")[:100]
    shares = (counts[best] / max(len(index.rows(TRAIN)), 1)).astype(np.float32)
    ids = index.ids_of(index.rows(split))
    shape = (len(ids), len(best))
    predictions = ids, np.broadcast_to(best, shape), np.broadcast_to(shares, shape)
    scores = score_predictions([predictions], index, split, index.folder)
    _write(path, made_from, scores)
    return scores.whole


def score_lists(parts: Iterable[Part], index: Index, split: str, source: Path) -> Metrics:
    """Return the challenge's metrics of predictions in any order.

    Raises StageError, naming `source`, if they do not hold each video of the split exactly once.
    """
    metrics = StreamingMetrics(index.dataset.num_classes)
    for (_, labels, scores), truth in _with_labels(parts, index, split, source):
        metrics.accumulate(labels, scores, truth)
    return metrics.result()


def score_predictions(parts: Iterable[Part], index: Index, split: str, source: Path) -> Scores:
    """Return the scores of a split's predictions, given in parts and in any order. Raises as `score_lists` does."""
    num_classes = index.dataset.num_classes
    whole, tuned, reported = _Tally(num_classes), _Tally(num_classes), _Tally(num_classes)
    for (ids, labels, scores), truth in _with_labels(parts, index, split, source):
        whole.add(labels, scores, truth)
        if split == HOLDOUT:
            half = is_tuning_half(ids)
            for tally, chosen in ((tuned, half), (reported, ~half)):
                tally.add(labels[chosen], scores[chosen], truth.of_videos(chosen))
    if split != HOLDOUT:
        return Scores(whole.result())
    return Scores(whole.result(), tuned.result(), reported.result())


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
    scores = Scores(*(values[name] for name in Scores._fields))
    return scores if _are_metrics(scores.whole) and all(map(_are_metrics, filter(None, scores))) else None


def _are_metrics(values: object) -> bool:
    return isinstance(values, dict) and all(isinstance(value, int | float) for value in values.values())


def _write(path: Path, made_from: dict[str, str], scores: Scores) -> None:
    with contextlib.suppress(OSError):  # a read-only folder: the scores are computed anew each time
        write_json(path, {**format_fields(), "made_from": made_from, **scores._asdict()})


class _Tally:
    """Accumulates the metrics of some videos: the challenge's, and MAP over all labels that are kept."""

    def __init__(self, num_classes: int):
        self._best, self._kept = StreamingMetrics(num_classes), StreamingMetrics(num_classes, top_k=num_classes)

    def add(self, labels: NDArray, scores: NDArray, truth: LabelLists) -> None:
        self._best.accumulate(labels, scores, truth)
        self._kept.accumulate(labels, scores, truth)

    def result(self) -> Metrics:
        return {**self._best.result(), "map_all_kept": self._kept.map()}


def _with_labels(parts: Iterable[Part], index: Index, split: str, source: Path) -> Iterator[tuple[Part, LabelLists]]:
    """Yield the videos of each part whose labels are known, with their labels; raises as `score_lists` does."""
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
        yield part, LabelLists(*index.labels_of(chosen[known]))
    if row_of:
        raise StageError(
            f"{source} lacks {counted(len(row_of), 'video')} of split {split}, for example {next(iter(row_of))!r}"
        )
