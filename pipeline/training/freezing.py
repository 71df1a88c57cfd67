"""Freeze layers: their weights, statistics and averages stay as they are, and the optimizer does not know them."""

import fnmatch
from collections.abc import Sequence

import keras

from pipeline.config.errors import ConfigError
from pipeline.training.taking import with_weights


def freeze_layers(model: keras.Model, patterns: Sequence[str]) -> None:
    """Freeze the layers whose names match any of the patterns, as a shell matches names, and print which.

    Call it before the model is compiled: the optimizer makes moments and averages of what is trained.

    Raises:
        ConfigError: a pattern matches no layer with weights, or nothing would be left to train.
    """
    layers = with_weights(model)
    names = ", ".join(layer.name for layer in layers)
    for pattern in patterns:
        if not any(fnmatch.fnmatchcase(layer.name, pattern) for layer in layers):
            raise ConfigError(f"--training.freeze {pattern}: {model.name} has no such layer; it has {names}")
    frozen = [layer for layer in layers if any(fnmatch.fnmatchcase(layer.name, pattern) for pattern in patterns)]
    for layer in frozen:
        layer.trainable = False
    if not model.trainable_weights:
        raise ConfigError(f"--training.freeze {' '.join(patterns)}: nothing is left to train of {names}")
    if frozen:
        parameters = sum(layer.count_params() for layer in frozen)
        print(f"frozen are {parameters:,} parameters: {', '.join(layer.name for layer in frozen)}")
