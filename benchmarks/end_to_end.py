"""End to end: `run_all` in a fresh folder, by stage, and what each training run's time went into.

    python -m benchmarks.end_to_end                                     # the demo
    python -m benchmarks.end_to_end --preset audioset --raw train=DIR --raw eval=DIR
    python -m benchmarks.end_to_end -- --training.epochs 1              # what follows -- is for run_all
    KERAS_BACKEND=jax python -m benchmarks.end_to_end                   # the same on JAX

Seconds of each stage, and its share of them all. Of a run's training: the steps, the scoring of the hold-out, and the
rest, which is the start of the process, compiling, and storing. Beside it, measured anew, its steps by `fit` on the
run's own batches and on one of them again and again, what is between the two being reading and waiting; and the same
batches read without a model. FLOPs are those of the matrix products in a step's graph, the limit's are measured
between the steps.
"""

import dataclasses
import json
import math
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from benchmarks.figures import Common, Figure, interleaved, show
from benchmarks.products import products
from benchmarks.step import training_flops
from pipeline.artifacts.files import read_json
from pipeline.artifacts.places import RUN_CONFIG
from pipeline.config import Experiment, ModelConfig, SamplingConfig, TrainingConfig, from_dict
from pipeline.inputs.index import Index
from pipeline.presets import load_preset

ROOT = Path(__file__).parent.parent
MOST = 200
"""Steps in a round, of each side; where an epoch has fewer, as many as it has."""


@dataclasses.dataclass(frozen=True)
class Flags(Common):
    runs: int = 1
    """Of all stages; `rounds` are those of the steps."""
    preset: str = "demo"
    models: tuple[str, ...] = ()
    """Families to train; by default the preset's."""
    raw: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """SPLIT=DIR_OR_GLOB, repeatable: real files."""
    more: tyro.conf.Positional[tuple[str, ...]] = ()
    """Flags of run_all, after --."""


def main() -> None:
    flags = tyro.cli(Flags, description=__doc__)
    models = flags.models or load_preset(flags.preset).MODELS
    rounds = []
    with tempfile.TemporaryDirectory() as name:
        for number in range(flags.runs):
            folder = Path(name) / str(number)
            rounds.append(_run_all(folder, models, flags))
        figures = _by_stage(rounds)
        for model in models:
            run = folder / "runs" / flags.preset / model
            opened = Index.open(folder / "data" / read_json(run / RUN_CONFIG)["dataset"]["name"] / "index")
            experiment = _trained(run, opened)
            stage = statistics.median(stages[f"train {model}"] for stages in rounds)
            figures += _by_part(model, run, experiment.training.batch_size, stage)
            flops = training_flops(experiment)
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                figures += pool.apply(_steps, (model, experiment, opened.folder, flops, flags.rounds))
    show(figures, flags.json, f"end to end, {flags.preset}")


def _run_all(folder: Path, models: Sequence[str], flags: Flags) -> dict[str, float]:
    """Seconds of each stage, by what `run_all` calls it; its log shows where a stage failed."""
    places = {f"PIPELINE_{name.upper()}": str(folder / name) for name in ("data", "runs", "submissions", "reports")}
    raw = [token for pair in flags.raw for token in ("--raw", pair)]
    command = [sys.executable, "-u", "-m", "pipeline.run_all", "--preset", flags.preset, "--models", ",".join(models)]
    folder.mkdir()
    began, stages, current = time.perf_counter(), {}, "start"
    log = folder / "log"
    with (
        log.open("w") as errors,
        subprocess.Popen(
            [*command, *raw, *flags.more],
            cwd=ROOT,
            env=os.environ | places,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        for line in process.stdout:
            if line.startswith("== "):
                now = time.perf_counter()
                stages[current], began = now - began, now
                current = _name(line.removeprefix("== ").split())
    stages[current] = time.perf_counter() - began
    if process.returncode:
        raise SystemExit(f"{current} failed:\n{log.read_text()[-2000:]}")
    return stages


def _name(words: Sequence[str]) -> str:
    """A stage, and the model where it is about one."""
    return " ".join([words[0], *([words[words.index("--model") + 1]] if "--model" in words else [])])


def _by_stage(rounds: Sequence[dict[str, float]]) -> list[Figure]:
    seconds = {stage: statistics.median(found[stage] for found in rounds) for stage in rounds[0]}
    total = sum(seconds.values())
    return [
        Figure("all stages", "seconds", total, "s"),
        *(Figure(stage, "seconds", taken, "s") for stage, taken in seconds.items()),
        *(Figure(f"{stage}, of all", "seconds", 100 * taken / total, "%") for stage, taken in seconds.items()),
    ]


def _by_part(model: str, run: Path, batch_size: int, stage: float) -> list[Figure]:
    """Where the time of a run's training went, as its log has it."""
    summary = read_json(run / "summary.json")
    # Those of all steps: the log does not time the first of each range, at which Python comes in.
    steps = summary["steps"] * batch_size / summary["examples_per_second"]
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    scoring = sum(json.loads(line).get("evaluation_seconds", 0.0) for line in lines)
    parts = {"steps": steps, "scoring": scoring, "start, compiling, storing": stage - steps - scoring}
    return [
        *(Figure(f"train {model}: {part}", "seconds", taken, "s") for part, taken in parts.items()),
        *(
            Figure(f"train {model}: {part}, of the stage", "seconds", 100 * taken / stage, "%")
            for part, taken in parts.items()
        ),
    ]


def _trained(run: Path, index: Index) -> Experiment:
    """What a run says of itself."""
    path = run / RUN_CONFIG
    config = read_json(path)
    kinds = {"model": ModelConfig, "sampling": SamplingConfig, "training": TrainingConfig}
    return Experiment(index.dataset, *(from_dict(kind, config[name], path) for name, kind in kinds.items()))


def _steps(model: str, experiment: Experiment, index: Path, flops: int, rounds: int) -> list[Figure]:
    """Steps as `train` makes them, on what it reads and on what is there already; `flops` are a video's."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import keras

    from benchmarks.step import repeated, training_model
    from pipeline.inputs.reading.reader import FrameReader
    from pipeline.training.batches import EpochSampler, TrainBatches

    sampling, training = experiment.sampling, experiment.training
    opened = Index.open(index)
    trained = training_model(experiment, training.precision)
    sampler = EpochSampler(opened.rows("train"), training.batch_size, training.seed)
    steps = min(math.ceil(len(sampler.rows) / training.batch_size), MOST)  # a call of `fit` is for an epoch at most
    read = TrainBatches(FrameReader(opened), sampler, range(steps), sampling, training.mixup)
    one = repeated(read[0], steps)
    limit = products(training.precision)
    sides = {
        "as trained": lambda: trained.fit(read, shuffle=False, verbose=0),
        "one batch": lambda: trained.fit(one, verbose=0),
        "read only": lambda: [read[step] for step in range(steps)],
        "limit": limit.run,
    }
    for side in sides.values():  # traces
        side()
    seconds = interleaved(rounds, sides)
    allowed = limit.flops / seconds["limit"] / flops
    found = {who: training.batch_size * steps / seconds[who] for who in ("as trained", "one batch", "read only")}
    case = f"train {model}, {training.precision.removeprefix('mixed_')}, {keras.backend.backend()}: videos"
    return [
        *(Figure(case, who, speed, "/s") for who, speed in found.items()),
        Figure(case, "limit", allowed, "/s"),
        *(Figure(f"{case}, of the limit", who, found[who] / allowed, "share") for who in ("as trained", "one batch")),
        Figure(f"{case}: of one batch's speed", "as trained", found["as trained"] / found["one batch"], "share"),
    ]


if __name__ == "__main__":
    main()
