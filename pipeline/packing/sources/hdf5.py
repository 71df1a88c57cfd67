"""Features in HDF5 files: a dataset a video, wherever it lies below the root, or a stacked array at the root."""

import functools
from pathlib import Path

import h5py
import numpy as np
from h5py import h5d, h5s, h5t

from pipeline.packing.sources.hdf5_walk import Held, datasets_of
from pipeline.packing.sources.source import ANEW, Found, VideoFile
from pipeline.packing.sources.stacked import Contents, RowArray, pick_array

_CACHE = 64 << 20
"""Bytes of the chunks that are kept."""


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
        found = list(datasets_of(file.id, feature.encode(errors="surrogateescape")))
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


def _alone(file: h5py.File, held: Held, feature: str, ids: str, counts: str) -> Contents:
    """Return what a dataset is to which the others belong, if there are any."""
    path, name, shape = Path(file.filename), held.path, held.shape
    array = Hdf5Rows(path, name, shape, held.dtype) if len(shape) in (2, 3) else None
    id = path.stem if name == feature else name
    videos = None if len(shape) == 3 else Found.of(Hdf5File(path, [name], [held.dtype]), [(id, shape, held.dtype)])
    told = [file[each][()].tolist() if each else None for each in (ids, counts)]
    return Contents(videos, array, told[0], told[1], name == feature)


def _found(path: Path, all_held: list[Held], head: int, tail: int) -> Found:
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
