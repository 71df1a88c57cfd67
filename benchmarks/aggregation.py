"""The aggregation of attention_netvlad, factorised, against its literal form: speed and memory, forward and backward.

    python -m benchmarks.aggregation

Both forms compute V_k = sum_t a_tk (x_t - c_k) and the gradients of a loss on it, for assignments of either sign. The
literal one builds the residuals, a tensor of B x T x K x F; it is what the paper's equation says. Each form lives in a
process of its own; rounds are interleaved, the medians are printed, and added memory is a process's peak above what it
held before its first round.
"""

import dataclasses
import multiprocessing
import multiprocessing.connection
import resource
import statistics
import time
from pathlib import Path

import tyro

from benchmarks.figures import Common, Figure, show


@dataclasses.dataclass(frozen=True)
class Flags(Common):
    batch: int = 8
    """Videos B."""
    frames: int = 256
    """Frames T."""
    clusters: int = 256
    """Clusters K."""
    size: int = 1024
    """Size F of a frame."""
    seconds: float = 2.0
    """Least time of a round."""


FORMS = ("factorised", "literal")


def main() -> None:
    flags = tyro.cli(Flags, description=__doc__)
    context = multiprocessing.get_context("spawn")
    workers = {}
    for form in FORMS:
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, form, flags), daemon=True)
        process.start()
        workers[form] = ours
    checks = {form: worker.recv() for form, worker in workers.items()}
    for (name, got), expected in zip(checks["factorised"].items(), checks["literal"].values(), strict=True):
        if abs(got - expected) > 1e-4 * abs(expected):
            raise SystemExit(f"the two forms differ in {name}: {got} and {expected}")
    speeds: dict[str, list[float]] = {form: [] for form in FORMS}
    memory = {}
    for _ in range(flags.rounds):
        for form, worker in workers.items():
            worker.send("round")
            speed, memory[form] = worker.recv()
            speeds[form].append(speed)
    for worker in workers.values():
        worker.send("stop")
    median = {form: statistics.median(values) for form, values in speeds.items()}
    figures = [Figure("speed", form, median[form], "videos/s") for form in FORMS]
    figures += [Figure("added memory", form, memory[form] / 1e6, "MB") for form in FORMS]
    figures.append(
        Figure("speed, of the literal form", "factorised", median["factorised"] / median["literal"], "times")
    )
    less = memory["literal"] / memory["factorised"]
    figures.append(Figure("memory, less than the literal form", "factorised", less, "times"))
    show(figures, flags.json, f"B={flags.batch} T={flags.frames} K={flags.clusters} F={flags.size}, float32")


def _serve(pipe: multiprocessing.connection.Connection, form: str, flags: Flags) -> None:
    """Answer "round" with examples per second and the bytes that were added to the process at its peak."""
    from pipeline.runtime import backend

    backend.start_backend()
    import numpy as np
    import tensorflow as tf
    from keras import ops

    from pipeline.models.netvlad import VLAD

    layer = VLAD(flags.clusters)
    layer.build((None, None, flags.size))
    rng = np.random.default_rng(0)
    layer.centers.assign(rng.normal(size=layer.centers.shape))

    def literal(assignment, frames):
        residuals = frames[:, :, None, :] - layer.centers[None, None, :, :]  # B,T,K,F
        return ops.sum(assignment[:, :, :, None] * residuals, axis=1)  # B,K,F

    compute = layer.aggregate if form == "factorised" else literal

    def draw(*shape):
        return tf.constant(rng.normal(size=shape).astype(np.float32))

    assignment = draw(flags.batch, flags.frames, flags.clusters)
    frames = draw(flags.batch, flags.frames, flags.size)
    weights = draw(flags.batch, flags.clusters, flags.size)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            tape.watch((assignment, frames))
            loss = tf.reduce_sum(weights * compute(assignment, frames))
        return loss, *tape.gradient(loss, (assignment, frames, layer.centers.value))

    before = _resident()
    names = ("the loss", "the gradient of A", "the gradient of X", "the gradient of C")
    pipe.send({name: float(tf.norm(value)) for name, value in zip(names, step(), strict=True)})
    while pipe.recv() == "round":
        began, count = time.perf_counter(), 0
        while time.perf_counter() - began < flags.seconds:
            step()[0].numpy()
            count += 1
        speed = count * flags.batch / (time.perf_counter() - began)
        pipe.send((speed, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before))


def _resident() -> int:
    """Bytes of this process in memory."""
    with Path("/proc/self/statm").open() as file:
        return int(file.read().split()[1]) * resource.getpagesize()


if __name__ == "__main__":
    main()
