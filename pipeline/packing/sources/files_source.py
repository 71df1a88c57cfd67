"""A FeatureSource of files that have been looked at: ids once, one size, and few files open at a time."""

from collections import Counter, OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pipeline.artifacts.failures import about, is_refusal
from pipeline.config.errors import StageError
from pipeline.config.wording import counted, first_lines
from pipeline.packing.sources.source import ANEW, CHANGED, FAULTS, Found, UnreadableFeature

_LISTED = 5
_OPEN = 32
"""Files that a source keeps open."""


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
            shown = first_lines([f"  * {where}: {reason}" for where, reason in self.faults], 5, "  and {} more")
            told = ":\n" + "\n".join(shown) if shown else "."
            raise StageError(f"--features {name}: there is no video that can be used{told}")
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
            with about(file.name):
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
            id, file, another = self.ids[one], self._file_of[one], self._file_of[other]
            of_one = file != another and np.count_nonzero(self._file_of == file) > 1
            perhaps = f". If each file is a video, and {id} one of its features: --features {id}=PATTERN"
            raise StageError(
                f"--features {self.name}: the id {id!r} is there twice, in {self.where(one)} and in "
                f"{self.where(other)}{more}. An id is one video's: rename one of them, or name fewer files"
                f"{perhaps if of_one else ''}"
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


def _joined(parts: Sequence[Sequence[int]]) -> np.ndarray:
    return np.concatenate([np.asarray(part, np.int64) for part in parts] or [np.zeros(0, np.int64)])


def _short(error: Exception) -> str:
    return (str(error) or type(error).__name__)[:200]
