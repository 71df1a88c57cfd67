"""A training step at the paper's sizes: examples a second, share of the matrix-product peak, memory, for each family.

    python -m benchmarks.step [--families nextvlad dbof] [--precisions float32 mixed_bfloat16]

Rgb and audio, 3862 classes, 256 frames, the settings of the preset youtube8m: forward, backward and the update of every
weight, as `train` does them through `fit`. FLOPs are those of the matrix products in the step's graph; the limit is a
product of two 2048 x 2048 matrices through the same backend, in the same precision, measured between the steps. The
peer is `fit` of the same model with Keras's own dense layers, batch norms and Adam, for the families that `--generic`
names. Each family is measured in a process of its own; the time of the first step, which traces and compiles, is given
apart.
"""

import contextlib
import dataclasses
import multiprocessing
import os
import resource
import time
from collections.abc import Iterator
from typing import Any
from unittest import mock

import tyro

from benchmarks.figures import Common, Figure, interleaved, show
from benchmarks.products import products
from pipeline.config import POOLING, DatasetConfig, Experiment
from pipeline.presets import load_experiment


@dataclasses.dataclass(frozen=True)
class Flags(Common):
    families: tuple[str, ...] = tuple(POOLING)
    precisions: tuple[str, ...] = ("float32", "mixed_bfloat16")
    generic: tuple[str, ...] = ("netvlad",)
    """Families whose step is compared with Keras's own `fit` and Adam."""
    batch: int = 32
    """Videos B."""
    frames: int = 256
    """Frames T of every video."""
    steps: int = 2
    """Steps in a round."""


def main() -> None:
    flags = tyro.cli(Flags, description=__doc__)
    figures = []
    for family in flags.families:
        experiment = _experiment(family, flags)
        flops = flags.batch * training_flops(experiment)
        for precision in flags.precisions:
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                figures += pool.apply(_measure, (experiment, flops, precision, flags))
    about = f"training step, B={flags.batch} T={flags.frames}"
    show(figures, flags.json, about)


def _experiment(family: str, flags: Flags) -> Experiment:
    experiment = load_experiment("youtube8m", family)
    sampling = dataclasses.replace(experiment.sampling, train="uniform", evaluation="uniform", frames=flags.frames)
    return dataclasses.replace(experiment, sampling=sampling)


def training_flops(experiment: Experiment) -> int:
    """Of a video, counted in TensorFlow's graph in a process of its own, for any backend; and in float32, as a
    conversion is not a product."""
    with multiprocessing.get_context("spawn").Pool(1, _on_tensorflow) as pool:
        return pool.apply(_count, (experiment,))


def _on_tensorflow() -> None:
    os.environ |= {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}


def _count(experiment: Experiment) -> int:
    from pipeline import cost

    return cost.of_experiment(experiment).training_flops


def _measure(experiment: Experiment, flops: int, precision: str, flags: Flags) -> list[Figure]:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras

    family = experiment.model.family
    limit = products(precision)
    batch = random_batch(experiment.dataset, flags.batch, flags.frames)
    batches = repeated(batch, flags.steps)
    ours = training_model(experiment, precision)
    began = time.perf_counter()
    ours.fit(repeated(batch, 1), verbose=0)  # traces, as `train` does
    first = time.perf_counter() - began
    ours.fit(batches, verbose=0)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    sides: dict[str, Any] = {"ours": lambda: ours.fit(batches, verbose=0), "limit": limit.run}
    if family in flags.generic:
        with _generic_layers():
            peer = training_model(experiment, precision, generic=True)
            peer.fit(batches, verbose=0)  # traces
        sides["generic fit"] = lambda: peer.fit(batches, verbose=0)
    seconds = interleaved(flags.rounds, sides)
    peak = limit.flops / seconds["limit"]
    case = f"{family}, {precision.removeprefix('mixed_')}, {keras.backend.backend()}"
    figures = []
    for who in sides.keys() - {"limit"}:
        step = seconds[who] / flags.steps
        figures.append(Figure(f"{case}: examples", who, flags.batch / step, "/s"))
        figures.append(Figure(f"{case}: rate", who, flops / step / 1e9, "GFLOP/s"))
        figures.append(Figure(f"{case}: of the limit", who, flops / step / peak, "share"))
    figures.append(Figure(f"{case}: rate", "limit", peak / 1e9, "GFLOP/s"))
    figures.append(Figure(f"{case}: first step", "ours", first, "s"))
    figures.append(Figure(f"{case}: peak memory", "ours", memory / 1e9, "GB"))
    order = {"ours": 0, "generic fit": 1, "limit": 2}
    return sorted(figures, key=lambda figure: order[figure.who])


@contextlib.contextmanager
def _generic_layers() -> Iterator[None]:
    """What is traced within calls Keras's layers where ours are the same in less time."""
    import keras

    from pipeline.models.layers.dense import DescriptorDense, FrameDense
    from pipeline.models.layers.frame_norm import FrameNorm

    with (
        mock.patch.object(FrameNorm, "call", keras.layers.BatchNormalization.call),
        mock.patch.object(DescriptorDense, "call", keras.layers.Dense.call),
        mock.patch.object(FrameDense, "call", keras.layers.Dense.call),
    ):
        yield


def training_model(experiment: Experiment, precision: str, generic: bool = False) -> Any:
    """Compiled as `train` does it, or as anyone would."""
    import keras

    from pipeline.models import build_model
    from pipeline.training.compiled import compile_model
    from pipeline.training.loss import SummedBinaryCrossentropy

    model = build_model(experiment.model, experiment.dataset, precision)
    if generic:
        model.compile(keras.optimizers.Adam(3e-4, global_clipnorm=1.0), SummedBinaryCrossentropy(), jit_compile=False)
        return model
    return compile_model(model, experiment.dataset, experiment.sampling, experiment.training, 1000)


def random_batch(dataset: DatasetConfig, batch: int, frames: int) -> Any:
    """({"frames": uint8 [B,T,F], "num_frames": int32 [B]}, labels float32 [B,V])"""
    import numpy as np

    rng = np.random.default_rng(0)
    inputs = {
        "frames": rng.integers(0, 256, (batch, frames, dataset.width), np.uint8),
        "num_frames": np.full(batch, frames, np.int32),
    }
    return inputs, (rng.random((batch, dataset.num_classes)) < 0.001).astype(np.float32)


def repeated(batch: Any, steps: int) -> Any:
    """The same batch for as many steps, as `fit` takes them."""
    import keras

    class Batches(keras.utils.PyDataset):
        def __len__(self) -> int:
            return steps

        def __getitem__(self, number: int) -> Any:
            return batch

    return Batches()


if __name__ == "__main__":
    main()
