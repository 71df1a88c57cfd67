"""Batches for training and for evaluation: which videos, which frames, which labels, and in what order."""

import functools
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import keras
import numpy as np

from pipeline.artifacts import StageError
from pipeline.config import SamplingConfig
from pipeline.inputs.reader import FrameReader
from pipeline.inputs.sampling import frame_indices, sampled_length

AHEAD = 4
"""Batches that are read before they are asked for."""
Inputs = dict[str, np.ndarray]
"""{"frames": [B,T,F], "num_frames": int32 [B]}"""


class Draws:
    """The videos of every step: an endless row of epochs, each a permutation drawn from (seed, epoch).

    Batches are full; one may hold the end of an epoch and the beginning of the next.
    """

    def __init__(self, rows: np.ndarray, batch_size: int, seed: int):
        self.rows = rows
        self.batch_size = batch_size
        self.seed = seed
        self._permutation = functools.lru_cache(maxsize=2)(self._draw)

    def _draw(self, epoch: int) -> np.ndarray:
        return np.random.default_rng((self.seed, epoch)).permutation(self.rows)

    def step(self, step: int) -> np.ndarray:
        """Rows of the batch of one global step, int64 [B]."""
        positions = np.arange(step * self.batch_size, (step + 1) * self.batch_size)
        epochs, places = np.divmod(positions, len(self.rows))
        return np.concatenate([self._permutation(int(epoch))[places[epochs == epoch]] for epoch in np.unique(epochs)])


class TrainBatches(keras.utils.PyDataset):
    """The batches of a range of global steps; each is a pure function of (seed, step)."""

    def __init__(
        self,
        reader: FrameReader,
        draws: Draws,
        steps: range,
        sampling: SamplingConfig,
        mixup: float = 0.0,
    ):
        super().__init__()
        self.reader = reader
        self.draws = draws
        self.steps = steps
        self.sampling = sampling
        self.mixup = mixup
        # Keras's own workers lose the first batch of every `fit` on JAX, and TensorFlow prefetches one at most.
        self._pool = ThreadPoolExecutor(2)
        self._ahead: dict[int, Future] = {}
        self.failure: StageError | None = None
        """Why a batch could not be read; TensorFlow would wrap it in an error of its own."""

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, number: int) -> tuple[Inputs, np.ndarray]:
        """({"frames": [B,T,F], "num_frames": int32 [B]}, labels float32 [B,V]); the next ones are read meanwhile."""
        for later in range(number, min(number + 1 + AHEAD, len(self))):
            if later not in self._ahead:
                self._ahead[later] = self._pool.submit(self._read, self.steps[later])
        try:
            return self._ahead.pop(number).result()
        except StageError as error:
            self.failure = error
            raise

    def _read(self, step: int) -> tuple[Inputs, np.ndarray]:
        # 1 sets these draws apart from those of the epochs' permutations.
        rng = np.random.default_rng((self.draws.seed, step, 1))
        rows = self.draws.step(step)
        dataset = self.reader.index.dataset
        method = self.sampling.train
        length = sampled_length(method, self.sampling, dataset)
        frames, num_frames = self.reader.read(
            rows, length, lambda _, available: frame_indices(method, available, length, rng)
        )
        labels = multi_hot(*self.reader.index.labels_of(rows), dataset.num_classes)
        if self.mixup:
            frames, labels = mix(frames, num_frames, labels, self.mixup, rng)
        return {"frames": frames, "num_frames": num_frames}, labels


def evaluation_batches(
    reader: FrameReader, rows: np.ndarray, sampling: SamplingConfig, batch_size: int
) -> Iterator[tuple[int, Inputs]]:
    """The videos at `rows` in their order: (how many of the batch count, inputs).

    Every batch has `batch_size` videos, so that a model is compiled once; the last is filled up with its first video.
    """
    length = sampled_length(sampling.evaluation, sampling, reader.index.dataset)
    for start in range(0, len(rows), batch_size):
        chosen = rows[start : start + batch_size]
        frames, num_frames = reader.read(
            chosen, length, lambda _, available: frame_indices(sampling.evaluation, available, length)
        )
        fill = batch_size - len(chosen)
        if fill:
            frames = np.concatenate([frames, np.repeat(frames[:1], fill, axis=0)])
            num_frames = np.concatenate([num_frames, np.repeat(num_frames[:1], fill)])
        yield len(chosen), {"frames": frames, "num_frames": num_frames}


def multi_hot(values: np.ndarray, offsets: np.ndarray, num_classes: int) -> np.ndarray:
    """Label sets, values [M] with row i at offsets[i]:offsets[i+1], as float32 [B,V] of 0 and 1."""
    hot = np.zeros((len(offsets) - 1, num_classes), np.float32)
    hot[np.repeat(np.arange(len(offsets) - 1), np.diff(offsets)), values] = 1
    return hot


def mix(
    frames: np.ndarray, num_frames: np.ndarray, labels: np.ndarray, alpha: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Mixup (Zhang et al. 2018): each video with another one of the batch, in shares drawn from Beta(alpha, alpha).

    The partner is stretched or thinned to the video's own number of frames, so that every frame is a mixture. Bytes
    stay bytes: rounding to the nearest moves a value by at most half a quantization step.

    Returns:
        frames [B,T,F] in their own dtype, labels float32 [B,V].
    """
    batch, length = frames.shape[:2]
    partner = rng.permutation(batch)  # B
    share = rng.beta(alpha, alpha, batch).astype(np.float32)
    share = np.maximum(share, 1 - share)  # the video whose number of frames is kept counts for more
    places = np.arange(length) * num_frames[partner][:, None] // np.maximum(num_frames, 1)[:, None]  # B,T
    other = frames[partner[:, None], np.minimum(places, length - 1)]  # B,T,F
    if frames.dtype == np.uint8:
        weight = np.rint(share * 256).astype(np.uint16)[:, None, None]
        share = np.rint(share * 256) / np.float32(256)
        mixed = ((frames * weight + other * (256 - weight) + 128) >> 8).astype(np.uint8)
    else:
        mixed = frames * share[:, None, None] + other * (1 - share[:, None, None])
    mixed[np.arange(length) >= num_frames[:, None]] = 0
    return mixed, labels * share[:, None] + labels[partner] * (1 - share[:, None])
