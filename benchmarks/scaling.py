"""Scaling: how fast several processes of this machine read, and train together, each on a processor of its own.

    python -m benchmarks.scaling [--processes 1 2 4] [--family average] [--batch 32]

The work of a process is fixed: it reads its B videos `uint8 [B,256,1152]` of every batch of N·B from shards in the page
cache, as hosts do; and it computes the training step of a family at the paper's sizes on JAX with B videos of a batch
that N processes share over the loopback device. Efficiency is the speed of a process beside N-1 others, over its speed
alone; where there are fewer processors, over its turns of one. More processes than processors tell what sharing costs,
and nothing of a real network.
"""

import contextlib
import dataclasses
import os
import socket
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import tyro

from benchmarks.figures import Common, Figure, interleaved, show
from benchmarks.input import write_shards
from benchmarks.input_sides import FRAMES, SHARD, Ours, Side
from benchmarks.step import random_batch, repeated, training_model

READ = 25


@dataclasses.dataclass(frozen=True)
class Flags(Common):
    processes: tuple[int, ...] = (1, 2, 4)
    family: str = "average"
    batch: int = 32
    """Videos B in the part of a process."""
    steps: int = 16
    """Steps of training in a round; of reading, which takes milliseconds, `READ` times as many."""


def main() -> None:
    flags = tyro.cli(Flags, description=__doc__)
    with tempfile.TemporaryDirectory() as name:
        write_shards(Path(name), SHARD)
        figures = _measure("reading", Reading, (name, flags.batch), READ * flags.steps, flags)
    figures += _measure(f"{flags.family}, step", Training, (flags.family, flags.batch), flags.steps, flags)
    show(figures, flags.json, "scaling")


def _measure(case: str, kind: type, arguments: tuple, steps: int, flags: Flags) -> list[Figure]:
    figures: list[Figure] = []
    alone = 0.0
    processors = len(os.sched_getaffinity(0))
    for number in flags.processes:
        seconds = _seconds(kind, arguments, number, steps, flags.rounds)
        speed = steps * flags.batch / seconds
        who = f"{number} on {processors} processors"
        turns = min(processors / number, 1.0)
        alone = alone or speed / turns
        figures.append(Figure(f"{case}: videos of a process", who, speed, "/s"))
        figures.append(Figure(f"{case}: videos of all", who, speed * number, "/s"))
        figures.append(Figure(f"{case}: efficiency", who, speed / (alone * turns), "share"))
    return figures


def _seconds(kind: type, arguments: tuple, number: int, steps: int, rounds: int) -> float:
    """Of a round, that all of `number` processes do at the same time."""
    address = f"127.0.0.1:{_free_port()}"
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(number) as threads:
        sides = [stack.enter_context(Side(kind, *arguments, address, number, host)) for host in range(number)]

        def run() -> None:
            list(threads.map(lambda side: side.ask("run", steps), sides))

        run()  # compiles, and fills the page cache
        return interleaved(rounds, {"ours": run})["ours"]


class Reading(Ours):
    """One host's part of every batch; nothing is computed, and nothing agreed on."""

    def __init__(self, folder: str, batch: int, address: str, hosts: int, host: int):
        _stay_on(host)
        super().__init__(Path(folder), batch)
        from pipeline.config import SamplingConfig
        from pipeline.runtime.hosts import Hosts
        from pipeline.training.batches import EpochSampler, TrainBatches

        sampler = EpochSampler(self.index.rows("train"), hosts * batch, 0)
        sampling, those = SamplingConfig(train="uniform", frames=FRAMES), Hosts(hosts, host)
        self._own = lambda steps: TrainBatches(self.reader, sampler, steps, sampling, hosts=those)

    def run(self, steps: int) -> None:
        batches = self._own(range(steps))
        for step in range(steps):
            batches[step]


class Training:
    """One host's part of a training step, on one batch again and again."""

    def __init__(self, family: str, batch: int, address: str, hosts: int, host: int):
        _stay_on(host)
        os.environ["KERAS_BACKEND"] = "jax"
        self._place = family, batch, address, hosts, host
        self._model: Any = None

    def run(self, steps: int) -> None:
        if self._model is None:  # only now: all hosts begin together
            self._begin()
        self._model.fit(repeated(self._batch, steps), shuffle=False, verbose=0)

    def _begin(self) -> None:
        import keras

        from pipeline.presets import load_experiment
        from pipeline.runtime import devices
        from pipeline.runtime.hosts import joined

        family, batch, address, hosts, host = self._place
        self._joined = contextlib.ExitStack()
        self._joined.enter_context(joined(address, hosts, host))
        devices.spread("1", "training.devices", hosts * batch)
        keras.utils.set_random_seed(0)  # all hosts draw the same weights
        experiment = load_experiment("youtube8m", family)
        self._batch = random_batch(experiment.dataset, batch, FRAMES)
        self._model = training_model(experiment, "float32")


def _stay_on(host: int) -> None:
    """Keep the process, with all threads that it will start, on one processor."""
    processors = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {processors[host % len(processors)]})


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


if __name__ == "__main__":
    main()
