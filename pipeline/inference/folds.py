"""Out-of-fold predictions: each training video by the models of the fold that held it out."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from pipeline.artifacts.predictions import Predictions, PredictionStore
from pipeline.config import DatasetConfig
from pipeline.config.errors import StageError
from pipeline.inputs.index import HOLDOUT, Index


def fold_views(index: Index) -> list[Index]:
    """Return the index that each fold's models are trained on, in the order of the folds."""
    return [index.fold(number) for number in range(1, index.folds + 1)]


def why_seen(source: Path, dataset: DatasetConfig, trained_on: Sequence[str], index: Index) -> str:
    """Return a sentence that says why models may have been trained on the hold-out of an index; empty if they were not.

    Without folds on either side it is always empty: there the hold-out is the same for all.

    Args:
        source: what the sentence names, a run or a bundle.
        dataset: the dataset that it was trained on.
        trained_on: the digest of the index that each of its models was trained on; empty if that is not known.
        index: the index whose hold-out it is to predict.
    """
    if index.folds and list(trained_on) != [view.digest for view in fold_views(index)]:
        return (
            f"{source} was not trained in the folds of {index.folder} as they are now, and may have been trained on "
            f"every video of {HOLDOUT}: train a run in these folds"
        )
    if dataset.folds and not index.folds and dataset.name == index.dataset.name:
        return f"{source} was trained in folds on all videos that {index.folder} trains on and holds out: train it anew"
    return ""


def join_folds(stores: Sequence[PredictionStore], index: Index, parts: Iterable[np.ndarray]) -> Iterator[Predictions]:
    """Yield the predictions of each part, from the predictions that each fold's model made of its own fold.

    Args:
        stores: of each fold, all of its videos.
        index: the index with the folds.
        parts: rows of the index, int64, which together are all rows of the hold-out in order.

    Raises:
        StageError: a store is unfinished, or does not hold the videos of its fold.
    """
    queues = [_Queue(store) for store in stores]
    for rows in parts:
        ids, folds = index.ids_of(rows), index.fold_of(rows)
        whole: Predictions | None = None
        for number, queue in enumerate(queues, 1):
            places = np.flatnonzero(folds == number)
            if not len(places):
                continue
            own = queue.take(len(places))
            if own.ids != [ids[place] for place in places]:
                raise StageError(f"{queue.store.folder} holds other videos than fold {number} of {index.folder}")
            if whole is None:
                shape = (len(rows), own.labels.shape[1])
                whole = Predictions(ids, np.empty(shape, own.labels.dtype), np.empty(shape, np.float32))
            whole.labels[places], whole.scores[places] = own.labels, own.scores
        if whole is not None:
            yield whole
    for queue in queues:
        queue.close()


class _Queue:
    """The predictions of a store, of which any number is taken at a time."""

    def __init__(self, store: PredictionStore):
        self.store = store
        self._parts = store.read()
        self._waiting: list[Predictions] = []

    def take(self, count: int) -> Predictions:
        """Return the next `count` predictions, fewer at the end."""
        while sum(len(part.ids) for part in self._waiting) < count and (part := next(self._parts, None)):
            self._waiting.append(part)
        ids = [id for part in self._waiting for id in part.ids]
        labels, scores = (np.concatenate([part[field] for part in self._waiting]) for field in (1, 2))
        self._waiting = [Predictions(ids[count:], labels[count:], scores[count:])]
        return Predictions(ids[:count], labels[:count], scores[:count])

    def close(self) -> None:
        """Read to the end, where the store says whether it was made anew meanwhile."""
        if any(part.ids for part in [*self._waiting, *self._parts]):
            raise StageError(f"{self.store.folder} holds more videos than its fold: run infer again")
