"""What a reader of features is: the videos that its files hold, where each lies, and what cannot be used."""

import struct
import tarfile
import zipfile
import zlib
from collections import Counter, OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from pipeline.artifacts.failures import about, is_refusal
from pipeline.config.errors import StageError
from pipeline.config.wording import counted

ANEW = "write or copy the file again"
CHANGED = "the file has changed since it was looked at; run the command again"
FAULTS: tuple[type[Exception], ...] = (
    *(OSError, ValueError, KeyError, TypeError, RuntimeError, MemoryError),
    *(OverflowError, NotImplementedError, EOFError),
    *(zipfile.BadZipFile, zlib.error, struct.error, tarfile.TarError),
)
"""What libraries raise where a file is damaged."""
_LISTED = 5
_OPEN = 32
"""Files that a source keeps open."""


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

    def __init__(self, path: Path):
        self.path = path
        self._opened: Any = None

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
        return str(self.path)

    def read(self, entry: int) -> np.ndarray:
        """Read a video, [n,F] or [F]. Raises UnreadableFeature, or whatever a library raises for a damaged file."""
        raise NotImplementedError


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


class Needed(NamedTuple):
    """What a model needs of a feature."""

    size: int
    """Values of a frame."""
    told: str
    """The same in words, for messages: "the 128 values of audio"."""


class FilesSource:
    """A FeatureSource of files that have been looked at; not for several threads.

    Args:
        name: of the feature.
        found: what is in the files.
        needed: what a model needs. Then each video stands for itself: those that do not fit, or whose id another one
            has, are noted as faults, there may be none that can be used, and `read` returns values as they are stored.
            Without it, the videos must fit each other, since they are to become one dataset.

    Raises:
        StageError: two videos have one id, or there is no video that can be used, and `needed` is not given.
    """

    def __init__(self, name: str, found: Sequence[Found], needed: Needed | None = None):
        self.name = name
        self._files = [each.file for each in found if each.file is not None]
        counts = [len(each.ids) for each in found if each.file is not None]
        self.ids = [id for each in found for id in each.ids]
        self._file_of = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
        self._entries = _joined([each.entries for each in found])
        self.lengths = _joined([each.lengths for each in found])
        self.faults = [fault for each in found for fault in each.faults]
        sizes = _joined([each.sizes for each in found])
        dtypes = [dtype for each in found for dtype in each.dtypes]
        self.left_out: set[str] = set()
        """Ids of videos that do not fit a model."""
        self._recent: OrderedDict[int, None] = OrderedDict()
        if needed:
            self._keep(self._that_fit(sizes, needed))
            self.size = needed.size
            self.dtype = np.result_type(*(set(dtypes) or {np.dtype(np.float32)}))
            self._own_dtypes = True
            return
        self._own_dtypes = False
        if not self.ids:
            shown = "".join(f"\n  * {where}: {reason}" for where, reason in self.faults[:_LISTED])
            raise StageError(f"--features {name}: there is no video that can be used{shown and ':'}{shown or '.'}")
        self._check_unique()
        kept = self._leave_out(
            sizes, "its frames have {}, those of most videos {}", lambda size: counted(size, "value")
        )
        whole = np.array([dtype.kind == "f" for dtype in dtypes])
        kept &= self._leave_out(
            whole, "its values are {}, those of most videos {}", lambda f: "floats" if f else "integers"
        )
        rows = np.flatnonzero(kept)
        self.size = int(sizes[rows[0]])
        self.dtype = np.result_type(*{dtypes[row] for row in rows.tolist()})
        self._keep(kept)

    def files(self) -> list[Path]:
        """Return all files that are read, each once."""
        return list(dict.fromkeys(path for file in self._files for path in file.files()))

    def files_of(self, video: int) -> list[Path]:
        """Return the files in which a video lies."""
        return self._files[self._file_of[video]].files_of(int(self._entries[video]))

    def where(self, video: int) -> str:
        """Return the file of a video, and the entry in it."""
        return self._files[self._file_of[video]].where(int(self._entries[video]))

    def read(self, video: int) -> np.ndarray:
        """Read a video, `dtype` [n,F], or as it is stored if what a model needs is given.

        Raises:
            UnreadableFeature: the file is damaged, or another one than it was.
            OSError: the system refuses to read it.
        """
        number = int(self._file_of[video])
        file = self._files[number]
        self._make_room(number)
        try:
            with about(file.path):
                values = file.read(int(self._entries[video]))
        except UnreadableFeature:
            raise
        except FAULTS as error:
            if is_refusal(error):
                raise
            raise UnreadableFeature(self.where(video), f"it cannot be read ({_short(error)}); {ANEW}") from error
        values = np.atleast_2d(values)
        if values.shape != (self.lengths[video], self.size):
            there = f"the array is {list(values.shape)}, and was [{self.lengths[video]}, {self.size}]"
            raise UnreadableFeature(self.where(video), f"{there}: {CHANGED}")
        return values if self._own_dtypes or values.dtype == self.dtype else values.astype(self.dtype)

    def close(self) -> None:
        """Close all files; the next `read` opens its own again."""
        while self._recent:
            self._files[self._recent.popitem()[0]].close()

    def _make_room(self, number: int) -> None:
        """Close the file that was read longest ago, if too many are open."""
        self._recent[number] = None
        self._recent.move_to_end(number)
        if len(self._recent) > _OPEN:
            self._files[self._recent.popitem(last=False)[0]].close()

    def _check_unique(self) -> None:
        first: dict[str, int] = {}
        twice = [(first[id], row) for row, id in enumerate(self.ids) if first.setdefault(id, row) != row]
        if twice:
            one, other = twice[0]
            more = (
                f"; so {'is' if len(twice) == 2 else 'are'} {counted(len(twice) - 1, 'other video')}"
                if twice[1:]
                else ""
            )
            raise StageError(
                f"--features {self.name}: the id {self.ids[one]!r} is there twice, in {self.where(one)} and in "
                f"{self.where(other)}{more}. An id is one video's: rename one of them, or name fewer files"
            )

    def _that_fit(self, sizes: np.ndarray, needed: Needed) -> np.ndarray:
        """Note a fault for each video that a model cannot use; return bool [N], the others."""
        first: dict[str, int] = {}
        kept = np.ones(len(self.ids), bool)
        for row, (id, size) in enumerate(zip(self.ids, sizes.tolist())):
            if size != needed.size:
                reason = (
                    f"its frames have {counted(size, 'value')}, and the model needs {needed.told}: extract it as the "
                )
                self.faults.append((self.where(row), f"{reason}videos were that the model was trained on"))
                self.left_out.add(id)
            elif (other := first.setdefault(id, row)) != row:
                self.faults.append((self.where(row), f"it has the id of {self.where(other)} too; rename one of them"))
            else:
                continue
            kept[row] = False
        return kept

    def _keep(self, kept: np.ndarray) -> None:
        """Leave out all videos but these, bool [N]."""
        if not kept.all():
            rows = np.flatnonzero(kept)
            self.ids = [self.ids[row] for row in rows.tolist()]
            self._file_of, self._entries, self.lengths = self._file_of[rows], self._entries[rows], self.lengths[rows]

    def _leave_out(self, values: np.ndarray, reason: str, told: Any) -> np.ndarray:
        """Note a fault for the videos whose value is not that of most; return bool [N], which videos have that."""
        most = Counter(values.tolist()).most_common(1)[0][0]
        for row in np.flatnonzero(values != most).tolist():
            own = reason.format(told(values[row].item()), told(most))
            self.faults.append((self.where(row), f"{own}: extract it again, or name the files of one feature alone"))
        return values == most


def what_is_there(place: Path) -> str:
    """Return a sentence on what there is in place of a path: what the last folder that exists holds."""
    folder = next(parent for parent in place.absolute().parents if parent.is_dir())
    entries = sorted(each.name for each in folder.iterdir())
    there = f"holds {', '.join(entries[:_LISTED])}{', ...' if entries[_LISTED:] else ''}" if entries else "is empty"
    return f"{folder} {there}"


def _joined(parts: Sequence[Sequence[int]]) -> np.ndarray:
    return np.concatenate([np.asarray(part, np.int64) for part in parts] or [np.zeros(0, np.int64)])


def _short(error: Exception) -> str:
    return (str(error) or type(error).__name__)[:200]
