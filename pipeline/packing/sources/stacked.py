"""Stacked arrays: the frames of many videos in one [N,T,F] or [N*T,F], and which rows are whose."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.config.errors import StageError
from pipeline.config.wording import counted
from pipeline.packing.sources.source import Found, LazyFile, VideoFile, array_fault, id_text

IDS, NUM_FRAMES, FRAMES = "ids", "num_frames", "frames"
"""Names of arrays beside each other, and of a column."""


ID_NAMES = ("id", "ids", "video_id", "key")
"""Columns of ids, if none is named and there are several."""


class RowArray(LazyFile):
    """A stacked array in a file, [N,T,F] or [frames,F]."""

    in_order_only = False
    """Whether to go back in it costs as much as to read it from its beginning."""

    def __init__(self, path: Path, label: str, shape: tuple[int, ...], dtype: np.dtype):
        super().__init__(path)
        self.label = label
        """The array's name in the file; empty if the file is the array."""
        self.shape, self.dtype = shape, dtype

    @property
    def frames(self) -> int:
        """Frames of all videos together, those that pad them included."""
        return self.shape[0] * (self.shape[1] if len(self.shape) == 3 else 1)

    def where(self) -> str:
        """Return the file, and the array in it, for messages."""
        return f"{self.path}, array {self.label}" if self.label else str(self.path)

    def read(self, start: int, stop: int) -> np.ndarray:
        """Read frames by their number in the whole array, [stop - start, F]."""
        raise NotImplementedError


class Contents(NamedTuple):
    """What a file may be: videos by themselves, a stacked array, or either, which depends on the table of rows."""

    videos: Found | None
    array: RowArray | None = None
    ids: list[str] | None = None
    """Of the rows of the array, if the file names them."""
    counts: Sequence[object] | None = None
    """Numbers of frames of the rows of the array, if the file tells them."""
    named: bool = False
    """Whether something in the file has the name of the feature."""
    unstacked: Found | None = None
    """Why the array cannot be used where its rows are to be several videos; None if it can, or is not an array."""


def pick_array(feature: str, shapes: Mapping[str, tuple[int, ...]], id_column: str | None) -> tuple[str, str, str]:
    """Return the names of the array of frames in a file, and of those of its ids and its numbers of frames.

    The array is named like the feature, or else `frames` where one of the others is beside it, or else it is the only
    one. A name is empty if there is no such array. Ids and numbers of frames have one dimension, and a stacked array
    has 3 unless there are ids.
    """
    ids = next((name for name in (id_column, IDS) if name and len(shapes.get(name, ())) == 1 and name != feature), None)
    counts = NUM_FRAMES if len(shapes.get(NUM_FRAMES, ())) == 1 and feature != NUM_FRAMES else None
    others = [name for name in shapes if name not in (ids, counts)]
    array = feature if feature in shapes else FRAMES if FRAMES in others and (ids or counts) else ""
    if not array and len(others) == 1:
        array = others[0]
    stacked = array and (len(shapes[array]) == 3 or (len(shapes[array]) == 2 and ids))
    return array, (ids or "") if stacked else "", (counts or "") if stacked else ""


class Stack(VideoFile):
    """Videos that are rows of one array, or of several that follow each other.

    Args:
        arrays: in their order.
        starts: int64 [P], the first frame of each piece, counted through all arrays; videos are one or more pieces.
        counts: int64 [P], the frames of each piece.
        offsets: int64 [N+1], the first piece of each video.
    """

    def __init__(self, arrays: Sequence[RowArray], starts: np.ndarray, counts: np.ndarray, offsets: np.ndarray):
        super().__init__(arrays[0].path)
        self._arrays, self._starts, self._counts, self._offsets = list(arrays), starts, counts, offsets
        self._firsts = np.cumsum([0, *(array.frames for array in arrays)])

    def files(self) -> list[Path]:
        return [array.path for array in self._arrays]

    def files_of(self, entry: int) -> list[Path]:
        pieces = slice(self._offsets[entry], self._offsets[entry + 1])
        first = np.searchsorted(self._firsts, self._starts[pieces], "right") - 1
        last = np.searchsorted(self._firsts, self._starts[pieces] + self._counts[pieces], "left") - 1
        numbers = {number for one, other in zip(first.tolist(), last.tolist()) for number in range(one, other + 1)}
        return [self._arrays[number].path for number in sorted(numbers)]

    def where(self, entry: int) -> str:
        piece = self._offsets[entry]
        start = int(self._starts[piece])
        number = int(np.searchsorted(self._firsts, start, "right")) - 1
        return f"{self._arrays[number].where()}, frame {start - int(self._firsts[number])}"

    def read(self, entry: int) -> np.ndarray:
        parts = []
        for piece in range(self._offsets[entry], self._offsets[entry + 1]):
            start, stop = int(self._starts[piece]), int(self._starts[piece] + self._counts[piece])
            while start < stop:
                number = int(np.searchsorted(self._firsts, start, "right")) - 1
                first, end = int(self._firsts[number]), min(stop, int(self._firsts[number + 1]))
                parts.append(self._arrays[number].read(start - first, end - first))
                start = end
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def close(self) -> None:
        for array in self._arrays:
            array.close()


def find_id_column(names: Sequence[str], texts: Sequence[str], id_column: str | None, where: str) -> str:
    """Return the column of ids: the one that is named, `id` or the like, or the only one, or the only one with text.

    Raises StageError if it cannot be told.
    """
    for name in (id_column, *ID_NAMES, *(names if len(names) == 1 else ()), *(texts if len(texts) == 1 else ())):
        if name in names:
            return str(name)
    named = f"there is no column {id_column}" if id_column else "no column is named id"
    raise StageError(
        f"{where}: {named}; name the column of ids with --id. The columns are: {', '.join(names) or 'none'}"
    )


def stack_videos(
    arrays: Sequence[RowArray], ids: Sequence[object], counts: Sequence[object] | None, where: Callable[[int], str]
) -> Found:
    """Return the videos of arrays whose rows have these ids; rows of one id are one video, in their order.

    Args:
        arrays: all [N,T,F], or all [frames,F]; they follow each other.
        ids: of each row of [N,T,F]; of each frame of [frames,F], or of each T frames.
        counts: how many of the T frames are valid, or how many frames each row has; None for all.
        where: where the id of a row is written, for messages.

    Raises:
        StageError: numbers of rows and ids do not fit.
    """
    for array in arrays:
        if fault := _array_fault(array):
            return Found.none(array.where(), fault)
    lengths, room = _divide(arrays, len(ids), counts, where)
    starts = np.cumsum(room) - room
    names = [id_text(value) for value in ids]
    numbers: dict[str, int] = {}  # of the videos, in the order of their first rows
    codes = np.array([numbers.setdefault(name, len(numbers)) for name in names], np.int64)
    unique = list(numbers)
    named = np.array([bool(name) for name in names], bool)
    bad = np.flatnonzero((lengths < 1) | (lengths > room) | ~named)
    faults = []
    for row in bad.tolist():
        reason = (
            f"num_frames is {counts[row] if counts is not None else 0}; it must be from 1 to {room[row]}: correct it"
        )
        faults.append((where(row), reason if named[row] else "the id is empty; give each row the id of its video"))
    spoiled = np.zeros(len(unique), bool)
    spoiled[codes[bad]] = True
    order = np.argsort(codes, kind="stable")
    order = order[~spoiled[codes[order]]]
    codes, starts, lengths = codes[order], starts[order], lengths[order]
    begins = np.ones(len(order), bool)  # of a piece: not right after the row before
    begins[1:] = (codes[1:] != codes[:-1]) | (starts[1:] != starts[:-1] + lengths[:-1])
    first = np.flatnonzero(begins)
    pieces = np.add.reduceat(lengths, first) if len(first) else lengths[:0]
    video_of = codes[first]
    videos, offsets, many = np.unique(video_of, return_index=True, return_counts=True)
    if any(array.in_order_only for array in arrays) and (many > 1).any():
        raise StageError(
            f"{arrays[0].where()}: the rows of {unique[videos[many > 1][0]]!r} do not follow each other, and a "
            "compressed array is read in its order only: sort the rows by id, or write it with numpy.savez or as HDF5"
        )
    stack = Stack(arrays, starts[first], pieces, np.append(offsets, len(first)))
    array_of = np.searchsorted(np.cumsum([array.frames for array in arrays]), starts[first][offsets], "right").tolist()
    total = np.add.reduceat(pieces, offsets) if len(offsets) else pieces
    return Found(
        stack,
        [unique[video] for video in videos.tolist()],
        range(len(videos)),
        total.tolist(),
        [arrays[number].shape[-1] for number in array_of],
        [arrays[number].dtype for number in array_of],
        faults,
    )


def _array_fault(array: RowArray) -> str | None:
    if len(array.shape) == 3 and not all(array.shape):
        return f"the array is {list(array.shape)}: there are no values; extract the features again"
    return array_fault(array.shape[-2:], array.dtype)


def _divide(
    arrays: Sequence[RowArray], ids: int, counts: Sequence[object] | None, where: Callable[[int], str]
) -> tuple[np.ndarray, np.ndarray]:
    """Return for each id how many frames it has, and how many lie there for it; int64 [ids] each."""
    if len({len(array.shape) for array in arrays}) > 1:
        shapes = ", ".join(f"{array.where()} {list(array.shape)}" for array in arrays[:5])
        raise StageError(f"stacked arrays of one feature must have equally many dimensions: {shapes}")
    numbers = None if counts is None else np.array([_whole(value) for value in counts], np.int64)
    rows = sum(array.shape[0] for array in arrays)
    told = arrays[0].where() + (f" and {counted(len(arrays) - 1, 'other file')}" if len(arrays) > 1 else "")
    told += f": {counted(rows, 'row')} ({list(arrays[0].shape)}{' and others' if len(arrays) > 1 else ''})"
    if numbers is not None and len(numbers) != ids and not (len(arrays[0].shape) == 2 and rows == ids):
        raise StageError(
            f"{told}, and {counted(ids, 'id')}; num_frames are {len(numbers):,}: each id must have one, and no other"
        )
    if len(arrays[0].shape) == 3:
        if rows != ids:
            raise StageError(f"{told}, and {counted(ids, 'id')}; each row must have an id, and each id a row")
        room = np.repeat([array.shape[1] for array in arrays], [array.shape[0] for array in arrays])
        return room if numbers is None else numbers, room
    if rows == ids:
        return np.ones(ids, np.int64), np.ones(ids, np.int64)
    if numbers is not None and len(numbers) == ids and (numbers >= 0).all() and int(numbers.sum()) == rows:
        return numbers, numbers
    if not ids or rows % ids:
        also = "" if numbers is None else f", whose num_frames are {max(int(numbers.sum()), 0):,} in all"
        raise StageError(
            f"{told}, and {counted(ids, 'id')}{also}; there must be an id for each row, or for equally many rows, or "
            "num_frames must add up to the rows"
        )
    room = np.full(ids, rows // ids, np.int64)
    return room if numbers is None else numbers, room


def _whole(value: object) -> int:
    """Return a number of frames, also from the text of a table's cell; -1 if it is none."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        return int(value)
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        value = int(value)
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        return -1
    return int(value) if 0 <= value < 1 << 62 else -1
