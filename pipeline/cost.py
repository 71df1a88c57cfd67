"""Count what each pooling family costs, from its model: parameters, and FLOPs and memory for each video.

Reads a preset and no data; prints a table with each family's source, or JSON; writes nothing. It needs no GPU. The
graph is traced for two numbers of videos, and a video costs what one more of them adds: weights, their gradients, and
work that is done once for each batch do not count.
"""

import dataclasses
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.cli.flags import PresetFlags
from pipeline.cli.parsing import parse_flags
from pipeline.cli.running import run_stage
from pipeline.cli.stages import STAGES
from pipeline.cli.types import FamilyNames, Preset
from pipeline.config import ConfigError, DatasetConfig, Experiment
from pipeline.config.wording import counted
from pipeline.models import FAMILIES
from pipeline.presets import load_experiment
from pipeline.runtime import backend
from pipeline.runtime.graph import count_flops, operations_needed_for, peak_bytes
from pipeline.runtime.progress import progress_bar

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


@dataclass(frozen=True)
class Flags(PresetFlags):
    preset: Preset = "youtube8m"
    """Preset with the sizes, numbers of frames and classifiers: a name from pipeline/presets, or a file's path."""
    families: FamilyNames = ()
    """Pooling families to count; by default all of them."""
    json: bool = False
    """Print JSON instead of a table: a list with one object for each family."""


def main() -> None:
    flags, _ = parse_flags(Flags, STAGES["cost"].sections)
    experiments = {family: load_experiment(flags.preset, family) for family in flags.families or FAMILIES}
    backend.start_tracing()
    rows = []
    for family, experiment in (bar := progress_bar(experiments.items(), unit=" families", leave=False)):
        bar.set_description(family)
        try:
            counted = of_experiment(experiment)
        except ConfigError as error:  # the family's settings do not fit the preset's dataset
            raise ConfigError(f"preset {flags.preset}, model {family}: {error}") from error
        rows.append({"family": family, "source": FAMILIES[family].source, **dataclasses.asdict(counted)})
    if flags.json:
        print(json.dumps(rows))
    else:
        print(_table(rows, next(iter(experiments.values())).dataset))


def _table(rows: list[dict], dataset: DatasetConfig) -> str:
    """Format the costs as a table with one line for each family."""
    cells = {
        "": [row["family"] for row in rows],
        "frames": [_frames(row["frames"], row["training_frames"]) for row in rows],
        "parameters": [f"{_human(row['parameters'] / 1e6)} M" for row in rows],
        "in pooling": [f"{_human(row['pooling_parameters'] / 1e6)} M" for row in rows],
        "GFLOPs": [_human(row["flops"] / 1e9) for row in rows],
        "MB": [_human(row["activation_bytes"] / 1e6) for row in rows],
        "source": [row["source"] for row in rows],
    }
    columns = []
    for title, values in cells.items():
        column = [title, *values]
        width = max(map(len, column))
        columns.append([cell.ljust(width) if title in ("", "source") else cell.rjust(width) for cell in column])
    features = ", ".join(f"{feature.name} {feature.size}" for feature in dataset.features)
    return "\n".join(
        [
            *("  ".join(line).rstrip() for line in zip(*columns)),
            f"{dataset.name}: {features}, {counted(dataset.num_classes, 'class', 'classes')}",
            "GFLOPs: a video at inference, the matrix products alone",
            "MB: activations of a video in training, float32, an estimate; weights are not among them",
        ]
    )


def _frames(inference: int, training: int) -> str:
    return str(inference) if inference == training else f"{inference}, {training} in training"


def _human(value: float) -> str:
    """Format a number with three digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


_BATCHES = (1000, 2000)
"""Two numbers of videos, so large that memory peaks where the videos take most, and all else is small beside them."""


@dataclass(frozen=True)
class Cost:
    """What a model costs: its parameters, and FLOPs and memory for one video."""

    frames: int
    """Number of frames of a video at inference."""
    training_frames: int
    """Number of frames of a video in training."""
    parameters: int
    """Trainable parameters of the whole model."""
    pooling_parameters: int
    """Trainable parameters of the pooling layers."""
    flops: int
    """FLOPs of the matrix products for a video at inference: see `count_flops`."""
    training_flops: int
    """FLOPs of the matrix products for a video in training, forward and backward."""
    activation_bytes: int
    """Bytes that a video takes in training, forward and backward in float32, its frames included: see `peak_bytes`."""


def of_experiment(experiment: Experiment) -> Cost:
    """Count what an experiment's model costs, at its dataset's sizes and its sampling's number of frames."""
    import tensorflow as tf

    from pipeline.inputs.reading.sampling import sampled_length
    from pipeline.models import build_model
    from pipeline.models.pooling import Pooling

    dataset, sampling = experiment.dataset, experiment.sampling
    frames = sampled_length(sampling.evaluation, sampling, dataset)
    training_frames = sampled_length(sampling.train, sampling, dataset)
    with tf.Graph().as_default():  # in a graph, weights have a shape and take no memory
        model = build_model(experiment.model, dataset)

        inference = [
            operations_needed_for(model(_inputs(videos, frames, dataset), training=False)) for videos in _BATCHES
        ]
        training = [_training_step(model, _inputs(videos, training_frames, dataset)) for videos in _BATCHES]
        return Cost(
            frames=frames,
            training_frames=training_frames,
            parameters=_parameters(model),
            pooling_parameters=sum(_parameters(layer) for layer in model.layers if isinstance(layer, Pooling)),
            flops=_of_one_more(count_flops, inference),
            training_flops=_of_one_more(count_flops, training),
            activation_bytes=_of_one_more(peak_bytes, training),
        )


def _of_one_more(count: "Callable[[list[tf.Operation]], int]", graphs: "list[list[tf.Operation]]") -> int:
    """What one more video adds to the count, from the operations for each number of videos in `_BATCHES`."""
    few, many = _BATCHES
    return round((count(graphs[1]) - count(graphs[0])) / (many - few))


def _parameters(layer: "keras.Layer") -> int:
    return sum(math.prod(weight.shape) for weight in layer.trainable_weights)


def _inputs(videos: int, frames: int, dataset: DatasetConfig) -> "dict[str, tf.Tensor]":
    import tensorflow as tf

    return {
        "frames": tf.raw_ops.Placeholder(dtype=dataset.dtype, shape=(videos, frames, dataset.width)),
        "num_frames": tf.raw_ops.Placeholder(dtype="int32", shape=(videos,)),
    }


def _training_step(model: "keras.Model", inputs: "dict[str, tf.Tensor]") -> "list[tf.Operation]":
    """Return the operations of the loss, its gradients and the moving statistics.

    The optimizer is left out: its work does not depend on the number of videos.
    """
    import tensorflow as tf

    from pipeline.training.loss import loss_of

    graph = inputs["frames"].graph
    before = len(graph.get_operations())
    probabilities = model(inputs, training=True)
    labels = tf.raw_ops.Placeholder(dtype="float32", shape=probabilities.shape)
    loss = loss_of(model, 0.0)(labels, probabilities) + sum(model.losses)
    gradients = tf.gradients(loss, [weight.value for weight in model.trainable_weights])
    statistics = [operation for operation in graph.get_operations()[before:] if operation.type.startswith("Assign")]
    return operations_needed_for(loss, *gradients, *statistics)


if __name__ == "__main__":
    run_stage(main)
