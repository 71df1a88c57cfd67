"""A column of lists in a Parquet table, a batch of whose rows is held at a time."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.packing.sources.source import CHANGED, LazyFile

BATCH_BYTES = 16 << 20
"""Bytes of values that are held at a time, where a row has no more."""
_BUFFER = 1 << 20
_MOST_INFLATED, _LARGE = 1100, 1 << 30
"""Times that the bytes of a column become more, at most, if they become so many."""


class ListType(NamedTuple):
    """A column of lists, of lists of lists, or of tensors."""

    depth: int
    size: int | None
    """Values of the innermost list, where the type says it."""
    dtype: np.dtype


class Column(LazyFile):
    """A column of lists in a table; a batch of its rows is held. To go back in a group of rows is to begin it anew."""

    def __init__(self, path: Path, name: str, metadata: pq.FileMetaData, itemsize: int):
        super().__init__(path)
        self._name = name
        rows, self._batch_rows, self.bytes = [0], [], 0
        for number in range(metadata.num_row_groups):
            group = metadata.row_group(number)
            chunks = [group.column(column) for column in range(group.num_columns)]
            own = [each for each in chunks if (each.path_in_schema + ".").startswith(f"{name}.")]
            values = sum(each.num_values for each in own) * itemsize
            if values > max(_LARGE, _MOST_INFLATED * sum(each.total_compressed_size for each in own)):
                raise ValueError(f"column {name} is to have {values:,} bytes, and has far fewer")
            rows.append(group.num_rows)
            self._batch_rows.append(max(1, min(1 << 16, BATCH_BYTES * group.num_rows // max(values, 1))))
            self.bytes += values
        self._firsts = np.cumsum(rows)

    def batches(self, group: int | None = None) -> Iterator[pa.Array]:
        """Yield the rows of one group or of all in order, a batch at a time."""
        file = pq.ParquetFile(self.path, buffer_size=_BUFFER, pre_buffer=False)
        for number in range(len(self._batch_rows)) if group is None else [group]:
            size = self._batch_rows[number]
            for batch in file.iter_batches(size, row_groups=[number], columns=[self._name]):
                yield storage_of(batch.column(0))

    def rows(self, start: int, stop: int) -> list[pa.Array]:
        """Return rows, in one array or more."""
        parts = []
        while start < stop:
            window = self._at(start)
            end = min(stop, window.stop)
            parts.append(window.values.slice(start - window.start, end - start))
            start = end
        return parts

    def _at(self, row: int) -> "_Window":
        window: _Window | None = self._opened
        group = int(np.searchsorted(self._firsts, row, "right")) - 1
        if window is None or window.group != group or row < window.start:
            self.close()
            window = self._opened = _Window(group, int(self._firsts[group]), self.batches(group))
        while row >= window.stop:
            window.go_on()
        return window


class _Window:
    """Rows of a group that are held, and those that follow."""

    def __init__(self, group: int, first: int, batches: Iterator[pa.Array]):
        self.group, self.start, self.stop = group, first, first
        self.values: Any = None
        self._batches = batches

    def go_on(self) -> None:
        """Hold the next batch."""
        self.values = next(self._batches, None)
        if not self.values:
            raise ValueError(CHANGED)
        self.start, self.stop = self.stop, self.stop + len(self.values)

    def close(self) -> None:
        self.values, self._batches = None, iter(())


def measure(column: Column, kind: ListType, last: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Count the lists of each row, and the values of each; -1 where there is no list, or they are unequal.

    Stops after the row `last`, if it is given.
    """
    lengths, widths, rows = [], [], 0
    for batch in column.batches():
        length = pc.fill_null(pc.list_value_length(batch), -1).to_numpy(zero_copy_only=False).astype(np.int64)
        width = np.zeros(len(batch), np.int64)
        if kind.depth == 2:
            inner = pc.fill_null(pc.list_value_length(batch.flatten()), -1).to_numpy(zero_copy_only=False)
            filled = np.flatnonzero(length > 0)
            if len(filled):
                first = np.cumsum(length[filled]) - length[filled]
                least, most = np.minimum.reduceat(inner, first), np.maximum.reduceat(inner, first)
                width[filled] = np.where(least == most, least, -1)
        lengths.append(length)
        widths.append(width)
        rows += len(batch)
        if last is not None and rows > last:
            return length[: last - rows + len(batch) + 1], width[: last - rows + len(batch) + 1]
    return np.concatenate(lengths), np.concatenate(widths)


def is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def list_type(kind: pa.DataType) -> ListType | None:
    """Return what lists a column holds; None if it holds no lists of numbers, or lists of lists of them."""
    depth, size = 0, None
    while is_list(kind := _plain(kind)):
        size = kind.list_size if pa.types.is_fixed_size_list(kind) else None
        kind, depth = kind.value_type, depth + 1
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    return ListType(depth, size, np.dtype(kind.to_pandas_dtype())) if depth in (1, 2) and number else None


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind


def storage_of(array: pa.Array) -> pa.Array:
    return array.storage if isinstance(array, pa.ExtensionArray) else array


def numbers_of(array: pa.Array) -> np.ndarray:
    """Return the numbers of lists, or of an array, one after the other. Raises ValueError if one is missing."""
    while True:
        array = storage_of(array)
        if array.null_count:
            raise ValueError("a value is missing (null)")
        if not is_list(array.type):
            return array.to_numpy(zero_copy_only=False)
        array = array.flatten()
