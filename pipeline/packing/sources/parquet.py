"""Features in Parquet tables: lists of values, a row a video or a row a frame, read a piece at a time."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.packing.sources.parquet_columns import (
    BATCH_BYTES,
    Column,
    ListType,
    is_list,
    list_type,
    measure,
    numbers_of,
    storage_of,
)
from pipeline.packing.sources.source import ANEW, Found, UnreadableFeature, VideoFile, array_fault, id_text
from pipeline.packing.sources.stacked import NUM_FRAMES, Contents, RowArray, find_id_column, stack_videos

_SIZE = "size"
"""Column of the number of values of a frame."""


class ParquetRows(RowArray):
    """A column whose lists are frames, as a stacked array."""

    def __init__(self, column: Column, name: str, shape: tuple[int, int], dtype: np.dtype):
        super().__init__(column.path, name, shape, dtype)
        self._column = column
        self.in_order_only = column.bytes > BATCH_BYTES

    def read(self, start: int, stop: int) -> np.ndarray:
        parts = self._column.rows(start, stop)
        for part in parts:
            sizes = pc.list_value_length(part)
            if pc.min_max(sizes).as_py() != {"min": self.shape[1], "max": self.shape[1]}:
                raise UnreadableFeature(self.where(), f"rows {start} to {stop - 1} have other lengths; {ANEW}")
        return np.concatenate([numbers_of(part) for part in parts]).reshape(stop - start, self.shape[1])

    def close(self) -> None:
        self._column.close()


class ParquetFile(VideoFile):
    """A column whose lists are videos: lists of frames, or their values one after the other."""

    def __init__(self, column: Column, lengths: np.ndarray):
        super().__init__(column.path)
        self._column, self._lengths = column, lengths

    def where(self, entry: int) -> str:
        return f"{self.path}, row {entry}"

    def read(self, entry: int) -> np.ndarray:
        (row,) = self._column.rows(entry, entry + 1)
        if row.null_count:
            raise UnreadableFeature(self.where(entry), f"the list is missing; {ANEW}")
        frames = storage_of(row.flatten())
        if is_list(frames.type):
            sizes = pc.min_max(pc.list_value_length(frames)).as_py()
            if len(frames) != self._lengths[entry] or sizes["min"] != sizes["max"]:
                told = f"{len(frames)} frames of {sizes['min']} to {sizes['max']} values"
                raise UnreadableFeature(
                    self.where(entry), f"it has {told}, not {self._lengths[entry]} of as many; {ANEW}"
                )
        values = numbers_of(frames)
        if len(values) % self._lengths[entry]:
            told = f"{len(values)} values cannot be {self._lengths[entry]} frames"
            raise UnreadableFeature(self.where(entry), f"its {told}; {ANEW}")
        return values.reshape(int(self._lengths[entry]), -1)

    def close(self) -> None:
        self._column.close()


def open_parquet(path: Path, feature: str, id_column: str | None) -> Contents:
    """Return the videos of a table; the feature is the column of its name, or the only one of lists.

    A row is a video if it holds lists of frames, or as many values as `num_frames` or `size` tell; else a row is a
    frame, and rows of one id are one video. Numbers of frames that no column tells are counted, batch by batch. Without
    any column of ids the table is one video, and its id is the file's stem.

    Raises StageError if the column of ids cannot be told.
    """
    with pq.ParquetFile(path) as file:
        return Contents(_open(file, path, feature, id_column), named=feature in file.schema_arrow.names)


def _open(file: pq.ParquetFile, path: Path, feature: str, id_column: str | None) -> Found:
    types = {field.name: list_type(field.type) for field in file.schema_arrow}
    lists = [name for name, kind in types.items() if kind]
    name = feature if feature in types else lists[0] if len(lists) == 1 else ""
    kind = types.get(name)
    if not kind:
        there = ", ".join(f"{field.name} ({field.type})" for field in file.schema_arrow)[:500]
        reason = f"no column {feature} holds lists of numbers; name the feature like its column"
        return Found.none(path, f"{reason}. The columns are: {there}")
    if file.schema_arrow.names.count(name) > 1:
        return Found.none(path, f"two columns are named {name}: rename one")
    column = Column(path, name, file.metadata, kind.dtype.itemsize)
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


def _frames(column: Column, name: str, kind: ListType, ids: list[str], rows: int) -> Found:
    """Return the videos of a table with a row a frame."""
    size = kind.size
    if size is None:
        (first,) = column.rows(0, 1)
        size = pc.list_value_length(first)[0].as_py()
        column.close()
    if len(set(ids)) == rows and kind.size is None:
        lengths, _ = measure(column, kind)
        if len(np.unique(lengths)) > 1:
            reason = f"each row has its own id, and lists of {lengths.min():,} to {lengths.max():,} values"
            return Found.none(
                f"{column.path}, column {name}", f"{reason}: add a column num_frames, or write lists of frames"
            )
    array = ParquetRows(column, name, (rows, size or 0), kind.dtype)
    return stack_videos([array], ids, None, lambda row: f"{column.path}, row {row}")


def _videos(column: Column, kind: ListType, ids: list[str], counts: list[Any] | None, sizes: list[Any] | None) -> Found:
    """Return the videos of a table with a row a video."""
    if counts is not None and kind.depth == 2:  # they are held against the lists when these are read
        first = next((row for row, count in enumerate(counts) if count), 0)
        width = kind.size or measure(column, kind, first)[1][-1]
        lengths, widths = _whole(counts), np.full(len(ids), width)
    else:
        lengths, widths = measure(column, kind)
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


def _read(file: pq.ParquetFile, name: str) -> list[Any]:
    return file.read(columns=[name]).column(name).to_pylist()


def _whole(values: Sequence[Any]) -> np.ndarray:
    """Return numbers as int64; -1 for what is none, or not positive."""
    whole = (isinstance(value, (int, float)) and value > 0 and value == int(value) for value in values)
    return np.array([int(value) if good else -1 for value, good in zip(values, whole)], np.int64)


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)
