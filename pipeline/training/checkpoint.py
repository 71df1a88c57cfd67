"""Checkpoints: all that a killed training needs to resume as if nothing had happened, in one file."""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from pipeline.artifacts.failures import is_refusal
from pipeline.artifacts.files import atomic_file
from pipeline.artifacts.npz import open_npz
from pipeline.artifacts.stored_json import parse_json
from pipeline.config.errors import StageError

_STATE = "state"
FORMAT = 2
"""Format 1, of version 0.1.0, differs: its statistics of batch norm and whitening began with the layers' initial
values; see `statistics.remove_start`."""


@dataclass
class TrainState:
    """The progress of a training."""

    step: int = 0
    """The number of batches done."""
    seconds: float = 0.0
    """The time spent in training steps, without those that compile."""
    timed_examples: int = 0
    """The number of examples seen in those seconds."""
    best: dict[str, Any] = field(default_factory=dict)
    """The hold-out metrics of the best weights so far, their step, and which `weights` they are, averaged or plain."""
    waited: int = 0
    """The number of evaluations since the best."""
    sums: list[float] = field(default_factory=list)
    """If training stopped between two stops of its plan: the values of the metrics since the first of them."""
    unlogged: dict[str, Any] = field(default_factory=dict)
    """If training stopped before the evaluation at `step` ended: the record for the log, without its scores."""
    format: int = FORMAT


def save_checkpoint(path: Path, model: keras.Model, state: TrainState) -> None:
    """Write weights, optimizer state (moments, moving average, counters), seed generators and `state` atomically."""
    arrays = {name: keras.ops.convert_to_numpy(variable) for name, variable in _variables(model)}
    arrays[_STATE] = np.frombuffer(json.dumps(dataclasses.asdict(state)).encode(), np.uint8)
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def restore_checkpoint(path: Path, model: keras.Model) -> TrainState:
    """Restore a checkpoint into a compiled model that was built from the same config, and return its state.

    Raises:
        StageError: the file is damaged, or belongs to another model.
        OSError: the system refuses to read it.
    """
    try:
        with open_npz(path) as arrays:
            state = _state(arrays.read(_STATE).tobytes())
            if state.format > FORMAT:
                raise ValueError(
                    f"it has format {state.format}, of a newer version; this version reads formats up to {FORMAT}"
                )
            variables = _variables(model)
            if set(arrays.names) != {name for name, _ in variables} | {_STATE}:
                raise ValueError("it holds other variables than the model has")
            for name, variable in variables:
                if (got := arrays.header(name).shape) != tuple(variable.shape):
                    raise ValueError(f"{name} has the shape {list(got)}, and the model's has {list(variable.shape)}")
            for name, variable in variables:
                variable.assign(arrays.read(name))
    except (OSError, ValueError, KeyError, TypeError, MemoryError) as error:
        if is_refusal(error):
            raise
        raise StageError(f"{path} cannot be restored ({error}): train again with --force") from error
    return state


def _state(text: bytes) -> TrainState:
    """Parse the state in a checkpoint; raises ValueError or TypeError."""
    state = TrainState(**{"format": 1} | parse_json(text))
    for each in dataclasses.fields(TrainState):
        value, default = getattr(state, each.name), getattr(TrainState(), each.name)
        kinds = (int, float) if isinstance(default, float) else type(default)
        if not isinstance(value, kinds) or (isinstance(value, int) and value < 0):
            raise ValueError(f"its {each.name} cannot be {str(value)[:40]}")
    return state


def _variables(model: keras.Model) -> list[tuple[str, keras.Variable]]:
    """Return the model's variables, with seed generators, then the optimizer's; numbered, as names are not stable."""
    variables = [("model", variable) for variable in model.variables]
    variables += [("optimizer", variable) for variable in model.optimizer.variables]
    return [(f"{owner}/{number:04d}", variable) for number, (owner, variable) in enumerate(variables)]
