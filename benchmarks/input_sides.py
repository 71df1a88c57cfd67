"""The sides of the benchmark of input, each in a process of its own: ours, two forms of tf.data, and the limits."""

import itertools
import multiprocessing
import os
import resource
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config import DatasetConfig, FeatureConfig, SamplingConfig
from pipeline.runtime.parallel import default_workers

YOUTUBE8M = DatasetConfig(
    "youtube8m", (FeatureConfig("rgb", 1024), FeatureConfig("audio", 128)), 3862, holdout_percent=0
)
HALVES = DatasetConfig("halves", (FeatureConfig("clip", 512, "float16"),), 3862, holdout_percent=0)
FRAMES = 256
"""Of each video, in a batch."""
SHARD = 256
"""Videos in a file."""


class Side:
    """What is measured, in a process of its own."""

    def __init__(self, kind: Callable, *arguments: Any, **environment: str):
        self._pool = multiprocessing.get_context("spawn").Pool(1, _start, (environment, kind, arguments))

    def ask(self, method: str, *arguments: Any) -> Any:
        return self._pool.apply(_call, (method, arguments))

    def __enter__(self) -> "Side":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.terminate()


def _start(environment: dict[str, str], kind: Callable, arguments: tuple) -> None:
    global _side
    os.environ.update({"TF_CPP_MIN_LOG_LEVEL": "3"} | environment)
    _side = kind(*arguments)


def _call(method: str, arguments: tuple) -> Any:
    if method == "peak":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return getattr(_side, method)(*arguments)


class Ours:
    """Batches as `train` has them; read directly, as where there are more videos than memory, or from the cache."""

    def __init__(self, folder: Path, batch: int, direct: bool = False):
        from pipeline.inputs.index import Index
        from pipeline.inputs.reading.reader import FrameReader
        from pipeline.training.batches import EpochSampler, TrainBatches

        self._imports = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        self.index = Index.open(folder / "index")
        self.reader = FrameReader(self.index, direct)
        self.batch = batch
        sampling = SamplingConfig(train="uniform", frames=FRAMES)
        self.batches = lambda seed, steps: TrainBatches(
            self.reader, EpochSampler(self.index.rows("train"), batch, seed), steps, sampling
        )
        self._endless, self._steps = self.batches(0, range(1 << 40)), itertools.count()

    def take(self, videos: int) -> None:
        for _ in range(videos // self.batch):
            self._endless[next(self._steps)]

    def epoch(self, seed: int) -> None:
        batches = self.batches(seed, range(len(self.index.length) // self.batch))
        for step in range(len(batches)):
            batches[step]

    def first(self) -> float:
        began = time.perf_counter()
        self.reader.read(np.arange(1), np.zeros((1, 1), np.int32), np.ones(1, np.int32))
        return time.perf_counter() - began

    def imports(self) -> float:
        return self._imports

    def sums(self) -> tuple[int, int]:
        batches = self.batches(1, range(len(self.index.length) // self.batch))
        return _sums(((inputs["frames"], labels) for inputs, labels in map(batches.__getitem__, range(len(batches)))))


def _sums(batches) -> tuple[int, int]:
    """Of an epoch: its frames' bytes and its labels."""
    found = [(int(frames.sum(dtype=np.uint64)), int(labels.sum())) for frames, labels in batches]
    return sum(frames for frames, _ in found), sum(labels for _, labels in found)


class TensorFlow:
    """Frames decoded, joined, and chosen, record by record.

    Measured too, and no faster: to choose strings before they are decoded; to choose in each feature before joining; to
    join strings; to parse whole batches; and two parallel calls in place of as many as tf.data thinks best.
    """

    def __init__(self, folder: Path, batch: int):
        self.folder, self.batch = folder, batch
        self._batches = iter(self.dataset().repeat().batch(batch, drop_remainder=True).prefetch(2))

    def dataset(self):
        import tensorflow as tf

        files = tf.data.Dataset.list_files(str(self.folder / "train" / "*.tfrecord"), shuffle=True)
        parallel = {"num_parallel_calls": tf.data.AUTOTUNE, "deterministic": False}
        return files.interleave(tf.data.TFRecordDataset, cycle_length=8, **parallel).map(self.parse, **parallel)

    def parse(self, record):
        """The frames and labels of a record."""
        import tensorflow as tf

        context = {"labels": tf.io.VarLenFeature(tf.int64)}
        lists = {feature.key: tf.io.FixedLenSequenceFeature([], tf.string) for feature in YOUTUBE8M.features}
        found, rows = tf.io.parse_single_sequence_example(record, context, lists)
        numbers = found["labels"].values[:, None]
        labels = tf.tensor_scatter_nd_update(
            tf.zeros(YOUTUBE8M.num_classes), numbers, tf.ones_like(numbers[:, 0], tf.float32)
        )
        return self.frames([tf.io.decode_raw(rows[feature.key], tf.uint8) for feature in YOUTUBE8M.features]), labels

    def frames(self, features):
        import tensorflow as tf

        joined = tf.concat(features, axis=1)
        chosen = tf.gather(joined, tf.range(FRAMES) * tf.shape(joined)[0] // FRAMES)
        return tf.ensure_shape(chosen, [FRAMES, YOUTUBE8M.width])

    def take(self, videos: int) -> None:
        for _ in range(videos // self.batch):
            next(self._batches)

    def sums(self) -> tuple[int, int]:
        return _sums(self.dataset().batch(self.batch).as_numpy_iterator())


class Starter(TensorFlow):
    """Dequantized on the host, every video as long as the longest."""

    def frames(self, features):
        import tensorflow as tf

        padded = []
        for rows, feature in zip(features, YOUTUBE8M.features):
            values = tf.reshape(tf.cast(rows, tf.float32), [-1, feature.size])[:300] * (4 / 255) + (4 / 512 - 2)
            padded.append(tf.pad(values, [[0, 300 - tf.shape(values)[0]], [0, 0]]))
        return tf.ensure_shape(tf.concat(padded, axis=1), [300, YOUTUBE8M.width])


class Reading:
    """The files' bytes, a file a thread, in pieces of 1 MiB."""

    def __init__(self, folder: Path, batch: int):
        self._files = sorted((folder / "train").iterdir())
        self._pool = ThreadPoolExecutor(default_workers())

    def take(self, videos: int) -> None:
        list(self._pool.map(self._read, self._files * (videos // (SHARD * len(self._files)) or 1)))

    def _read(self, path: Path) -> None:
        buffer, position = bytearray(1 << 20), 0
        descriptor = os.open(path, os.O_RDONLY)
        while got := os.preadv(descriptor, [buffer], position):
            position += got
        os.close(descriptor)

    def forget(self) -> None:
        for path in self._files:
            descriptor = os.open(path, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


class Copying:
    """Batches, copied in the memory, a part by each thread."""

    def __init__(self, folder: Path, batch: int):
        self._batch, self._threads = batch, default_workers()
        self._source, self._target = (np.ones((batch, FRAMES, YOUTUBE8M.width), np.uint8) for _ in range(2))
        self._pool = ThreadPoolExecutor(self._threads)

    def take(self, videos: int) -> None:
        sources, targets = (np.array_split(array, self._threads) for array in (self._source, self._target))
        for _ in range(videos // self._batch):
            list(self._pool.map(np.copyto, targets, sources))
