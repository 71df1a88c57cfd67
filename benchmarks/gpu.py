"""Training steps on an NVIDIA GPU, through Keras's JAX backend: examples a second, share of the card's peak, memory.

    python -m benchmarks.gpu [--families nextvlad attention_netvlad] [--batches 32 128]

Forward, backward and update by `fit`, as `train` does them: rgb and audio as uint8, 3862 classes; the same batch lying
on the device, or sent from the host at each step. It needs keras, jax and numpy, no TensorFlow. FLOPs are those of the
matrix products in the step's jaxpr; the limit is a product of two square matrices in the same precision, measured
between the steps. Memory is the most that the device has held. Each family and batch size is measured in a process of
its own.

Without a GPU it runs on the processors, at the sizes of the preset demo: that the program works is all that this says.
"""

import dataclasses
import multiprocessing
import os
import resource
import shutil
import time
from typing import Any

import tyro

from benchmarks.figures import Common, Figure, interleaved, show
from benchmarks.jaxpr import count_flops
from benchmarks.products import products
from benchmarks.step import random_batch, repeated, training_model
from pipeline.config import POOLING

RESIDENT, FED = "on the device", "from the host"


@dataclasses.dataclass(frozen=True)
class Flags(Common):
    families: tuple[str, ...] = tuple(POOLING)
    precisions: tuple[str, ...] = ("mixed_bfloat16",)
    batches: tuple[int, ...] = ()
    """Videos B in a step; by default 32, 128 and 512 on a GPU, 16 without."""
    frames: int | None = None
    """Frames T of every video; by default 256 on a GPU, 64 without."""
    steps: int = 0
    """Steps in a round; by default 20 on a GPU, 2 without."""
    preset: str | None = None
    """Whose settings the families have; by default youtube8m on a GPU, demo without."""


def main() -> None:
    flags = tyro.cli(Flags, description=__doc__)
    flags = with_sizes(flags)
    os.environ["KERAS_BACKEND"] = "jax"
    figures = []
    for family in flags.families:
        for precision in flags.precisions:
            for batch in flags.batches:
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    figures += pool.apply(of_family, (family, precision, batch, flags))
    show(figures, flags.json, f"training step on JAX, settings of {flags.preset}, T={flags.frames}")
    if not has_gpu():
        print("\nNo GPU here: these are the processors' figures, those of a GPU are open.")


def has_gpu() -> bool:
    return shutil.which("nvidia-smi") is not None


def with_sizes(flags: Flags) -> Flags:
    """Return flags in which what was left out is as the machine allows it."""
    gpu = has_gpu()
    return dataclasses.replace(
        flags,
        batches=flags.batches or ((32, 128, 512) if gpu else (16,)),
        frames=flags.frames or (256 if gpu else 64),
        steps=flags.steps or (20 if gpu else 2),
        preset=flags.preset or ("youtube8m" if gpu else "demo"),
    )


def of_family(family: str, precision: str, batch: int, flags: Flags) -> list[Figure]:
    """Return the figures of one family's step, in a process of its own; none where the device's memory is too small."""
    import jax

    device = jax.devices()[0]
    case = f"{family}, {precision.removeprefix('mixed_')}, B={batch}, {device.device_kind}"
    try:
        return _figures(case, family, precision, batch, flags)
    except Exception as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        print(f"{case}: out of memory", flush=True)
        return []


def _figures(case: str, family: str, precision: str, batch: int, flags: Flags) -> list[Figure]:
    import jax

    from pipeline.presets import load_experiment

    dataset = load_experiment("youtube8m").dataset
    experiment = dataclasses.replace(load_experiment(flags.preset, family), dataset=dataset)
    model = training_model(experiment, precision)
    host = random_batch(dataset, batch, flags.frames)
    flops = step_flops(model, *host)
    fed, resident = repeated(host, flags.steps), repeated(jax.device_put(host), flags.steps)
    began = time.perf_counter()
    model.fit(repeated(host, 1), verbose=0)
    first = time.perf_counter() - began
    model.fit(resident, verbose=0)
    memory = _peak_memory()  # before the limit's matrices
    limit = products(precision, 8192 if jax.devices()[0].platform == "gpu" else 1024)
    sides = {
        RESIDENT: lambda: model.fit(resident, verbose=0),
        FED: lambda: model.fit(fed, verbose=0),
        "limit": limit.run,
    }
    seconds = interleaved(flags.rounds, sides)
    peak = limit.flops / seconds["limit"]
    figures = []
    for who in (RESIDENT, FED):
        step = seconds[who] / flags.steps
        figures += [
            Figure(f"{case}: examples", who, batch / step, "/s"),
            Figure(f"{case}: rate", who, flops / step / 1e9, "GFLOP/s"),
            Figure(f"{case}: of the limit", who, flops / step / peak, "share"),
        ]
    return [
        *figures,
        Figure(f"{case}: rate", "limit", peak / 1e9, "GFLOP/s"),
        Figure(f"{case}: peak memory", RESIDENT, memory / 1e9, "GB"),
        Figure(f"{case}: first step", FED, first, "s"),
    ]


def step_flops(model: Any, inputs: Any, labels: Any) -> int:
    """FLOPs of the matrix products of the loss and its gradients by all trained weights; nothing is computed."""
    import jax

    def loss(trained: Any, others: Any, inputs: Any, labels: Any) -> Any:
        outputs, _, losses = model.stateless_call(trained, others, inputs, training=True, return_losses=True)
        return model.loss(labels, outputs) + sum(losses)

    trained = [weight.value for weight in model.trainable_variables]
    others = [weight.value for weight in model.non_trainable_variables]
    return count_flops(jax.make_jaxpr(jax.grad(loss))(trained, others, inputs, labels))


def _peak_memory() -> int:
    """Bytes: of the device where it counts them, else of this process."""
    import jax

    counted = jax.devices()[0].memory_stats()
    return counted["peak_bytes_in_use"] if counted else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
