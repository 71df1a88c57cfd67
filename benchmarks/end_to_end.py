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
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from benchmarks.figures import Common, Figure, interleaved, show
from benchmarks.products import products
from benchmarks.stages import run_all
from benchmarks.step import training_flops
from pipeline.artifacts.files import read_json
from pipeline.artifacts.places import RUN_CONFIG
from pipeline.config import Experiment, ModelConfig, SamplingConfig, TrainingConfig, from_dict
from pipeline.inputs.index import Index
from pipeline.presets import load_preset

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
            raw = [token for pair in flags.raw for token in ("--raw", pair)]
            given = ["--preset", flags.preset, "--models", ",".join(models), *raw, *flags.more]
            rounds.append(run_all(folder, given))
        figures = by_stage(rounds)
        for model in models:
            stage = statistics.median(stages[f"train {model}"] for stages in rounds)
            figures += of_training(folder, flags.preset, model, stage, flags.rounds)
    show(figures, flags.json, f"end to end, {flags.preset}")


def of_training(folder: Path, preset: str, model: str, stage: float, rounds: int) -> list[Figure]:
    """Return where the time of a run's training went, and how fast its steps are in a process of their own.

    `folder` is where `run_all` wrote, and `stage` how many seconds the training took.
    """
    run = folder / "runs" / Path(preset).stem / model
    opened = Index.open(folder / "data" / read_json(run / RUN_CONFIG)["dataset"]["name"] / "index")
    experiment = _trained(run, opened)
    flops = None if os.environ.get("KERAS_BACKEND") == "jax" else training_flops(experiment)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        steps = pool.apply(_steps, (model, experiment, opened.folder, flops, rounds))
    return _by_part(model, run, experiment.training.batch_size, stage) + steps


def by_stage(rounds: Sequence[dict[str, float]]) -> list[Figure]:
    """Return the median seconds of each stage, and its share of them all."""
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


def _steps(model: str, experiment: Experiment, index: Path, flops: float | None, rounds: int) -> list[Figure]:
    """Steps as `train` makes them, on what it reads and on what is there already; `flops` are a video's.

    Without them they are counted on JAX, which needs no TensorFlow.
    """
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import keras

    from benchmarks.gpu import step_flops
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
    flops = flops or step_flops(trained, *read[0][:2]) / training.batch_size
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
