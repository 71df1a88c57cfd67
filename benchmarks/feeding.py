"""Feeding: what `fit` adds to a step, from a ready batch to the device, beside a copy of the batch in memory.

    python -m benchmarks.feeding [--backends tensorflow jax] [--batches 32 128]

A model that looks at eight values of a video is trained on `uint8 [B,256,1152]` and labels `float32 [B,3862]`: by
`fit`, as `train` does it, on one batch again and again and on batches that are read meanwhile; and by a bare loop that
calls the same step, compiled, with arrays that lie on the device. What a longer `fit` takes more than a short one is
its steps' time, the rest is each call's. The limits are a copy of the batch in the memory, by as many threads as there
are processors, and our reading of a batch from shards in the page cache. Each backend and batch size has a process of
its own.
"""

import dataclasses
import functools
import itertools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tyro

from benchmarks.figures import Common, Figure, interleaved, show
from benchmarks.input import write_shards
from benchmarks.input_sides import FRAMES, SHARD, YOUTUBE8M, Copying, Ours, Side
from benchmarks.step import repeated

SHORT = 8
"""Steps of the shorter `fit`."""


@dataclasses.dataclass(frozen=True)
class Flags(Common):
    backends: tuple[str, ...] = ("tensorflow", "jax")
    batches: tuple[int, ...] = (32, 128)
    """Videos B in a batch."""
    steps: int = 64
    """By so many the longer `fit` is longer."""


def main() -> None:
    flags = tyro.cli(Flags, description=__doc__)
    figures = []
    with tempfile.TemporaryDirectory() as name:
        write_shards(Path(name), 4 * SHARD)
        for backend in flags.backends:
            for batch in flags.batches:
                figures += _measure(Path(name), batch, backend, flags)
    show(figures, flags.json, "feeding")


def _measure(folder: Path, batch: int, backend: str, flags: Flags) -> list[Figure]:
    with Side(Keras, folder, batch, KERAS_BACKEND=backend) as side, Side(Copying, folder, batch) as copying:
        videos = flags.steps * batch
        sides: dict[str, Callable[[], Any]] = {
            "short": functools.partial(side.ask, "fit", SHORT),
            "long": functools.partial(side.ask, "fit", SHORT + flags.steps),
            "bare": functools.partial(side.ask, "bare", flags.steps),
            "copy": functools.partial(copying.ask, "take", videos),
            "reading": functools.partial(side.ask, "take", videos),
            "both": functools.partial(side.ask, "fit_on_read", flags.steps),
        }
        for run in sides.values():  # traces, and fills the page cache
            run()
        seconds = interleaved(flags.rounds, sides)
    each = {who: taken / flags.steps for who, taken in seconds.items()}
    each["step"] = each["long"] - each["short"]
    call = seconds["short"] - SHORT * each["step"]
    added = each["step"] - each["bare"]
    case = f"{backend}, batches of {batch}"
    return [
        Figure(f"{case}: a step", "fit", 1000 * each["step"], "ms"),
        Figure(f"{case}: a step", "bare loop", 1000 * each["bare"], "ms"),
        Figure(f"{case}: added to each step", "fit", 1000 * added, "ms"),
        Figure(f"{case}: added to each step", "a copy", 1000 * each["copy"], "ms"),
        Figure(f"{case}: added to each step", "our reading", 1000 * each["reading"], "ms"),
        Figure(f"{case}: added, to a copy", "fit", added / each["copy"], "of it"),
        Figure(f"{case}: added, to our reading", "fit", added / each["reading"], "of it"),
        Figure(f"{case}: each call", "fit", 1000 * call, "ms"),
        Figure(f"{case}: a step on batches being read", "fit", 1000 * (seconds["both"] - call) / flags.steps, "ms"),
    ]


class Keras(Ours):
    """A model that costs next to nothing: what is left of a step is what brings the batch there."""

    def __init__(self, folder: Path, batch: int):
        import keras

        from pipeline.training.penalized import PenalizedModel

        super().__init__(folder, batch)
        jax = keras.backend.backend() == "jax"
        frames = keras.Input((FRAMES, YOUTUBE8M.width), dtype="uint8", name="frames")
        num_frames = keras.Input((), dtype="int32", name="num_frames")
        values = keras.ops.cast(frames[:, 0, :8], "float32")
        probabilities = keras.layers.Dense(YOUTUBE8M.num_classes, activation="sigmoid")(values)
        self.model = PenalizedModel(keras.Model({"frames": frames, "num_frames": num_frames}, probabilities))
        self.model.compile("sgd", "mse", jit_compile="auto" if jax else False)
        self._one, self._seeds = self.batches(0, range(1))[0], itertools.count(2)
        self._step = (_on_jax if jax else _on_tensorflow)(self.model, self._one)

    def fit(self, steps: int) -> None:
        self.model.fit(repeated(self._one, steps), shuffle=False, verbose=0)

    def fit_on_read(self, steps: int) -> None:
        self.model.fit(self.batches(next(self._seeds), range(steps)), shuffle=False, verbose=0)

    def bare(self, steps: int) -> None:
        for _ in range(steps):
            loss = self._step()
        float(loss)


def _on_tensorflow(model: Any, batch: Any) -> Callable[[], Any]:
    import tensorflow as tf

    batch = tf.nest.map_structure(tf.constant, batch)
    step = tf.function(model.train_step)
    return lambda: step(batch)["loss"]


def _on_jax(model: Any, batch: Any) -> Callable[[], Any]:
    import jax

    model.train_on_batch(*batch)  # makes the optimizer's weights and the metrics'
    parts = model.trainable_variables, model.non_trainable_variables, model.optimizer.variables, model.metrics_variables
    state = tuple([jax.numpy.copy(variable.value) for variable in part] for part in parts)  # a step gives its own away
    batch = jax.device_put((*batch, None))
    compiled = jax.jit(model.train_step, donate_argnums=0)

    def step() -> Any:
        nonlocal state
        logs, state = compiled(state, batch)
        return logs["loss"]

    return step


if __name__ == "__main__":
    main()
