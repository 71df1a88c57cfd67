"""On a machine with an NVIDIA GPU: the whole pipeline by stage, and every family's step, in less than 8 minutes.

    python -m benchmarks.on_gpu --raw train=DIR --raw eval=DIR --json FILE

All of it runs on JAX, and needs no TensorFlow. First `run_all` of the demo; then that of AudioSet, if its files are
given; of one training of each, how many videos a second it trains, reads, and would train without reading. Then each
family's step in bfloat16, as `benchmarks.gpu` measures it: videos a second, share of the card's product rate, memory.
FILE is written after each part, so that what was measured is kept where the machine goes away. What `--seconds` leaves
no time for is named at the end.

Without a GPU all of it runs on the processors: that the program works is all that this says.
"""

import dataclasses
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import tyro

from benchmarks import gpu
from benchmarks.end_to_end import by_stage, of_training
from benchmarks.figures import Common, Figure, save, show
from benchmarks.stages import run_all
from pipeline.config import POOLING
from pipeline.presets import load_preset


@dataclasses.dataclass(frozen=True)
class Flags(Common):
    rounds: int = 3
    seconds: float = 460
    """All of it may take so long."""
    demo: str = "demo"
    """Preset that is run first, on synthetic data."""
    raw: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """SPLIT=DIR_OR_GLOB, repeatable: AudioSet's files."""
    families: tuple[str, ...] = tuple(POOLING)
    batch: int = 0
    """Videos in a step; by default 128 on a GPU, 16 without."""
    frames: int | None = None
    """Frames of every video; by default 256 on a GPU, 64 without."""


def main() -> None:
    flags = tyro.cli(Flags, description=__doc__)
    os.environ["KERAS_BACKEND"] = "jax"
    began = time.monotonic()
    figures: list[Figure] = []
    missing = []
    about = f"{'on a' if gpu.has_gpu() else 'without a'} GPU, JAX"
    with tempfile.TemporaryDirectory() as folder:
        for name, measure in _parts(Path(folder), flags):
            left = flags.seconds - (time.monotonic() - began)
            try:
                figures += measure(left) if left > 0 else _no_time()
            except (multiprocessing.TimeoutError, subprocess.TimeoutExpired):
                missing.append(name)
                continue
            print(f"{time.monotonic() - began:5.0f} s: {name}", file=sys.stderr, flush=True)
            save(figures, flags.json, about)
    show(figures, flags.json, about)
    if missing:
        print(f"\nno time was left for {', '.join(missing)}: give more --seconds")
    if not gpu.has_gpu():
        print("\nNo GPU here: these are the processors' figures, those of a GPU are open.")


def _no_time() -> list[Figure]:
    raise multiprocessing.TimeoutError


def _parts(folder: Path, flags: Flags) -> Iterator[tuple[str, Callable[[float], list[Figure]]]]:
    """Yield what is measured: its name, and what measures it in so many seconds."""
    yield "demo", lambda left: _pipeline(folder / "demo", flags.demo, [], left, flags.rounds)
    if flags.raw:
        raw = [token for pair in flags.raw for token in ("--raw", pair)]
        yield "audioset", lambda left: _pipeline(folder / "audioset", "audioset", raw, left, flags.rounds)
    steps = gpu.with_sizes(gpu.Flags(flags.rounds, frames=flags.frames, steps=0 if gpu.has_gpu() else 1))
    batch = flags.batch or (128 if gpu.has_gpu() else 16)
    for family in flags.families:
        yield family, lambda left, family=family: _step(family, batch, steps, left)


def _pipeline(folder: Path, preset: str, raw: list[str], left: float, rounds: int) -> list[Figure]:
    began = time.monotonic()
    stages = run_all(folder, ["--preset", preset, *raw], left)
    found = [dataclasses.replace(each, case=f"{Path(preset).stem}: {each.case}") for each in by_stage([stages])]
    if time.monotonic() - began > left:
        return found
    model = load_preset(preset).MODELS[-1]
    return found + of_training(folder, preset, model, stages[f"train {model}"], rounds)


def _step(family: str, batch: int, flags: gpu.Flags, left: float) -> list[Figure]:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply_async(gpu.of_family, (family, "mixed_bfloat16", batch, flags)).get(left)


if __name__ == "__main__":
    main()
