"""Predictions against the labels of an index: the challenge's metrics of a run, of a CSV, of the label priors."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from pipeline.artifacts.done import Done
from pipeline.artifacts.files import read_json
from pipeline.artifacts.places import WEIGHTS
from pipeline.artifacts.predictions import PredictionStore, predicted_splits
from pipeline.config.errors import StageError
from pipeline.ensembling.holdout import reported_gap
from pipeline.inference.freshness import fresh
from pipeline.inputs.index import HOLDOUT, Index
from pipeline.metrics import LabelLists, StreamingMetrics


def score(store: PredictionStore, index: Index, split: str) -> dict[str, float | int]:
    """Metrics of stored predictions. Raises StageError where they are not those of the split's videos.

    Beside those of the challenge, `map_all_kept`: MAP over all labels that the store keeps for a video, by default 100,
    not 20. With few classes that is MAP over all of them, or very near it.
    """
    return _score_all_kept(((part.ids, part.labels, part.scores) for part in store.read()), index, split, store.folder)


def holdout_gaps(runs: Iterable[Path], ensemble: Path, index: Index) -> dict[str, float]:
    """GAP by the name of each run that has predicted a labelled hold-out, on the half that no blend is tuned on.

    It is as `ensemble` reported it, where it chose by the same predictions and the same index; or else computed anew.

    Raises:
        StageError: predictions of the hold-out are not of what there is now.
    """
    if not index.holdout_labelled:
        return {}
    about = read_json(ensemble / WEIGHTS) if (ensemble / WEIGHTS).exists() else {}
    made_from = about.get("made_from", {}).get("inputs", {})
    known = about["reported"] if made_from.get("index") == index.digest else {}
    gaps = {}
    for run in runs:
        if HOLDOUT in predicted_splits(run):
            store = fresh(run, HOLDOUT, index)
            done = Done.read(store.folder)
            # A blend that is fresh has the weights that were reported on: only its members' predictions may be others.
            blended = {name: digest for name, digest in done.inputs.items() if name in made_from}
            same = blended.items() <= made_from.items() if run == ensemble else made_from.get(run.name) == done.output
            gaps[run.name] = known[run.name] if same and run.name in known else reported_gap(store, index)
    return gaps


def score_priors(index: Index, split: str) -> dict[str, float | int]:
    """Metrics of the same answer for every video: how frequent each label is in training. What anyone must beat.

    The index must have training videos: see `Index.has_training`.
    """
    counts = np.bincount(index.labels_of(index.rows("train"))[0], minlength=index.dataset.num_classes)
    best = np.argsort(-counts, kind="stable")[:100]
    shares = (counts[best] / max(len(index.rows("train")), 1)).astype(np.float32)
    ids = index.ids_of(index.rows(split))
    shape = (len(ids), len(best))
    answer = ids, np.broadcast_to(best, shape), np.broadcast_to(shares, shape)
    return _score_all_kept(iter([answer]), index, split, index.folder)


def _score_all_kept(parts: Iterator, index: Index, split: str, source: Path) -> dict[str, float | int]:
    kept = StreamingMetrics(index.dataset.num_classes, top_k=index.dataset.num_classes)
    return {**score_lists(parts, index, split, source, kept), "map_all_kept": kept.map()}


def score_lists(
    parts: Iterator, index: Index, split: str, source: Path, also: StreamingMetrics | None = None
) -> dict[str, float | int]:
    """Metrics of (ids, labels [n,k], scores [n,k]), in any order; `also` gets them too. Raises as `score` does."""
    rows = index.rows(split)
    if not index.labelled(split):
        raise StageError(f"split {split} has no labels to score against")
    row_of = dict(zip(index.ids_of(rows), rows))
    metrics = StreamingMetrics(index.dataset.num_classes)
    for ids, labels, scores in parts:
        try:
            chosen = np.array([row_of.pop(id) for id in ids], np.int64)
        except KeyError as error:
            raise StageError(
                f"{source}: video {error.args[0]!r} is not in split {split} of {index.folder}, or is there twice"
            ) from None
        for each in filter(None, (metrics, also)):
            each.accumulate(labels, scores, LabelLists(*index.labels_of(chosen)))
    if row_of:
        raise StageError(
            f"{source}: {len(row_of)} videos of split {split} are missing, for example {next(iter(row_of))!r}"
        )
    return metrics.result()
