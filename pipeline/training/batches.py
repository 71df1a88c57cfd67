"""Make the batches to train on: choose the order of the videos, and read their frames and labels."""

import functools
from concurrent.futures import Future, ThreadPoolExecutor

import keras
import numpy as np

from pipeline.config import SamplingConfig
from pipeline.config.errors import StageError
from pipeline.inputs.reading.batches import Inputs, window_of
from pipeline.inputs.reading.reader import FrameReader
from pipeline.inputs.reading.sampling import choose_frames, sampled_length
from pipeline.runtime.hosts import ALONE, Hosts
from pipeline.training.mixup import draw_pairs, mix_batch
from pipeline.training.soft_labels import SoftLabels

AHEAD = 1
"""How many batches are read before they are asked for."""


class EpochSampler:
    """The videos of every step: an endless sequence of epochs, each a permutation drawn from (seed, epoch).

    All batches are full; a batch may hold the end of one epoch and the beginning of the next.
    """

    def __init__(self, rows: np.ndarray, batch_size: int, seed: int):
        self.rows = rows
        self.batch_size = batch_size
        self.seed = seed
        self._permutation = functools.lru_cache(maxsize=2)(self._draw)

    def _draw(self, epoch: int) -> np.ndarray:
        return np.random.default_rng((self.seed, epoch)).permutation(self.rows)

    def step(self, step: int) -> np.ndarray:
        """Return the rows of the batch of a global step, int64 [B]."""
        positions = np.arange(step * self.batch_size, (step + 1) * self.batch_size)
        epochs, places = np.divmod(positions, len(self.rows))
        return np.concatenate([self._permutation(int(epoch))[places[epochs == epoch]] for epoch in np.unique(epochs)])


class TrainBatches(keras.utils.PyDataset):
    """The batches of a range of global steps; each is a pure function of (seed, step).

    Of several hosts each reads an equal part of every batch, b of B videos, and what is mixed into it.
    """

    def __init__(
        self,
        reader: FrameReader,
        sampler: EpochSampler,
        steps: range,
        sampling: SamplingConfig,
        mixup: float = 0.0,
        teacher: SoftLabels | None = None,
        hosts: Hosts = ALONE,
    ):
        super().__init__()
        self.reader = reader
        self.sampler = sampler
        self.steps = steps
        self.sampling = sampling
        self.mixup = mixup
        self.teacher = teacher
        size = sampler.batch_size // hosts.count
        self._own = np.arange(hosts.own * size, (hosts.own + 1) * size)  # b
        # This pool replaces Keras's own workers, which lose the first batch of every `fit` on JAX, and TensorFlow's
        # prefetching, which reads one batch at most.
        # If no computation comes in between, two are read at once: one is copied while the other's labels are made.
        self._pool = ThreadPoolExecutor(1 + AHEAD)
        self._ahead: dict[int, Future] = {}
        self.failure: StageError | None = None
        """Why a batch could not be read; kept here because TensorFlow wraps the error in one of its own."""

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, number: int) -> tuple[Inputs, np.ndarray]:
        """Return ({"frames": [b,T,F], "num_frames": int32 [b]}, labels float32 [b,V]); the next are read meanwhile."""
        for later in range(number, min(number + 1 + AHEAD, len(self))):
            if later not in self._ahead:
                self._ahead[later] = self._pool.submit(self._read, self.steps[later])
        try:
            return self._ahead.pop(number).result()
        except StageError as error:
            self.failure = error
            raise

    def _read(self, step: int) -> tuple[Inputs, np.ndarray]:
        # The 1 makes these draws differ from those of the epochs' permutations.
        rng = np.random.default_rng((self.sampler.seed, step, 1))
        rows = self.sampler.step(step)
        window = window_of(len(rows))
        first = step == self.steps.start  # the reader has not been told of this window yet
        if first or step % window == 0:
            coming = range(0 if first else window, 2 * window)
            self.reader.expect(np.concatenate([self.sampler.step(step + later)[self._own] for later in coming]))
        dataset = self.reader.index.dataset
        method = self.sampling.train
        length = sampled_length(method, self.sampling, dataset)
        # Drawn for the whole batch, whichever part of it is read here.
        chosen, num_frames = choose_frames(method, self.reader.index.num_frames[rows], length, rng)
        needed = self._own  # places in the batch; those of others, which are mixed into this host's, come last
        if self.mixup:
            partner, share = (each[self._own] for each in draw_pairs(len(rows), self.mixup, rng))
            needed = np.concatenate([needed, np.setdiff1d(partner, needed)])
        rows, chosen, num_frames = rows[needed], chosen[needed], num_frames[needed]
        frames = self.reader.read(rows, chosen, num_frames)
        labels = multi_hot(*self.reader.index.labels_of(rows), dataset.num_classes)
        if self.teacher:
            labels = self.teacher.mixed_into(labels, rows)
        if self.mixup:
            place = np.zeros(self.sampler.batch_size, np.int64)
            place[needed] = np.arange(len(needed))
            frames, labels = mix_batch(frames, num_frames, labels, place[partner], share)
        return {"frames": frames, "num_frames": num_frames[: len(self._own)]}, labels


def multi_hot(values: np.ndarray, offsets: np.ndarray, num_classes: int) -> np.ndarray:
    """Return label sets as float32 [B,V] of 0 and 1; row i has the labels values[offsets[i]:offsets[i+1]]."""
    hot = np.zeros((len(offsets) - 1, num_classes), np.float32)
    hot[np.repeat(np.arange(len(offsets) - 1), np.diff(offsets)), values] = 1
    return hot
