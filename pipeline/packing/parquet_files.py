"""Features in Parquet tables: lists of values, a row a video or a row a frame, read a piece at a time."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.packing.source import ANEW, CHANGED, Found, LazyFile, UnreadableFeature, VideoFile, array_fault, id_text
from pipeline.packing.stacked import NUM_FRAMES, RowArray, find_id_column, stack_videos

_SIZE = "size"
"""Column of the number of values of a frame."""
_BATCH = 16 << 20
"""Bytes of values that are held at a time, where a row has no more."""
_BUFFER = 1 << 20
_MOST_INFLATED, _LARGE = 1100, 1 << 30
"""Times that the bytes of a column become more, at most, if they become so many."""


class _ListType(NamedTuple):
    """A column of lists, of lists of lists, or of tensors."""

    depth: int
    size: int | None
    """Values of the innermost list, where the type says it."""
    dtype: np.dtype


class _Column(LazyFile):
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
            self._batch_rows.append(max(1, min(1 << 16, _BATCH * group.num_rows // max(values, 1))))
            self.bytes += values
        self._firsts = np.cumsum(rows)

    def batches(self, group: int | None = None) -> Iterator[pa.Array]:
        """Yield the rows of one group or of all in order, a batch at a time."""
        file = pq.ParquetFile(self.path, buffer_size=_BUFFER, pre_buffer=False)
        for number in range(len(self._batch_rows)) if group is None else [group]:
            size = self._batch_rows[number]
            for batch in file.iter_batches(size, row_groups=[number], columns=[self._name]):
                yield _storage(batch.column(0))

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


class ParquetRows(RowArray):
    """A column whose lists are frames, as a stacked array."""

    def __init__(self, column: _Column, name: str, shape: tuple[int, int], dtype: np.dtype):
        super().__init__(column.path, name, shape, dtype)
        self._column = column
        self.in_order_only = column.bytes > _BATCH

    def read(self, start: int, stop: int) -> np.ndarray:
        parts = self._column.rows(start, stop)
        for part in parts:
            sizes = pc.list_value_length(part)
            if pc.min_max(sizes).as_py() != {"min": self.shape[1], "max": self.shape[1]}:
                raise UnreadableFeature(self.where(), f"rows {start} to {stop - 1} have other lengths; {ANEW}")
        return np.concatenate([_values(part) for part in parts]).reshape(stop - start, self.shape[1])

    def close(self) -> None:
        self._column.close()


class ParquetFile(VideoFile):
    """A column whose lists are videos: lists of frames, or their values one after the other."""

    def __init__(self, column: _Column, lengths: np.ndarray):
        super().__init__(column.path)
        self._column, self._lengths = column, lengths

    def where(self, entry: int) -> str:
        return f"{self.path}, row {entry}"

    def read(self, entry: int) -> np.ndarray:
        (row,) = self._column.rows(entry, entry + 1)
        if row.null_count:
            raise UnreadableFeature(self.where(entry), f"the list is missing; {ANEW}")
        frames = _storage(row.flatten())
        if _is_list(frames.type):
            sizes = pc.min_max(pc.list_value_length(frames)).as_py()
            if len(frames) != self._lengths[entry] or sizes["min"] != sizes["max"]:
                told = f"{len(frames)} frames of {sizes['min']} to {sizes['max']} values"
                raise UnreadableFeature(
                    self.where(entry), f"it has {told}, not {self._lengths[entry]} of as many; {ANEW}"
                )
        values = _values(frames)
        if len(values) % self._lengths[entry]:
            told = f"{len(values)} values cannot be {self._lengths[entry]} frames"
            raise UnreadableFeature(self.where(entry), f"its {told}; {ANEW}")
        return values.reshape(int(self._lengths[entry]), -1)

    def close(self) -> None:
        self._column.close()


def open_parquet(path: Path, feature: str, id_column: str | None) -> Found:
    """Return the videos of a table; the feature is the column of its name, or the only one of lists.

    A row is a video if it holds lists of frames, or as many values as `num_frames` or `size` tell; else a row is a
    frame, and rows of one id are one video. Numbers of frames that no column tells are counted, batch by batch. Without
    any column of ids the table is one video, and its id is the file's stem.

    Raises StageError if the column of ids cannot be told.
    """
    with pq.ParquetFile(path) as file:
        types = {field.name: _list_type(field.type) for field in file.schema_arrow}
        lists = [name for name, kind in types.items() if kind]
        name = feature if feature in types else lists[0] if len(lists) == 1 else ""
        kind = types.get(name)
        if not kind:
            there = ", ".join(f"{field.name} ({field.type})" for field in file.schema_arrow)[:500]
            reason = f"no column {feature} holds lists of numbers; name the feature like its column"
            return Found.none(path, f"{reason}. The columns are: {there}")
        if file.schema_arrow.names.count(name) > 1:
            return Found.none(path, f"two columns are named {name}: rename one")
        column = _Column(path, name, file.metadata, kind.dtype.itemsize)
        rows = file.metadata.num_rows
        if fault := array_fault((rows, kind.size if kind.size is not None else 1), kind.dtype):
            return Found.none(f"{path}, column {name}", fault)
        others = [each for each, other in types.items() if each not in (NUM_FRAMES, _SIZE) and not other]
        ids = None
        if others:
            texts = [each for each in others if _is_text(file.schema_arrow.field(each).type)]
            ids = _read(file, find_id_column(others, texts, id_column, str(path)))
        counts = _read(file, NUM_FRAMES) if NUM_FRAMES in types else None
        tensor = file.schema_arrow.field(name).type
        if isinstance(tensor, pa.FixedShapeTensorType) and len(tensor.shape) == 2:
            counts = [tensor.shape[0]] * rows
        sizes = _read(file, _SIZE) if _SIZE in types and not types[_SIZE] else None
    names = [path.stem] * rows if ids is None else [id_text(id) for id in ids]
    distinct = len(set(names)) == rows
    if kind.depth == 1 and not (distinct and (counts or sizes)):
        return _frames(column, name, kind, names, rows)
    if not distinct and ids is None:
        return Found.none(path, f"no column names the ids of its {rows:,} videos: add a column id")
    return _videos(column, kind, names, counts, sizes)


def _frames(column: _Column, name: str, kind: _ListType, ids: list[str], rows: int) -> Found:
    """Return the videos of a table with a row a frame."""
    size = kind.size
    if size is None:
        (first,) = column.rows(0, 1)
        size = pc.list_value_length(first)[0].as_py()
        column.close()
    if len(set(ids)) == rows and kind.size is None:
        lengths, _ = _measure(column, kind)
        if len(np.unique(lengths)) > 1:
            reason = f"each row has its own id, and lists of {lengths.min():,} to {lengths.max():,} values"
            return Found.none(
                f"{column.path}, column {name}", f"{reason}: add a column num_frames, or write lists of frames"
            )
    array = ParquetRows(column, name, (rows, size or 0), kind.dtype)
    return stack_videos([array], ids, None, lambda row: f"{column.path}, row {row}")


def _videos(
    column: _Column, kind: _ListType, ids: list[str], counts: list[Any] | None, sizes: list[Any] | None
) -> Found:
    """Return the videos of a table with a row a video."""
    if counts is not None and kind.depth == 2:  # they are held against the lists when these are read
        first = next((row for row, count in enumerate(counts) if count), 0)
        width = kind.size or _measure(column, kind, first)[1][-1]
        lengths, widths = _whole(counts), np.full(len(ids), width)
    else:
        lengths, widths = _measure(column, kind)
        if kind.depth == 1:
            values, told = lengths, _whole(counts if counts is not None else sizes or [])
            divisible = (told > 0) & (values > 0)
            divisible[divisible] = values[divisible] % told[divisible] == 0
            other = np.where(divisible, values // np.maximum(told, 1), -1)
            lengths, widths = (told, other) if counts is not None else (other, np.where(divisible, told, -1))
    file = ParquetFile(column, lengths)
    found = Found(file, [], [], [], [], [], [])
    for row, (id, length, width) in enumerate(zip(ids, lengths.tolist(), widths.tolist())):
        if not id:
            found.faults.append((file.where(row), "the id is empty; give each row the id of its video"))
        elif length < 0 or width < 0:
            reason = "its list is missing, or its frames have unequally many values, or num_frames does not fit"
            found.faults.append((file.where(row), f"{reason}; write it again"))
        elif fault := array_fault((length, width), kind.dtype):
            found.faults.append((file.where(row), fault))
        else:
            found.add(id, row, length, width, kind.dtype)
    return found


def _measure(column: _Column, kind: _ListType, last: int | None = None) -> tuple[np.ndarray, np.ndarray]:
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


def _read(file: pq.ParquetFile, name: str) -> list[Any]:
    return file.read(columns=[name]).column(name).to_pylist()


def _whole(values: Sequence[Any]) -> np.ndarray:
    """Return numbers as int64; -1 for what is none, or not positive."""
    whole = (isinstance(value, (int, float)) and value > 0 and value == int(value) for value in values)
    return np.array([int(value) if good else -1 for value, good in zip(values, whole)], np.int64)


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _list_type(kind: pa.DataType) -> _ListType | None:
    """Return what lists a column holds; None if it holds no lists of numbers, or lists of lists of them."""
    depth, size = 0, None
    while _is_list(kind := _plain(kind)):
        size = kind.list_size if pa.types.is_fixed_size_list(kind) else None
        kind, depth = kind.value_type, depth + 1
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    return _ListType(depth, size, np.dtype(kind.to_pandas_dtype())) if depth in (1, 2) and number else None


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind


def _storage(array: pa.Array) -> pa.Array:
    return array.storage if isinstance(array, pa.ExtensionArray) else array


def _values(array: pa.Array) -> np.ndarray:
    """Return the numbers of lists, or of an array, one after the other. Raises ValueError if one is missing."""
    while True:
        array = _storage(array)
        if array.null_count:
            raise ValueError("a value is missing (null)")
        if not _is_list(array.type):
            return array.to_numpy(zero_copy_only=False)
        array = array.flatten()
