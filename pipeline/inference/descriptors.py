"""Descriptors: the vector that a model's pooling makes of a video, taken along with predictions, and stored."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts.files import sync, temporary_path
from pipeline.artifacts.folds import fold_folder
from pipeline.config.errors import StageError
from pipeline.inference.ensemble import Ensemble

_BUFFERED = 1 << 24
"""Values that are held until they are written as a row group."""


class Describing:
    """The models of an ensemble, which keep the descriptors of what they predict until these are taken."""

    def __init__(self, ensemble: Ensemble):
        members = [member._replace(models=tuple(map(_DescribingModel, member.models))) for member in ensemble.members]
        self._models = [model for member in members for model in member.models]
        self.ensemble = replace(ensemble, members=tuple(members))
        """The same, to be used by a `Predictor`."""
        self.names = ["descriptor"] if len(self._models) == 1 else list(_names(ensemble))
        """Of the descriptors: that of a single model, or the runs of the members, each with its folds."""

    def take(self, count: int) -> list[NDArray[np.float16]]:
        """Return the descriptors of the next `count` videos, which were one batch: [count,D] of each model.

        Raises StageError: a value is too large for float16.
        """
        return [model.take(count) for model in self._models]


def _names(ensemble: Ensemble) -> Iterator[str]:
    for member, used in zip(ensemble.members, ensemble.recipe.used):
        if len(member.models) == 1:
            yield used.run
        else:
            yield from (str(fold_folder(Path(used.run), number)) for number in range(1, len(member.models) + 1))


class _DescribingModel:
    def __init__(self, model):
        import keras

        from pipeline.models.pooling import Pooling

        pooled = [layer.output for layer in model.layers if isinstance(layer, Pooling)]
        descriptor = keras.ops.concatenate(pooled, axis=-1) if len(pooled) > 1 else pooled[0]
        self._both = keras.Model(model.input, [model.output, descriptor])
        self._found: list[np.ndarray] = []

    def predict_on_batch(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        probabilities, descriptors = self._both.predict_on_batch(inputs)
        self._found.append(np.asarray(descriptors, np.float32))
        return probabilities

    def take(self, count: int) -> NDArray[np.float16]:
        # Where memory ran out, a batch is in pieces, and the last one reaches past its end.
        pieces = [self._found.pop(0)]
        while sum(map(len, pieces)) < count:
            pieces.append(self._found.pop(0))
        whole = np.concatenate(pieces)[:count]
        largest = np.abs(whole).max(initial=0)
        if not largest <= np.finfo(np.float16).max:
            raise StageError(
                f"a descriptor has a value of {largest:g}, and float16 holds up to 65,504: the features are too large; "
                "scale them, or train with batch norm of the input"
            )
        return whole.astype(np.float16)


class DescriptorFile:
    """A Parquet file on its way; made by `descriptor_file`."""

    def __init__(self, path: Path, temporary: Path, model: str):
        self._path, self._temporary, self._model = path, temporary, model
        self._writer: Any = None
        self._ids: list[str] = []
        self._rows: list[dict[str, NDArray[np.float16]]] = []

    def add(self, id: str, descriptors: dict[str, NDArray[np.float16]]) -> None:
        """Add a video's descriptors [D], each under its name: the same names and sizes for all videos."""
        self._ids.append(id)
        self._rows.append(descriptors)
        if len(self._rows) * sum(map(len, descriptors.values())) >= _BUFFERED:
            self._flush()

    def write(self) -> None:
        """Replace the file; without a video, what is there stays."""
        self._flush()
        if self._writer:
            self._writer.close()
            sync(self._temporary)
            self._temporary.replace(self._path)

    def _flush(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if not self._rows:
            return
        columns = [pa.array(self._ids, pa.string())]
        for name, first in self._rows[0].items():
            flat = pa.array(np.concatenate([row[name] for row in self._rows]), pa.float16())
            columns.append(pa.FixedSizeListArray.from_arrays(flat, len(first)))
        table = pa.Table.from_arrays(columns, ["id", *self._rows[0]], metadata={"model": self._model})
        self._writer = self._writer or pq.ParquetWriter(self._temporary, table.schema)
        self._writer.write_table(table)
        self._ids, self._rows = [], []


@contextlib.contextmanager
def descriptor_file(path: Path, model: str) -> Iterator[DescriptorFile]:
    """Yield the file at a path: `id`, and a float16 list of fixed size for each model, a row for each video.

    Args:
        path: of the file, which is written whole or not at all.
        model: a digest of the models, kept in the file's metadata.

    Raises OSError: the system refuses to write it.
    """
    with temporary_path(path) as temporary:
        yield DescriptorFile(path, temporary, model)
