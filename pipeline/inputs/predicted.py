"""Stored predictions beside the rows of the index that they are of, part by part."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts.predictions import Predictions, PredictionStore
from pipeline.config.errors import StageError
from pipeline.inputs.index import Index


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
