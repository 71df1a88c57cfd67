"""Begin with a trained run, or at random: AudioSet, its classes divided, scored on clips of its own.

    python -m benchmarks.audioset.other_classes --audioset DIR [--models average netvlad] [--seeds 2]

Every tenth class is the new task: its clips are those that have any of these classes, with these labels alone. The
others are of the old task, so no clip is in both. A model of the old task is trained as the preset says. Then one of
the new task begins with it, for --epochs epochs, and others at random, for as many and for --more. The hold-out is the
eval clips, in place of the hash; each run's best epoch counts. DIR has the TFRecords, in train/ and eval/.
"""

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tyro

from benchmarks.figures import Common, Figure, show
from pipeline.inputs.records.encoding import encode_sequence_example
from pipeline.inputs.records.parsing import parse_record
from pipeline.inputs.records.tfrecord import scan_records, write_records
from pipeline.presets import load_experiment

_NEW = 10
"""Every so many-th class is of the new task."""
_PRESET = """import dataclasses

from pipeline.presets import audioset

MODELS = ("average", "netvlad")


def experiment(model):
    whole = audioset.experiment(model)
    dataset = dataclasses.replace(whole.dataset, name="{name}", num_classes={classes})
    return dataclasses.replace(whole, dataset=dataset)
"""


@dataclasses.dataclass(frozen=True)
class Flags(Common):
    audioset: Path = Path("../shared/data/audioset")
    """Folder of train/*.tfrecord and eval/*.tfrecord."""
    models: tuple[str, ...] = ("average",)
    """Pooling families."""
    seeds: int = 2
    epochs: int = 2
    """Epochs from the trained run."""
    more: int = 8
    """Epochs at random."""


def main() -> None:
    flags = tyro.cli(Flags, description=__doc__)
    figures = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _divide(flags.audioset, folder)
        for model in flags.models:
            gaps: dict[str, list[float]] = {}
            for seed in range(flags.seeds):
                old = _train(folder, "old", model, f"{model}-{seed}", seed)
                gaps.setdefault("old task", []).append(_gap(old))
                for told, epochs, more in (
                    (f"from it, {flags.epochs} epochs", flags.epochs, ["--from", str(old)]),
                    (f"at random, {flags.epochs} epochs", flags.epochs, []),
                    (f"at random, {flags.more} epochs", flags.more, []),
                ):
                    run = f"{model}-{seed}-{epochs}-{len(more)}"
                    new = _train(folder, "new", model, run, seed, "--training.epochs", str(epochs), *more)
                    gaps.setdefault(told, []).append(_gap(new))
            for told, found in gaps.items():
                for seed, gap in enumerate(found):
                    figures.append(Figure(f"{model}, {told}", f"seed {seed}", gap, "GAP"))
    show(figures, flags.json, "hold-out GAP@20")


def _divide(source: Path, folder: Path) -> None:
    """Write the records of both tasks, and index them."""
    dataset = load_experiment("audioset").dataset
    classes = np.arange(dataset.num_classes)
    new = classes % _NEW == 0
    numbers = np.where(new, np.cumsum(new), np.cumsum(~new)) - 1  # of a class within its task
    for part, split in (("train", "train"), ("eval", "holdout")):
        files = {}
        for task in ("old", "new"):
            path = folder / "raw" / task / split / "0.tfrecord"
            path.parent.mkdir(parents=True)
            files[task] = path.open("wb")
        for path in sorted((source / part).glob("*.tfrecord")):
            for task, payload in _records(path, dataset, new, numbers):
                write_records(files[task], [payload])
        for file in files.values():
            file.close()
    for task, count in (("old", int((~new).sum())), ("new", int(new.sum()))):
        (folder / f"{task}.py").write_text(_PRESET.format(name=task, classes=count), encoding="utf-8")
        raw = [part for split in ("train", "holdout") for part in ("--raw", f"{split}={folder}/raw/{task}/{split}")]
        _stage(folder, "ingest", task, *raw)


def _records(path: Path, dataset, new: np.ndarray, numbers: np.ndarray) -> Iterator[tuple[str, bytes]]:
    for record in scan_records(path):
        parsed = parse_record(record.payload, dataset)
        own = parsed.labels[new[parsed.labels]]
        task, labels = ("new", own) if len(own) else ("old", parsed.labels)
        context = {"video_id": parsed.id, "labels": numbers[labels].astype(np.int64)}
        yield task, encode_sequence_example(context, {dataset.features[0].key: parsed.features[0]})


def _train(folder: Path, task: str, model: str, run: str, seed: int, *more: str) -> Path:
    _stage(folder, "train", task, "--model", model, "--run", run, "--training.seed", str(seed), *more)
    return folder / "runs" / task / run


def _gap(run: Path) -> float:
    return json.loads((run / "summary.json").read_text(encoding="utf-8"))["best"]["gap"]


def _stage(folder: Path, stage: str, task: str, *arguments: str) -> None:
    places = {f"PIPELINE_{place.upper()}": str(folder / place) for place in ("data", "runs")}
    command = [sys.executable, "-m", f"pipeline.{stage}", "--preset", str(folder / f"{task}.py"), *arguments]
    subprocess.run(command, env={**os.environ, **places}, check=True, stdout=sys.stderr)


if __name__ == "__main__":
    main()
