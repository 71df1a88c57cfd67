"""Predict with ONNX Runtime: the models of .onnx files against the same models in Keras, as examples a second.

    python -m benchmarks.onnx [--families netvlad nextvlad] [--preset youtube8m] [--batch 64]

Untrained models of the preset's settings are written by what `export --onnx` writes with. Both sides predict the same
batch of full-length videos again and again, with all processors that the process may use; nothing is read meanwhile.
Beside it the largest difference of their scores, and the size of the file.
"""

import dataclasses
import functools
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tyro

from benchmarks.figures import Common, Figure, interleaved, show

KERAS, ONNX = "Keras, as infer has it", "ONNX Runtime"


@dataclasses.dataclass(frozen=True)
class Flags(Common):
    families: tuple[str, ...] = ("average", "netvlad", "nextvlad", "attention_cluster")
    preset: str = "audioset"
    batch: int = 256
    """Videos in a batch."""
    batches: int = 4
    """Batches in a round."""


def main() -> None:
    flags = tyro.cli(Flags, description=__doc__)
    os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "TQDM_DISABLE": "1"}
    figures: list[Figure] = []
    for family in flags.families:
        with tempfile.TemporaryDirectory() as name:
            figures += _measure(Path(name), family, flags)
    show(figures, flags.json, f"settings of {flags.preset}, batches of {flags.batch}")


def _measure(folder: Path, family: str, flags: Flags) -> list[Figure]:
    import numpy as np

    from pipeline.presets import load_experiment
    from pipeline.runtime.backend import forget_models

    experiment = load_experiment(flags.preset, family)
    dataset = experiment.dataset
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (flags.batch, dataset.max_frames, dataset.width), dtype=np.uint8)
    inputs = {
        "frames": frames if dataset.quantized else (frames / 64 - 2).astype(dataset.dtype),
        "num_frames": np.full(flags.batch, dataset.max_frames, np.int32),
    }
    forget_models()
    ours, theirs, size = _models(folder, experiment)
    difference = np.abs(ours.predict_on_batch(inputs) - theirs.predict_on_batch(inputs)).max()
    sides: dict[str, Callable[[], Any]] = {
        who: functools.partial(_predict, model, inputs, flags.batches) for who, model in ((KERAS, ours), (ONNX, theirs))
    }
    seconds = interleaved(flags.rounds, sides)
    videos = flags.batch * flags.batches
    return [
        *(Figure(f"{family}: forward", who, videos / taken, "videos/s") for who, taken in seconds.items()),
        Figure(f"{family}: to Keras", ONNX, seconds[KERAS] / seconds[ONNX], "times"),
        Figure(f"{family}: largest difference", ONNX, float(difference) * 1e6, "millionths"),
        Figure(f"{family}: float32 file", ONNX, size / 1e6, "MB"),
    ]


def _models(folder: Path, experiment: Any) -> tuple[Any, Any, int]:
    """A model in Keras, the same in ONNX Runtime, and the bytes of its file."""
    from pipeline.inference.bundle.ingredients import Ingredients
    from pipeline.inference.bundle.loading import load_bundle
    from pipeline.inference.bundle.onnx_writing import write_onnx
    from pipeline.inference.runs import TrainedRun
    from pipeline.models import build_model

    model = build_model(experiment.model, experiment.dataset)
    model.save(folder / "model.keras")
    made = (experiment.dataset, experiment.sampling, experiment.model, "float32", "", (folder / "model.keras",), ())
    run = TrainedRun(folder, *made)
    names = [""] * experiment.dataset.num_classes
    path = folder / "model.onnx"
    write_onnx(path, Ingredients(run.alone(20), [run], names, "float32", experiment.inference, {}))
    return model, load_bundle(path).members[0].models[0], path.stat().st_size


def _predict(model: Any, inputs: dict[str, Any], batches: int) -> None:
    for _ in range(batches):
        model.predict_on_batch(inputs)


if __name__ == "__main__":
    main()
