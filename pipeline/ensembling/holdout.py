"""Split the hold-out for an ensemble: choose and tune on one half, and measure the choice on the other."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts.predictions import Predictions, PredictionStore
from pipeline.config.errors import StageError
from pipeline.ensembling.candidates import Candidates
from pipeline.ensembling.recipe import Member
from pipeline.ensembling.scales import Scale, quantiles_of, to_values
from pipeline.inputs.index import HOLDOUT, Index
from pipeline.inputs.index.ids import hash_ids
from pipeline.metrics import LabelLists

_MOST_BYTES = 1 << 30  # that the candidates of both halves may take together
_MOST_SCORES = 1 << 24  # scores of one run that its quantiles are taken from


def is_tuning_half(ids: Sequence[str]) -> NDArray[np.bool_]:
    """Return whether each video is in the half that is tuned on, bool [n].

    Only the second half of the id's key decides, so the answer is the same on every machine and beside any other
    videos. (The first half decides whether a video is held out at all.)
    """
    return (_draws(ids) & 1).astype(bool)


def _draws(ids: Sequence[str]) -> NDArray[np.integer]:
    return hash_ids(list(ids)).view(">u8")[1::2]


def read_together(
    stores: Sequence[PredictionStore], index: Index, split: str
) -> Iterator[tuple[NDArray[np.int64], list[Predictions]]]:
    """Yield, part by part, rows of the index and the predictions of several runs for them.

    Raises StageError if a store is unfinished, is cut into other parts, or does not hold the split's videos.
    """
    sizes = {store.videos_per_part for store in stores}
    if len(sizes) > 1:
        raise StageError(
            f"the runs' predictions of {split} are cut into parts of {sizes} videos, and all must be cut alike: "
            "run infer again with the same settings for each"
        )
    rows, position = index.rows(split), 0
    for parts in zip(*(store.read() for store in stores)):
        chosen = rows[position : position + len(parts[0].ids)]
        position += len(chosen)
        ids = index.ids_of(chosen)
        for part, store in zip(parts, stores):
            if part.ids != ids:
                raise StageError(f"{store.folder} holds other videos than {split} of {index.folder}: run infer again")
        yield chosen, list(parts)
    if position < len(rows):
        folders = ", ".join(str(store.folder) for store in stores)
        raise StageError(f"{len(rows) - position} videos of {split} are missing from {folders}: run infer again")


def score_quantiles(store: PredictionStore) -> tuple[float, ...]:
    """Return the quantiles of a run's scores on a split; if there are very many, of evenly spaced videos only."""
    step = 1 + sum(part.scores.size for part in store.read()) // _MOST_SCORES
    kept = [part.scores[::step].ravel() for part in store.read()]
    if not sum(map(len, kept)):
        raise StageError(
            f"{store.folder} holds no predictions, and ranks need a hold-out: choose another --ensemble.combine"
        )
    return quantiles_of(np.concatenate(kept))


def holdout_candidates(
    stores: Sequence[PredictionStore],
    members: Sequence[Member],
    scale: Scale,
    index: Index,
    progress: Callable[[int], object] = lambda done: None,
) -> tuple[Candidates, Candidates]:
    """Return the candidates of the half that is tuned on, and of the other; `progress` is told of each part read.

    If they would take too much memory, only the videos with the lowest hashes are used, and a printed line says so.
    """
    ours: list[Candidates] = []
    others: list[Candidates] = []
    highest = 2**64 - 1
    for rows, parts in read_together(stores, index, HOLDOUT):
        values = [to_values(part.scores, scale, member.quantiles) for part, member in zip(parts, members)]
        if not ours:  # the first videos show how large the whole would be
            sample = _align(parts, values, np.arange(min(len(rows), 256)), rows, index)
            share = _MOST_BYTES * (len(sample.offsets) - 1) / (sample.nbytes * len(index.rows(HOLDOUT)))
            if share < 1:
                highest = int(share * 2**64)
                print(f"tuning uses {share:.0%} of the hold-out, chosen by hash: all of it would take too much memory")
        tuned, taken = is_tuning_half(parts[0].ids), _draws(parts[0].ids) <= np.uint64(highest)
        ours.append(_align(parts, values, np.flatnonzero(tuned & taken), rows, index))
        others.append(_align(parts, values, np.flatnonzero(~tuned & taken), rows, index))
        progress(1)
    return Candidates.joined(ours), Candidates.joined(others)


def _align(
    parts: Sequence[Predictions], values: Sequence[NDArray], chosen: NDArray, rows: NDArray, index: Index
) -> Candidates:
    return Candidates.align(
        [part.labels[chosen] for part in parts],
        [each[chosen] for each in values],
        LabelLists(*index.labels_of(rows[chosen])),
        index.dataset.num_classes,
    )
