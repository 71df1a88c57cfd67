"""Features in NumPy's files: an .npy a video, an .npz a video, an .npz with an array a video, and stacked arrays."""

import contextlib
import os
from pathlib import Path

import numpy as np

from pipeline.artifacts.files import read_at
from pipeline.artifacts.npz import LONGEST_HEAD, ArrayFile, ArrayHeader, header_bytes, header_of_array, open_npz
from pipeline.packing.sources.source import CHANGED, Found, UnreadableFeature, VideoFile
from pipeline.packing.sources.stacked import Contents, RowArray, pick_array

MAGIC = b"\x93NUMPY"
_HEAD = 128
"""Bytes of nearly all headers."""
_HELD = 64 << 20
"""A compressed stacked array of at most so many bytes is held in memory; a larger one is read again and again."""


def read_head(descriptor: int, offset: int, size: int) -> ArrayHeader:
    """Read the header of an array of `size` bytes that begins at `offset`.

    Raises ValueError if it does not agree with that; the message goes on after "the array".
    """
    head = read_at(descriptor, min(_HEAD, size), offset)
    if header_bytes(head) > _HEAD:
        head = read_at(descriptor, min(LONGEST_HEAD, size), offset)
    return header_of_array(head, size)


def read_bytes(descriptor: int, size: int, offset: int, where: str) -> np.ndarray:
    """Read bytes of a file, uint8 [size]. Raises UnreadableFeature if there are fewer."""
    data = np.empty(size, np.uint8)
    view, done = data.data, 0
    while done < size:
        got = os.preadv(descriptor, [view[done : done + (1 << 30)]], offset + done)
        if not got:
            raise UnreadableFeature(where, CHANGED)
        done += got
    return data


class NpyFile(VideoFile):
    """An .npy file that is one video."""

    def __init__(self, path: Path, header: ArrayHeader):
        super().__init__(path)
        self._header = header

    def read(self, entry: int) -> np.ndarray:
        header = self._header
        with opened(self.name) as descriptor:
            if os.fstat(descriptor).st_size != header.end:
                raise UnreadableFeature(self.name, CHANGED)
            return header.arrange(read_bytes(descriptor, header.end - header.begin, header.begin, self.name))


class NpyRows(RowArray):
    """A stacked array whose bytes lie in a file one after the other: an .npy, or an array of an .npz."""

    def __init__(self, path: Path, label: str, header: ArrayHeader, begin: int):
        super().__init__(path, label, header.shape, header.dtype)
        self._begin = begin + header.begin

    def read(self, start: int, stop: int) -> np.ndarray:
        if self._opened is None:
            self._opened = self.path.open("rb", buffering=0)
        width = self.shape[-1] * self.dtype.itemsize
        place = self._begin + start * width
        data = read_bytes(self._opened.fileno(), (stop - start) * width, place, self.where())
        return data.view(self.dtype).reshape(stop - start, self.shape[-1])


class NpzRows(RowArray):
    """A stacked array that is compressed in an .npz."""

    def __init__(self, path: Path, label: str, header: ArrayHeader):
        super().__init__(path, label, header.shape, header.dtype)
        self._begin = header.begin
        self.in_order_only = header.end > _HELD

    def read(self, start: int, stop: int) -> np.ndarray:
        if self._opened is None:
            self._opened = _OpenNpz(self.path)
            if self.in_order_only:
                self._opened.file = self._opened.enter_context(self._opened.arrays.open(self.label))
            else:
                self._opened.whole = self._opened.arrays.read(self.label).reshape(-1, self.shape[-1])
        if not self.in_order_only:
            return self._opened.whole[start:stop]
        width = self.shape[-1] * self.dtype.itemsize
        self._opened.file.seek(self._begin + start * width)
        data = self._opened.file.read((stop - start) * width)
        return np.frombuffer(data, self.dtype).reshape(stop - start, self.shape[-1])


class NpzFile(VideoFile):
    """Arrays of an .npz file, each a video."""

    def __init__(self, path: Path, names: list[str]):
        super().__init__(path)
        self._names = names

    def where(self, entry: int) -> str:
        return f"{self.path}, array {self._names[entry]}"

    def read(self, entry: int) -> np.ndarray:
        if self._opened is None:
            self._opened = _OpenNpz(self.path)
        return self._opened.arrays.read(self._names[entry])


class _OpenNpz(contextlib.ExitStack):
    def __init__(self, path: Path):
        super().__init__()
        self.arrays: ArrayFile = self.enter_context(open_npz(path))


@contextlib.contextmanager
def opened(path: Path | str):
    """Open a file; the block gets its descriptor."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def open_npy(path: Path, descriptor: int) -> Contents:
    """Return what an .npy file holds: a video, a stacked array, or either."""
    try:
        header = read_head(descriptor, 0, os.fstat(descriptor).st_size)
    except ValueError as error:
        return Contents(
            Found.none(path, f"the array {error}; write each video as an array of numbers, or copy it again")
        )
    array = None
    if len(header.shape) in (2, 3) and not header.fortran_order:
        array = NpyRows(path, "", header, 0)
    if len(header.shape) == 3:
        return Contents(_of_columns(path) if array is None else None, array)
    videos = Found.of(NpyFile(path, header), [(path.stem, header.shape, header.dtype)])
    return Contents(videos, array, unstacked=_of_columns(path) if header.fortran_order else None)


def open_arrays(path: Path, feature: str, id_column: str | None) -> Contents:
    """Return what an .npz file holds: a video as the array named like the feature or the only one, an array a video,
    or a stacked array, perhaps with its ids."""
    with open_npz(path) as arrays:
        headers = {name: arrays.header(name) for name in arrays.names}
        shapes = {name: header.shape for name, header in headers.items()}
        name, ids, counts = pick_array(feature, shapes, id_column)
        if not name:
            if {len(shape) for shape in shapes.values()} != {2} or len({shape[1] for shape in shapes.values()}) > 1:
                there = ", ".join(f"{each} {list(shape)}" for each, shape in list(shapes.items())[:20]) or "none"
                return Contents(Found.none(path, f"{no_array_named(feature)}. The arrays are: {there}"))
            file = NpzFile(path, list(headers))
            return Contents(Found.of(file, [(each, header.shape, header.dtype) for each, header in headers.items()]))
        header = headers[name]
        array: RowArray | None = None
        if len(header.shape) in (2, 3) and not header.fortran_order:
            begin = arrays.begin(name)
            array = NpzRows(path, name, header) if begin is None else NpyRows(path, name, header, begin)
        if header.fortran_order and (ids or len(header.shape) == 3):
            videos = _of_columns(path)
        elif len(header.shape) == 3:
            videos = None
        else:
            videos = Found.of(NpzFile(path, [name]), [(path.stem, header.shape, header.dtype)])
        return Contents(
            videos,
            array,
            arrays.read(ids).tolist() if ids and array else None,
            arrays.read(counts).tolist() if counts and array else None,
            name == feature,
            _of_columns(path) if header.fortran_order else None,
        )


def no_array_named(feature: str) -> str:
    """Return the message that of several arrays none is known to hold the frames, without a list of them."""
    return (
        f"no array is named {feature}, and they cannot be a video each, [frames, values] with equally many values: "
        "name the feature like its array, as in --features ARRAY=PATTERN"
    )


def _of_columns(path: Path) -> Found:
    reason = "the array is stored by columns, so that a video cannot be read alone"
    return Found.none(path, f"{reason}: write it with numpy.ascontiguousarray")
