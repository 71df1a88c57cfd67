"""A model compiled for training: with its loss and optimizer, and as many steps in a call as are worth it."""

import keras
import numpy as np

from pipeline.config import DatasetConfig, SamplingConfig, TrainingConfig
from pipeline.inputs.reading.sampling import sampled_length
from pipeline.training.allocation import keep_freed_memory
from pipeline.training.loss import loss_of
from pipeline.training.optimizer import build_optimizer
from pipeline.training.penalized import PenalizedModel

AT_ONCE = 10
"""How many steps TensorFlow takes in one call, if they are short."""
SHORT = 1 << 20
"""A step is short if its batch has at most this many bytes of frames: it takes milliseconds, and a call costs one."""


def steps_per_execution(sampling: SamplingConfig, training: TrainingConfig, dataset: DatasetConfig) -> int:
    """Return how many steps TensorFlow takes in one call; on other backends it is one."""
    frames = sampled_length(sampling.train, sampling, dataset)
    size = training.batch_size * frames * dataset.width * np.dtype(dataset.dtype).itemsize
    return AT_ONCE if size <= SHORT and keras.backend.backend() == "tensorflow" else 1


def compile_model(
    model: keras.Model, dataset: DatasetConfig, sampling: SamplingConfig, training: TrainingConfig, total_steps: int
) -> PenalizedModel:
    """Return the model's layers, compiled with loss and optimizer for a run of `total_steps` steps."""
    keep_freed_memory()
    trained = PenalizedModel(model)
    trained.compile(
        optimizer=build_optimizer(training, total_steps, trained.trainable_variables),
        loss=loss_of(model, training.label_smoothing),
        steps_per_execution=steps_per_execution(sampling, training, dataset),
        jit_compile="auto" if keras.backend.backend() == "jax" else False,
    )
    return trained
