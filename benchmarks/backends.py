"""Backends: examples a second of training steps and of predictions on TensorFlow, JAX and PyTorch, in turn.

    python -m benchmarks.backends [--families average netvlad] [--preset audioset]

A step is forward, backward and update by `fit`, as `train` does it; a prediction is `predict_on_batch`, which `infer`
calls. Batches are random, of the preset's size and number of frames, and lie in memory. Each backend has a process of
its own, all of them take part in each round. One that is not installed is left out. A limit is the rate of a product of
two matrices of 2048 values a side in NumPy, in the same rounds, so that a busy machine shows.
"""

import dataclasses
import functools
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import tyro

from benchmarks.figures import Common, Figure, interleaved, show
from benchmarks.input_sides import Side
from pipeline.runtime.backend import BACKENDS, is_installed


@dataclasses.dataclass(frozen=True)
class Flags(Common):
    families: tuple[str, ...] = ("average", "netvlad")
    preset: str = "audioset"
    precision: str = "float32"
    steps: int = 20
    """Steps, or batches that are predicted, in a round."""


class Steps:
    """Trains and predicts with each family on one backend, that of the process."""

    def __init__(self, flags: Flags):
        from pipeline.runtime.backend import start_backend

        start_backend()
        import numpy as np

        from benchmarks.step import random_batch, repeated, training_model
        from pipeline.inputs.reading.sampling import sampled_length
        from pipeline.presets import load_experiment

        self._repeated = repeated
        self._square = np.random.default_rng(0).normal(size=(2048, 2048)).astype(np.float32)
        self._models, self._batches = {}, {}
        for family in flags.families:
            experiment = load_experiment(flags.preset, family)
            frames = sampled_length(experiment.sampling.train, experiment.sampling, experiment.dataset)
            self._batches[family] = random_batch(experiment.dataset, experiment.training.batch_size, frames)
            self._models[family] = training_model(experiment, flags.precision)

    def videos(self, family: str) -> int:
        return len(self._batches[family][1])

    def train(self, family: str, steps: int) -> None:
        self._models[family].fit(self._repeated(self._batches[family], steps), verbose=0)

    def predict(self, family: str, steps: int) -> None:
        for _ in range(steps):
            self._models[family].predict_on_batch(self._batches[family][0])

    def product(self) -> None:
        self._square @ self._square


def main() -> None:
    flags = tyro.cli(Flags, description=__doc__)
    there = [name for name in BACKENDS if is_installed(name)]
    with ExitStack() as stack:
        backends = {name: stack.enter_context(Side(Steps, flags, KERAS_BACKEND=name)) for name in there}
        cases = [(what, family, name) for family in flags.families for what in ("train", "predict") for name in there]
        sides: dict[str, Callable[[], Any]] = {}
        for what, family, name in cases:
            backends[name].ask(what, family, 2)  # compiles
            sides[f"{what} {family} {name}"] = functools.partial(backends[name].ask, what, family, flags.steps)
        first = backends[there[0]]
        videos = {family: first.ask("videos", family) * flags.steps for family in flags.families}
        seconds = interleaved(flags.rounds, sides | {"product": functools.partial(first.ask, "product")})
    limit = 2 * 2048**3 / seconds["product"] / 1e9
    figures = [
        Figure(f"{family}: {what}", name, videos[family] / seconds[f"{what} {family} {name}"], "/s")
        for what, family, name in cases
    ]
    figures.append(Figure("product of 2048³", "NumPy", limit, "GFLOP/s"))
    show(figures, flags.json, f"settings of {flags.preset}, {flags.precision}")


if __name__ == "__main__":
    main()
