"""What a model costs: parameters, and FLOPs and memory a video, counted from its graph; nothing is computed.

The graph is traced for two numbers of videos. What a video costs is what one more of them adds: weights, their
gradients, and work that is done once a batch drop out.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.config import DatasetConfig, Experiment
from pipeline.graph import count_flops, needed, peak_bytes

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

_BATCHES = (1000, 2000)
"""So many that all else is small beside them: the peak is where the videos take most."""


@dataclass(frozen=True)
class Cost:
    frames: int
    """Of a video at inference."""
    training_frames: int
    parameters: int
    """Trainable ones of the whole model."""
    pooling_parameters: int
    """Trainable ones of the pooling layers."""
    flops: int
    """Of a video at inference: of the matrix products, see `count_flops`."""
    training_flops: int
    """Of a video in training: of the matrix products, forward and backward."""
    activation_bytes: int
    """Of a video in training, forward and backward in float32, its frames included: see `peak_bytes`."""


def of_experiment(experiment: Experiment) -> Cost:
    """What an experiment's model costs, at its dataset's sizes and its sampling's number of frames."""
    import tensorflow as tf

    from pipeline.inputs.sampling import sampled_length
    from pipeline.models import build_model
    from pipeline.models.pooling import Pooling

    dataset, sampling = experiment.dataset, experiment.sampling
    frames = sampled_length(sampling.evaluation, sampling, dataset)
    training_frames = sampled_length(sampling.train, sampling, dataset)
    with tf.Graph().as_default():  # in a graph of their own, weights have a shape and no memory
        model = build_model(experiment.model, dataset)

        def inference(videos: int) -> int:
            return count_flops(needed(model(_inputs(videos, frames, dataset), training=False)))

        def training(videos: int) -> "list[tf.Operation]":
            return _training_step(model, _inputs(videos, training_frames, dataset))

        return Cost(
            frames=frames,
            training_frames=training_frames,
            parameters=_parameters(model),
            pooling_parameters=sum(_parameters(layer) for layer in model.layers if isinstance(layer, Pooling)),
            flops=_of_one_more(inference),
            training_flops=_of_one_more(lambda videos: count_flops(training(videos))),
            activation_bytes=_of_one_more(lambda videos: peak_bytes(training(videos))),
        )


def _of_one_more(count: Callable[[int], int]) -> int:
    few, many = _BATCHES
    return round((count(many) - count(few)) / (many - few))


def _parameters(layer: "keras.Layer") -> int:
    return sum(math.prod(weight.shape) for weight in layer.trainable_weights)


def _inputs(videos: int, frames: int, dataset: DatasetConfig) -> "dict[str, tf.Tensor]":
    import tensorflow as tf

    return {
        "frames": tf.raw_ops.Placeholder(dtype=dataset.dtype, shape=(videos, frames, dataset.width)),
        "num_frames": tf.raw_ops.Placeholder(dtype="int32", shape=(videos,)),
    }


def _training_step(model: "keras.Model", inputs: "dict[str, tf.Tensor]") -> "list[tf.Operation]":
    """The operations of the loss, its gradients, and the moving statistics; the optimizer knows no videos."""
    import tensorflow as tf

    from pipeline.training.loss import SummedBinaryCrossentropy

    graph = inputs["frames"].graph
    before = len(graph.get_operations())
    probabilities = model(inputs, training=True)
    labels = tf.raw_ops.Placeholder(dtype="float32", shape=probabilities.shape)
    loss = SummedBinaryCrossentropy()(labels, probabilities) + sum(model.losses)
    gradients = tf.gradients(loss, [weight.value for weight in model.trainable_weights])
    statistics = [operation for operation in graph.get_operations()[before:] if operation.type.startswith("Assign")]
    return needed(loss, *gradients, *statistics)
