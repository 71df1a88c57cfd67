"""Mix a teacher's predictions of the training videos into their labels; they lie on disk, and are read by the batch."""

import contextlib
import shutil
from pathlib import Path

import numpy as np

from pipeline.artifacts.done import Done
from pipeline.artifacts.files import atomic_folder
from pipeline.artifacts.predictions import PredictionStore
from pipeline.config.errors import StageError
from pipeline.inputs.index import TRAIN, Index
from pipeline.metrics import label_dtype
from pipeline.runtime.progress import progress_bar

_FILES = ("labels.npy", "scores.npy")


class SoftLabels:
    """The labels that a teacher found best for each training video, and their probabilities (Hinton et al. 2015).

    Args:
        store: the teacher's predictions of an index's N training videos, K labels each.
        folder: where `open` unpacks them, as arrays [N,K] that are mapped into memory: they take 6NK bytes on disk
            (8NK where labels are int32), and in memory what the system has room for.
        index: the index with the training videos.
        share: the teacher's share of the targets, from 0 to 1.
    """

    def __init__(self, store: PredictionStore, folder: Path, index: Index, share: float):
        self.store = store
        self.folder = folder
        self.index = index
        self.share = np.float32(share)
        self._rows = index.rows(TRAIN)

    def open(self) -> None:
        """Unpack the predictions, unless they are unpacked already.

        Raises:
            StageError: they are unfinished, are of other videos or classes, or are not probabilities.
        """
        inputs = {"predictions": Done.read(self.store.folder).output, "index": self.index.digest}
        done = Done.read(self.folder)
        if done is None or done.changes({}, inputs):
            with atomic_folder(self.folder) as temporary:
                self._unpack(temporary)
                Done({}, inputs, "").write(temporary)
        self._labels, self._scores = (np.load(self.folder / name, mmap_mode="r") for name in _FILES)

    def remove(self) -> None:
        """Delete what `open` unpacked."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def mixed_into(self, labels: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """labels float32 [B,V] of the training videos at `rows` -> (1 - share) labels + share soft labels, [B,V].

        A label that the teacher's predictions do not list counts as 0 in them.
        """
        places = np.searchsorted(self._rows, rows)  # B
        targets = labels * (1 - self.share)
        targets[np.arange(len(rows))[:, None], self._labels[places]] += self.share * self._scores[places]
        return targets

    def _unpack(self, folder: Path) -> None:
        source, videos, classes = self.store.folder, len(self._rows), self.index.dataset.num_classes
        position, kinds = 0, (label_dtype(classes), np.float32)
        # Written as files: on a full disk the system kills a process that writes through a mapping, without a word.
        with contextlib.ExitStack() as stack:
            files = [(stack.enter_context((folder / name).open("wb")), kind) for name, kind in zip(_FILES, kinds)]
            for part in progress_bar(self.store.read(), "soft labels", total=len(self.store.parts()), unit=" parts"):
                stop = position + len(part.ids)
                if part.ids != self.index.ids_of(self._rows[position:stop]):
                    break
                if part.labels.min() < 0 or part.labels.max() >= classes:
                    raise StageError(f"{source} has labels outside 0..{classes - 1}: choose another --training.teacher")
                if not (part.scores.min() >= 0 and part.scores.max() <= 1):
                    raise StageError(f"{source} has scores that are not in 0..1: choose another --training.teacher")
                for (file, kind), values in zip(files, (part.labels, part.scores)):
                    if not position:
                        shape = (videos, values.shape[1])
                        header = {"descr": np.dtype(kind).str, "fortran_order": False, "shape": shape}
                        np.lib.format.write_array_header_1_0(file, header)
                    file.write(values.astype(kind, copy=False).tobytes())
                position = stop
        if position != videos:
            raise StageError(
                f"{source} is not of the training videos of {self.index.folder}, from number {position} on: run infer "
                f"--split {TRAIN} again for the teacher; if it is an ensemble, for each member, and then run ensemble"
            )
