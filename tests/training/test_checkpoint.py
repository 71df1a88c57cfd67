"""Checkpoints: what is of another version is told from what is damaged."""

import dataclasses
import json

import keras
import numpy as np
import pytest

from pipeline.config.errors import StageError
from pipeline.training import checkpoint
from pipeline.training.checkpoint import FORMAT, TrainState


@pytest.fixture
def model() -> keras.Model:
    built = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    built.compile(optimizer=keras.optimizers.Adam(), loss="mse")
    built.optimizer.build(built.trainable_variables)
    return built


def rewrite(path, **changes) -> None:
    """Change fields of the state in a checkpoint; None takes one away."""
    with np.load(path) as arrays:
        values = dict(arrays)
    state = json.loads(values["state"].tobytes()) | changes
    state = {name: value for name, value in state.items() if value is not None}
    np.savez(path, **values | {"state": np.frombuffer(json.dumps(state).encode(), np.uint8)})


def test_a_checkpoint_is_restored_as_it_was(tmp_path, model):
    state = TrainState(step=7, seconds=1.5, best={"gap": 0.5, "weights": "plain"}, waited=2)
    checkpoint.save_checkpoint(tmp_path / "checkpoint.npz", model, state)
    before = [variable.numpy().copy() for variable in model.variables]
    for variable in model.variables:
        variable.assign(variable.numpy() + 1)
    assert checkpoint.restore_checkpoint(tmp_path / "checkpoint.npz", model) == state and state.format == FORMAT
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


def test_older_formats_are_known_and_newer_ones_refused(tmp_path, model):
    path = tmp_path / "checkpoint.npz"
    checkpoint.save_checkpoint(path, model, TrainState(step=3))
    rewrite(path, format=None)
    assert checkpoint.restore_checkpoint(path, model) == dataclasses.replace(TrainState(step=3), format=1)
    rewrite(path, format=FORMAT + 1)
    with pytest.raises(StageError, match=r"checkpoint\.npz cannot be restored .*of a newer version.*--force"):
        checkpoint.restore_checkpoint(path, model)


def test_a_checkpoint_of_another_model_is_refused(tmp_path, model):
    checkpoint.save_checkpoint(tmp_path / "checkpoint.npz", model, TrainState())
    other = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), keras.layers.Dense(2)])
    other.compile(optimizer=keras.optimizers.Adam(), loss="mse")
    with pytest.raises(StageError, match="other variables than the model has"):
        checkpoint.restore_checkpoint(tmp_path / "checkpoint.npz", other)
