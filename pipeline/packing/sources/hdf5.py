"""Features in HDF5 files: a dataset a video, wherever it lies below the root, or a stacked array at the root."""

import functools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from h5py import h5d, h5g, h5l, h5o, h5s, h5t

from pipeline.packing.sources.source import ANEW, FAULTS, Found, VideoFile
from pipeline.packing.sources.stacked import Contents, RowArray, pick_array

_MOST_INFLATED = 1100
"""Times that the bytes of a dataset become more, at most: deflate makes 1,032 of one."""
_SMALL = 1 << 20
"""Bytes that a dataset may have in any case, such as one that was never written to and holds its fill value."""
_CHUNK, _CACHE = 1 << 30, 64 << 20
"""Bytes of a chunk, at most, and of the chunks that are kept."""
_DEEPEST = 32
"""Groups in each other."""
_LINKS = 32
"""Soft links that lead to each other."""
_INSIDE = "put the dataset itself into the file, for example with h5repack or h5py's copy"


class _Held(NamedTuple):
    """A dataset, or why there is none where a link is."""

    path: str
    """Below the root, without a slash before it."""
    shape: tuple[int, ...]
    dtype: np.dtype
    fault: str | None
    is_link: bool = False
    """Whether nothing is known of what the link leads to."""


class Hdf5File(VideoFile):
    """Datasets of an HDF5 file, each a video; of these names and dtypes."""

    def __init__(self, path: Path, names: list[str], dtypes: list[np.dtype]):
        super().__init__(path)
        self._names, self._dtypes = names, dtypes

    def where(self, entry: int) -> str:
        return f"{self.path}, dataset {self._names[entry]}"

    def read(self, entry: int) -> np.ndarray:
        if self._opened is None:
            self._opened = _open_file(self.path)
        held = h5d.open(self._opened.id, _encoded(self._names[entry]))
        dtype = self._dtypes[entry]  # asking the dataset takes as long as reading it; HDF5 converts what has changed
        values = np.empty(held.shape, dtype)
        held.read(h5s.ALL, h5s.ALL, values, _in_memory(dtype))
        return values


class Hdf5Rows(RowArray):
    """A stacked array in an HDF5 file; no more than the rows that are asked for is read."""

    def read(self, start: int, stop: int) -> np.ndarray:
        if self._opened is None:
            self._opened = _OpenDataset(self.path, self.label)
        held = self._opened.held
        if len(self.shape) == 2:
            return held[start:stop]
        length = self.shape[1]
        row, last = start // length, (stop - 1) // length
        if row == last:
            return held[row, start - row * length : stop - row * length]
        whole = held[row : last + 1].reshape(-1, self.shape[2])
        return whole[start - row * length : stop - row * length]


class _OpenDataset:
    """A dataset that stays open: its chunks are kept as long as it is."""

    def __init__(self, path: Path, name: str):
        self._file = _open_file(path)
        self.held = self._file[name]

    def close(self) -> None:
        self._file.close()


def open_hdf5(path: Path, feature: str, id_column: str | None) -> Contents:
    """Return what an HDF5 file holds.

    In this order, the first that is there:
        a group named like the feature at the root: each dataset below it is a video, and its path below it is the id
        datasets named like the feature in groups: each is a video, and the path of its group is the id
        at the root, a dataset named like the feature, or `frames` or the only one beside `ids` or `num_frames`, or the
            only one at all: a video or a stacked array; the id is the file's stem if the feature has its name
        datasets anywhere: each is a video, and its path is the id
    """
    with _open_file(path) as file:
        found = list(_walk(file.id, feature.encode(errors="surrogateescape")))
        below = [held for held in found if held.path.startswith(f"{feature}/")]
        if below:
            return Contents(_found(path, below, len(feature) + 1, 0), named=True)
        tail = f"/{feature}"
        if any(held.path.endswith(tail) for held in found):
            own = [held for held in found if held.path.endswith(tail) or held.is_link]
            return Contents(_found(path, own, 0, len(tail)), named=True)
        root = {held.path: held for held in found if "/" not in held.path and not held.fault}
        name, ids, counts = pick_array(feature, {name: held.shape for name, held in root.items()}, id_column)
        if name and (name == feature or ids or counts or len(found) == 1):
            return _alone(file, root[name], feature, ids, counts)
        if not found:
            return Contents(Found.none(path, f"it holds no datasets; {ANEW}"))
        return Contents(_found(path, found, 0, 0))


def _alone(file: h5py.File, held: _Held, feature: str, ids: str, counts: str) -> Contents:
    """Return what a dataset is to which the others belong, if there are any."""
    path, name, shape = Path(file.filename), held.path, held.shape
    array = Hdf5Rows(path, name, shape, held.dtype) if len(shape) in (2, 3) else None
    id = path.stem if name == feature else name
    videos = None if len(shape) == 3 else Found.of(Hdf5File(path, [name], [held.dtype]), [(id, shape, held.dtype)])
    told = [file[each][()].tolist() if each else None for each in (ids, counts)]
    return Contents(videos, array, told[0], told[1], name == feature)


def _found(path: Path, all_held: list[_Held], head: int, tail: int) -> Found:
    """Return datasets as videos; an id is a path without so many characters at its ends."""
    good = [held for held in all_held if not held.fault]
    ids = [held.path[head : len(held.path) - tail] for held in good]
    file = Hdf5File(path, [held.path for held in good], [held.dtype for held in good])
    found = Found.of(file, [(id, held.shape, held.dtype) for id, held in zip(ids, good)])
    found.faults.extend((f"{path}, {held.path}", held.fault) for held in all_held if held.fault)
    return found


def _open_file(path: Path) -> h5py.File:
    return h5py.File(path, "r", rdcc_nbytes=_CACHE, locking="best-effort")


@functools.lru_cache(64)
def _in_memory(dtype: np.dtype) -> h5t.TypeID:
    return h5t.py_create(dtype)


def _encoded(path: str) -> bytes:
    return path.encode(errors="surrogateescape")


# ------------------------------------------------------------------------------------------------------ what is in it


def _walk(file: h5g.GroupID, first: bytes) -> Iterator[_Held]:
    """Yield the datasets of a file in the order of their names, and links that are not followed; of the group `first`
    alone if there is one at the root."""
    root = h5g.open(file, b"/")
    if root.links.exists(first) and root.links.get_info(first).type == h5l.TYPE_HARD:
        begin = h5o.open(root, first)
        if isinstance(begin, h5g.GroupID):
            yield from _walk_group(root, begin, first + b"/", {_address(root)}, _Dtypes())
            return
    yield from _walk_group(root, root, b"", set(), _Dtypes())


class _Dtypes:
    """Tells the dtype of datasets; most of a file have one, and to compare types takes less than to translate them."""

    def __init__(self) -> None:
        self._type: Any = None
        self._dtype = np.dtype(object)

    def of(self, held: h5d.DatasetID) -> np.dtype:
        kind = held.get_type()
        if self._type is None or not self._type.equal(kind):
            self._type, self._dtype = kind, held.dtype
        return self._dtype


def _walk_group(
    root: h5g.GroupID, group: h5g.GroupID, prefix: bytes, seen: set[Any], dtypes: _Dtypes
) -> Iterator[_Held]:
    seen.add(_address(group))
    links: list[tuple[bytes, int]] = []
    group.links.iterate(lambda name, info: links.append((name, info.type)), info=True)
    for name, kind in sorted(links):
        path = prefix + name
        try:
            there = _open(group, name) if kind == h5l.TYPE_HARD else _open_inside(root, group, name, [_LINKS])
            if isinstance(there, h5g.GroupID):
                if path.count(b"/") > _DEEPEST:
                    raise ValueError(f"more than {_DEEPEST} groups are in each other; {ANEW}")
                if _address(there) not in seen:  # groups may be linked to in a circle
                    yield from _walk_group(root, there, path + b"/", seen, dtypes)
            elif isinstance(there, h5d.DatasetID):
                yield _look_at(path.decode(errors="surrogateescape"), there, dtypes)
        except FAULTS as error:
            yield _Held(path.decode(errors="surrogateescape"), (), np.dtype(object), str(error), is_link=True)


def _open(group: h5g.GroupID, name: bytes) -> Any:
    """Open what a group holds; most is a dataset, and finding that out takes as long as opening it."""
    try:
        return h5d.open(group, name)
    except FAULTS:
        return h5o.open(group, name)


def _open_inside(root: h5g.GroupID, group: h5g.GroupID, path: bytes, left: list[int]) -> Any:
    """Open what lies at a path, if no link on the way leaves the file; `left` counts the soft links to follow."""
    here = root if path.startswith(b"/") else group
    for part in path.split(b"/"):
        if part in (b"", b"."):
            continue
        if not isinstance(here, h5g.GroupID) or not here.links.exists(part):
            raise ValueError("the link leads nowhere: mend or remove it")
        kind = here.links.get_info(part).type
        if kind == h5l.TYPE_SOFT:
            left[0] -= 1
            if left[0] < 0:
                raise ValueError("soft links lead to each other without an end: remove them")
            here = _open_inside(root, here, here.links.get_val(part), left)
        elif kind == h5l.TYPE_HARD:
            here = h5o.open(here, part)
        else:
            raise ValueError(f"the link leads out of the file, and is not followed: {_INSIDE}")
    return here


def _address(group: h5g.GroupID) -> tuple[int, int]:
    info = h5g.get_objinfo(group, b".")
    return info.fileno[0], info.objno[0]


def _look_at(path: str, held: h5d.DatasetID, dtypes: _Dtypes) -> _Held:
    try:
        shape, dtype = held.shape, dtypes.of(held)
        # What lies in one piece in the file has an offset; asking how anything else is stored takes longer.
        layout = None if held.get_offset() is not None else held.get_create_plist()
    except FAULTS as error:
        return _Held(path, (), np.dtype(object), f"its type cannot be read ({error}): write it as integers or floats")
    return _Held(path, shape, dtype, _layout_fault(held, shape, dtype, layout))


def _layout_fault(held: h5d.DatasetID, shape: tuple[int, ...] | None, dtype: np.dtype, layout: Any) -> str | None:
    """Return why a dataset cannot be read, and what to do; `layout` is None where the values lie in one piece."""
    if shape is None:
        return "the dataset is empty (it has no shape): write the values, or remove it"
    if layout and (layout.get_external_count() or layout.get_layout() == h5d.VIRTUAL):
        return f"the values lie in other files or datasets, which are not read: {_INSIDE}"
    size, stored = math.prod(shape) * dtype.itemsize, held.get_storage_size()
    if size > _MOST_INFLATED * stored + _SMALL:
        return f"it is to have {size:,} bytes, and {stored:,} are stored: the values were never written, write them"
    chunked = layout and layout.get_layout() == h5d.CHUNKED
    chunk = math.prod(layout.get_chunk()) * dtype.itemsize if chunked else 0
    if chunk > _CHUNK:
        return (
            f"a chunk of it has {chunk:,} bytes; at most {_CHUNK:,} can be read: write it in smaller chunks (h5repack)"
        )
    return None
