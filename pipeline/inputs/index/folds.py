"""Folds: deal the training videos out to parts of equal size, each of which one model is not trained on."""

import heapq
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.artifacts.files import atomic_file
from pipeline.inputs.index import FOLD
from pipeline.inputs.index.tables import ROWS_PER_GROUP


def assign_folds(keys: np.ndarray, folds: int) -> np.ndarray:
    """Return the fold of each video, int8 [n] from 1 to `folds`: videos of one group are in one fold.

    The largest group goes first, each to the fold that is smallest so far, as in scikit-learn's GroupKFold; of equal
    sizes the group with the lower key, and the fold with the lower number. So the folds are as equal as the groups
    allow, and the same wherever the same videos are.

    Args:
        keys: the key of each video's group, S16 [n], as `ids.hash_ids` makes it.
        folds: how many there are; those that are more than the groups get no video.
    """
    _, group, sizes = np.unique(keys, return_inverse=True, return_counts=True)  # groups ascend by key
    fold_of = np.zeros(len(sizes), np.int8)
    smallest = [(0, fold) for fold in range(1, folds + 1)]
    for number in np.argsort(-sizes, kind="stable").tolist():
        size, fold = smallest[0]
        fold_of[number] = fold
        heapq.heapreplace(smallest, (size + int(sizes[number]), fold))
    return fold_of[group]


def add_folds(path: Path, folds: np.ndarray) -> None:
    """Add the column to the table of an index, which is written anew: one value for each row, int8 [n]."""
    with pq.ParquetFile(path) as table, atomic_file(path) as temporary:
        schema, done = table.schema_arrow.append(FOLD), 0
        with pq.ParquetWriter(temporary, schema, compression="zstd", write_page_checksum=True) as writer:
            for batch in table.iter_batches(ROWS_PER_GROUP):
                own = pa.array(folds[done : done + len(batch)], FOLD.type)
                writer.write_batch(pa.record_batch([*batch.columns, own], schema), ROWS_PER_GROUP)
                done += len(batch)
