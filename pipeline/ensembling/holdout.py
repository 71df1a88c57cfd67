"""Split the hold-out for an ensemble: choose and tune on one half, and measure the choice on the other."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts.predictions import Predictions, PredictionStore
from pipeline.config.errors import StageError
from pipeline.config.monitor import Monitor
from pipeline.ensembling.candidates import Candidates
from pipeline.ensembling.objectives import Lists
from pipeline.ensembling.recipe import Member
from pipeline.ensembling.scales import Scale, quantiles_of, to_values
from pipeline.inputs.index import HOLDOUT, Index
from pipeline.inputs.index.ids import hash_ids
from pipeline.inputs.predicted import read_together
from pipeline.metrics import LabelLists

_MOST_BYTES = 1 << 30  # that the candidates of both halves may take together
_MOST_LISTED = 1 << 25  # the same of what other metrics than GAP need, which are slower to compute
_MOST_SCORES = 1 << 24  # scores of one run that its quantiles are taken from


def is_tuning_half(ids: Sequence[str]) -> NDArray[np.bool_]:
    """Return whether each video is in the half that is tuned on, bool [n].

    Only the second half of the id's key decides, so the answer is the same on every machine and beside any other
    videos. (The first half decides whether a video is held out at all.)
    """
    return (_draws(ids) & 1).astype(bool)


def _draws(ids: Sequence[str]) -> NDArray[np.integer]:
    return hash_ids(list(ids)).view(">u8")[1::2]


Half = Candidates | Lists
"""All that is needed of one half of the hold-out to score any weights."""


def score_quantiles(store: PredictionStore) -> tuple[float, ...]:
    """Return the quantiles of a run's scores on a split; if there are very many, of evenly spaced videos only."""
    step = 1 + sum(part.scores.size for part in store.read()) // _MOST_SCORES
    kept = [part.scores[::step].ravel() for part in store.read()]
    if not sum(map(len, kept)):
        raise StageError(
            f"{store.folder} holds no predictions, and ranks need a hold-out: choose another --ensemble.combine"
        )
    return quantiles_of(np.concatenate(kept))


def holdout_halves(
    monitor: Monitor,
    stores: Sequence[PredictionStore],
    members: Sequence[Member],
    scale: Scale,
    index: Index,
    progress: Callable[[int], object] = lambda done: None,
) -> tuple[Half, Half]:
    """Return what scores weights on the half that is tuned on, and on the other; `progress` is told of each part read.

    If they would take too much memory, only the videos with the lowest hashes are used, and a printed line says so.
    """
    ours: list[Half] = []
    others: list[Half] = []
    highest, most = 2**64 - 1, _MOST_BYTES if monitor == "gap" else _MOST_LISTED
    for rows, parts in read_together(stores, index, HOLDOUT):
        values = [to_values(part.scores, scale, member.quantiles) for part, member in zip(parts, members)]
        if not ours:  # the first videos show how large the whole would be
            sample = _align(monitor, parts, values, np.arange(min(len(rows), 256)), rows, index)
            share = most * sample.videos / (sample.nbytes * len(index.rows(HOLDOUT)))
            if share < 1:
                highest = int(share * 2**64)
                print(f"tuning uses {share:.0%} of the hold-out, chosen by hash: all of it would take too long")
        tuned, taken = is_tuning_half(parts[0].ids), _draws(parts[0].ids) <= np.uint64(highest)
        ours.append(_align(monitor, parts, values, np.flatnonzero(tuned & taken), rows, index))
        others.append(_align(monitor, parts, values, np.flatnonzero(~tuned & taken), rows, index))
        progress(1)
    kind: Any = Candidates if monitor == "gap" else Lists
    return kind.joined(ours), kind.joined(others)


def _align(
    monitor: Monitor,
    parts: Sequence[Predictions],
    values: Sequence[NDArray],
    chosen: NDArray,
    rows: NDArray,
    index: Index,
) -> Half:
    labels, given = [part.labels[chosen] for part in parts], [each[chosen] for each in values]
    truth, classes = LabelLists(*index.labels_of(rows[chosen])), index.dataset.num_classes
    if monitor == "gap":
        return Candidates.align(labels, given, truth, classes)
    return Lists.align(monitor, labels, given, truth, classes)
