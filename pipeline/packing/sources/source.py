"""What a reader of features is: the videos that its files hold, where each lies, and what cannot be used."""

import struct
import tarfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

ANEW = "write or copy the file again"
CHANGED = "the file has changed since it was looked at; run the command again"
FAULTS: tuple[type[Exception], ...] = (
    *(OSError, ValueError, KeyError, TypeError, RuntimeError, MemoryError),
    *(OverflowError, NotImplementedError, EOFError),
    *(zipfile.BadZipFile, zlib.error, struct.error, tarfile.TarError),
)
"""What libraries raise where a file is damaged."""
_LISTED = 5


class UnreadableFeature(ValueError):
    """A video cannot be read; the message says why, and what to do."""

    def __init__(self, where: str, reason: str):
        super().__init__(reason)
        self.where = where
        """The file, and the entry in it."""

    def __reduce__(self) -> tuple:
        return type(self), (self.where, str(self))


class FeatureSource(Protocol):
    """The videos with one feature. It is small when pickled: processes get a copy, and open the files themselves."""

    name: str
    """Of the feature."""
    ids: list[str]
    """N, each once, in the order in which they are stored; files are ordered by the bytes of their names."""
    lengths: np.ndarray
    """int64 [N], the frames of each; at least 1."""
    size: int
    """F, values of a frame."""
    dtype: np.dtype
    """Of the values: any integer, or any float."""
    faults: list[tuple[str, str]]
    """Videos or files that cannot be used: where they lie; why, and what to do."""

    def files(self) -> list[Path]:
        """Return all files that are read, each once."""

    def files_of(self, video: int) -> list[Path]:
        """Return the files in which a video lies."""

    def where(self, video: int) -> str:
        """Return the file of a video, and the entry in it."""

    def read(self, video: int) -> np.ndarray:
        """Read a video, `dtype` [n,F]. Raises UnreadableFeature."""


class LazyFile:
    """A file that is opened late, and closed when it is pickled."""

    def __init__(self, path: Path | str):
        self.name = str(path)  # a Path takes longer to make and to pickle, which counts where there are many files
        self._opened: Any = None

    @property
    def path(self) -> Path:
        return Path(self.name)

    def close(self) -> None:
        """Close what was opened; the next read opens it again."""
        if self._opened is not None:
            self._opened.close()
        self._opened = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}


class VideoFile(LazyFile):
    """A file that holds videos by their number in it."""

    def files(self) -> list[Path]:
        """Return the file, or the files where several belong together."""
        return [self.path]

    def files_of(self, entry: int) -> list[Path]:
        """Return the files in which a video lies."""
        return [self.path]

    def where(self, entry: int) -> str:
        """Return the file, and the entry in it, for messages."""
        return self.name

    def read(self, entry: int) -> np.ndarray:
        """Read a video, [n,F] or [F]. Raises UnreadableFeature, or whatever a library raises for a damaged file."""
        raise NotImplementedError


class Zeros(VideoFile):
    """Videos whose feature is all zeros: they lie nowhere."""

    def __init__(self, folder: Path, size: int, lengths: Sequence[int]):
        super().__init__(folder)
        self._size, self._lengths = size, lengths

    def files(self) -> list[Path]:
        return []

    def read(self, entry: int) -> np.ndarray:
        return np.zeros((self._lengths[entry], self._size), np.float32)


class Found(NamedTuple):
    """The videos of a file, as its headers tell, and what of it cannot be used."""

    file: VideoFile | None
    ids: list[str]
    entries: Sequence[int]
    """The number of each video in the file."""
    lengths: Sequence[int]
    sizes: Sequence[int]
    """Values of a frame."""
    dtypes: Sequence[np.dtype]
    faults: list[tuple[str, str]]

    @classmethod
    def none(cls, where: Path | str, reason: str) -> "Found":
        """Return that nothing of a file can be used, and why."""
        return cls(None, [], [], [], [], [], [(str(where), reason)])

    @classmethod
    def of(cls, file: VideoFile, arrays: Sequence[tuple[str, tuple[int, ...], np.dtype]]) -> "Found":
        """Return the videos of a file whose arrays, numbered from 0, have these ids, shapes and dtypes."""
        found = cls(file, [], [], [], [], [], [])
        for entry, (id, shape, dtype) in enumerate(arrays):
            if reason := array_fault(shape, dtype):
                found.faults.append((file.where(entry), reason))
            else:
                found.add(id, entry, shape[0] if len(shape) > 1 else 1, shape[-1], dtype)
        return found

    def add(self, id: str, entry: int, length: int, size: int, dtype: np.dtype) -> None:
        """Add a video."""
        for kept, value in zip(
            (self.ids, self.entries, self.lengths, self.sizes, self.dtypes), (id, entry, length, size, dtype)
        ):
            kept.append(value)  # type: ignore[attr-defined]


def array_fault(shape: tuple[int, ...], dtype: np.dtype) -> str | None:
    """Return why an array is not the frames of a video, and what to do; None if it is."""
    if dtype.kind not in "iuf":
        return f"the values are {dtype}; they must be integers or floats: convert them"
    if len(shape) not in (1, 2):
        return f"the array is {list(shape)}; a video is [frames, values]: write it so"
    if len(shape) == 2 and not shape[0]:
        return f"the array is {list(shape)}: there are no frames; extract the features again, or remove the video"
    if not shape[-1]:
        return f"the array is {list(shape)}: its frames have no values; extract the features again"
    return None


def id_text(value: object) -> str:
    """Return an id as text: 17 is "17", and what is missing is empty."""
    if isinstance(value, bytes):
        return value.decode(errors="surrogateescape")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return "" if value is None or value != value else str(value)


def what_is_there(place: Path) -> str:
    """Return a sentence on what there is in place of a path: what the last folder that exists holds."""
    folder = next(parent for parent in place.absolute().parents if parent.is_dir())
    entries = sorted(each.name for each in folder.iterdir())
    there = f"holds {', '.join(entries[:_LISTED])}{', ...' if entries[_LISTED:] else ''}" if entries else "is empty"
    return f"{folder} {there}"
