"""Our DBoF beside that of tf-models-official 2.20, as that project configures it: a training step on ready batches.

    python -m benchmarks.tf_models [--precisions float32 bfloat16] [--batch 32]

The peer is what its `yt8m_experiment` makes: its model, loss, optimizer and trainer, whose loop is one `tf.function`,
in a virtual environment of its own, made on first use from PyPI (3 GB, some minutes). Ours is the family `dbof` at the
same sizes, trained by `fit` as `train` does it: 300 frames of rgb and audio, projected together to 3000 units, batch
norm, ReLU, the mean over the frames, 2000 hidden units, five experts for each of 3862 classes, L2, Adam, gradients
clipped. Its batches are of 1024 videos on 32 cores, 32 each: 32 is the default here, and takes 8 GB in all. Its own
precision is bfloat16. Both get one batch again and again: the peer as the float32 that its loader makes, ours as bytes.

What differs: theirs multiplies once more, for the scale of its first batch norm, which the projection holds as well and
ours does without. And, what costs little, theirs scales each frame to unit length, has biases before its batch norms
and in its gates and a shift in its first batch norm (0.03 % of all weights), and L2 on all kernels, not on those of the
experts and gates alone; our ReLU ends at 6, and our mean leaves padding out, of which there is none here.
"""

import dataclasses
import functools
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import tyro

from benchmarks.figures import Common, Figure, interleaved, show
from benchmarks.products import products
from benchmarks.step import random_batch, repeated, training_model
from pipeline.config import (
    ClassifierConfig,
    DatasetConfig,
    DBoFConfig,
    Experiment,
    FeatureConfig,
    ModelConfig,
    SamplingConfig,
    TrainingConfig,
)

PACKAGE = "tf-models-official==2.20.0"
PEER = "tf-models-official"
PROGRAM = Path(__file__).parent / "peers" / "dbof.py"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
FRAMES, UNITS = 300, 3000
EXPERIMENT = Experiment(
    DatasetConfig("youtube8m", (FeatureConfig("rgb_and_audio", 1152),), 3862),
    ModelConfig(
        "dbof",
        DBoFConfig((UNITS,), "mean"),
        ClassifierConfig(hidden=2000, gating="none", experts=5, head_l2=0.5e-5),
    ),
    SamplingConfig("random_frames", frames=FRAMES),
    TrainingConfig(1024, learning_rate=2e-4, decay_rate=0.95, warmup_examples=500 * 1024),
)


@dataclasses.dataclass(frozen=True)
class Flags(Common):
    precisions: tuple[str, ...] = ("float32", "bfloat16")
    batch: int = 32
    """Videos B."""
    steps: int = 2
    """Steps in a round."""
    environment: Path = CACHE / "video-classification" / PACKAGE
    """The peer's virtual environment; made where there is none."""


def main() -> None:
    flags = tyro.cli(Flags, description=__doc__)
    os.environ["KERAS_BACKEND"] = "tensorflow"  # as the peer
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    python = _environment(flags.environment)
    figures = []
    for precision in flags.precisions:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            figures += pool.apply(_measure, (precision, python, flags))
    show(figures, flags.json, f"training step of DBoF as tf-models-official configures it, B={flags.batch} T={FRAMES}")


def _environment(folder: Path) -> Path:
    """The peer's Python. Installing does nothing where all is there, and goes on where it was interrupted."""
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    subprocess.run([python, "-m", "pip", "install", "-q", PACKAGE], check=True)
    return python


class Peer:
    """Their trainer, in a process of its own."""

    def __init__(self, python: Path, precision: str, batch: Any):
        import numpy as np

        from pipeline.config import byte_scale

        inputs, labels = batch
        step, shift = byte_scale()
        video_matrix = inputs["frames"] * np.float32(step) + np.float32(shift)
        with tempfile.TemporaryFile() as complaints, tempfile.NamedTemporaryFile(suffix=".npz") as file:
            np.savez(file, video_matrix=video_matrix, labels=labels, num_frames=inputs["num_frames"])
            file.flush()
            self._process = subprocess.Popen(
                [python, PROGRAM, precision, file.name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=complaints,
                text=True,
            )
            try:
                self.parameters = self._answer()["parameters"]
            except json.JSONDecodeError:
                complaints.seek(0)
                raise SystemExit(f"{PEER} does not start:\n{complaints.read().decode(errors='replace')}") from None

    def run(self, steps: int) -> dict[str, float]:
        """The mean loss of so many steps, and the most bytes of memory so far."""
        print(steps, file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        return json.loads(self._process.stdout.readline())

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()


def _measure(precision: str, python: Path, flags: Flags) -> list[Figure]:
    from pipeline import cost

    policy = "float32" if precision == "float32" else f"mixed_{precision}"
    flops = {"ours": flags.batch * cost.of_experiment(EXPERIMENT).training_flops}
    # Its first batch norm has a scale, for whose gradient it multiplies once more.
    flops[PEER] = flops["ours"] + 2 * flags.batch * FRAMES * EXPERIMENT.dataset.width * UNITS
    limit = products(policy)
    batch = random_batch(EXPERIMENT.dataset, flags.batch, FRAMES)
    batches = repeated(batch, flags.steps)
    ours = training_model(EXPERIMENT, policy)
    with Peer(python, precision, batch) as peer:
        theirs = functools.partial(peer.run, flags.steps)
        ours.fit(batches, verbose=0)  # both trace
        theirs()
        peaks = {"ours": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}
        seconds = interleaved(
            flags.rounds, {"ours": lambda: ours.fit(batches, verbose=0), PEER: theirs, "limit": limit.run}
        )
        peaks[PEER] = theirs()["peak"]
        parameters = {
            "ours": sum(weight.value.shape.num_elements() for weight in ours.trainable_weights),
            PEER: peer.parameters,
        }
    rates = {who: flops[who] * flags.steps / seconds[who] for who in peaks} | {"limit": limit.flops / seconds["limit"]}
    examples = {who: flags.batch * flags.steps / seconds[who] for who in peaks}
    return [
        *(Figure(f"{precision}: examples", who, value, "/s") for who, value in examples.items()),
        Figure(f"{precision}: ours to theirs", "ours", examples["ours"] / examples[PEER], "times"),
        *(Figure(f"{precision}: rate", who, rate / 1e9, "GFLOP/s") for who, rate in rates.items()),
        *(Figure(f"{precision}: of the limit", who, rates[who] / rates["limit"], "share") for who in peaks),
        *(Figure(f"{precision}: trained weights", who, count / 1e6, "M") for who, count in parameters.items()),
        *(Figure(f"{precision}: peak memory", who, peak / 1e9, "GB") for who, peak in peaks.items()),
    ]


if __name__ == "__main__":
    main()
