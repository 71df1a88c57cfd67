"""What a training step's time goes into, operation by operation.

    python -m benchmarks.operations [--families dbof netvlad] [--precisions float32] [--preset audioset]

A step by `fit`, as `train` makes it; what its matrix products would take at the peak, the rate of a product of two
2048 x 2048 matrices in the same precision, measured between the steps; and its operations by kind, as TensorFlow's
profiler sees them. For the profile one operation runs after the other, on all processors, so that their times add up;
what is compiled, the update and the fused loops, is one kind. The products' row is what they take at their own sizes.
Each family is measured in a process of its own.
"""

import collections
import dataclasses
import multiprocessing
import os
import tempfile
from pathlib import Path
from typing import Any

import tyro

from benchmarks.figures import Common, Figure, interleaved, show
from benchmarks.products import products
from benchmarks.step import random_batch, repeated, training_model
from pipeline.config import Experiment

_COMPILED = "CpuExecutable::ExecuteAsyncOnStream"


@dataclasses.dataclass(frozen=True)
class Flags(Common):
    families: tuple[str, ...] = ("netvlad", "dbof", "nextvlad", "attention_netvlad")
    precisions: tuple[str, ...] = ("float32", "mixed_bfloat16")
    preset: str = "youtube8m"
    batch: int | None = None
    """Videos B; by default 32, the preset's for others than youtube8m."""
    frames: int | None = None
    """Frames T; by default 256, the preset's for others than youtube8m."""
    steps: int = 2
    """Steps in a round."""
    kinds: int = 8
    """Kinds of operations to list; the rest is summed up."""


def main() -> None:
    flags = tyro.cli(Flags, description=__doc__)
    figures = []
    for family in flags.families:
        for precision in flags.precisions:
            experiment, batch = _experiment(family, flags)
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                figures += pool.apply(_measure, (experiment, batch, precision, flags))
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                figures += pool.apply(_profile, (experiment, batch, precision, flags))
    show(figures, flags.json, f"operations of a step, settings of {flags.preset}")


def _experiment(family: str, flags: Flags) -> tuple[Experiment, int]:
    from pipeline.presets import load_experiment

    experiment = load_experiment(flags.preset, family)
    published = flags.preset == "youtube8m"
    if frames := flags.frames or (256 if published else None):
        sampling = dataclasses.replace(experiment.sampling, train="uniform", evaluation="uniform", frames=frames)
        experiment = dataclasses.replace(experiment, sampling=sampling)
    return experiment, flags.batch or (32 if published else experiment.training.batch_size)


def _ready(experiment: Experiment, batch: int, precision: str) -> tuple[Any, Any]:
    """The model as `train` has it, and a batch."""
    from pipeline.inputs.reading.sampling import sampled_length

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sampling, dataset = experiment.sampling, experiment.dataset
    frames = sampled_length(sampling.train, sampling, dataset)
    return training_model(experiment, precision), random_batch(dataset, batch, frames)


def _case(experiment: Experiment, batch: int, precision: str) -> str:
    return f"{experiment.model.family}, B={batch}, {precision.removeprefix('mixed_')}"


def _measure(experiment: Experiment, batch: int, precision: str, flags: Flags) -> list[Figure]:
    """Milliseconds of a step, and of its products at the peak."""
    from pipeline import cost

    model, ready = _ready(experiment, batch, precision)
    batches, limit = repeated(ready, flags.steps), products(precision)
    model.fit(batches, verbose=0)
    sides = {"step": lambda: model.fit(batches, verbose=0), "peak": limit.run}
    seconds = interleaved(flags.rounds, sides)
    step = seconds["step"] / flags.steps
    peak = batch * cost.of_experiment(experiment).training_flops / (limit.flops / seconds["peak"])
    case = _case(experiment, batch, precision)
    return [
        Figure(f"{case}: a step", "time", 1000 * step, "ms"),
        Figure(f"{case}: its products at the peak", "time", 1000 * peak, "ms"),
        Figure(f"{case}: its products at the peak, of the step", "share", peak / step, "share"),
    ]


def _profile(experiment: Experiment, batch: int, precision: str, flags: Flags) -> list[Figure]:
    """Milliseconds of the operations of a step by kind, one operation at a time."""
    import tensorflow as tf

    tf.config.threading.set_inter_op_parallelism_threads(1)
    model, ready = _ready(experiment, batch, precision)
    steps = flags.rounds * flags.steps
    model.fit(repeated(ready, 2), verbose=0)
    batches = repeated(ready, steps)
    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder):
            model.fit(batches, verbose=0)
        times, counts = _events(Path(folder))
    total = sum(times.values())
    case = _case(experiment, batch, precision)
    most = times.most_common(flags.kinds)
    rest = total - sum(taken for _, taken in most)
    named = [(f"{kind} ({counts[kind] / steps:.0f} of them)", taken) for kind, taken in most]
    return [
        figure
        for kind, taken in [*named, ("other operations", rest)]
        for figure in (
            Figure(f"{case}: {kind}", "time", 1000 * taken / steps, "ms"),
            Figure(f"{case}: {kind}, of them all", "share", taken / total, "share"),
        )
    ]


def _events(folder: Path) -> tuple[collections.Counter, collections.Counter]:
    """Seconds and numbers of a trace's operations by kind."""
    import tensorflow as tf
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    times: collections.Counter = collections.Counter()
    counts: collections.Counter = collections.Counter()
    for path in folder.rglob("*.xplane.pb"):
        for plane in xplane_pb2.XSpace.FromString(path.read_bytes()).planes:
            for event in (event for line in plane.lines for event in line.events):
                name = plane.event_metadata[event.metadata_id].name
                kind = name.rpartition(":")[2]
                if name == _COMPILED:
                    kind = "compiled: the update, fused loops"
                elif not (hasattr(tf.raw_ops, kind) or kind.startswith(("_Mkl", "_Fused"))):
                    continue
                times[kind] += event.duration_ps / 1e12
                counts[kind] += 1
    return times, counts


if __name__ == "__main__":
    main()
