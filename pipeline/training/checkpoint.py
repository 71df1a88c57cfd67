"""Everything that a killed training needs to go on as if nothing had happened, in one file."""

import dataclasses
import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from pipeline.artifacts.files import atomic_file
from pipeline.config.errors import StageError

_STATE = "state"
FORMAT = 2
"""1, of version 0.1.0: statistics of batch norm and whitening began as the layers do; see `statistics.forget_start`."""


@dataclass
class TrainState:
    """Where a training is."""

    step: int = 0
    """Batches done."""
    seconds: float = 0.0
    """Spent in training steps, those of the batches that compile left out."""
    timed_examples: int = 0
    """Examples seen in those seconds."""
    best: dict[str, Any] = field(default_factory=dict)
    """Hold-out metrics of the best weights so far, their step, and which `weights` they are: averaged or plain."""
    waited: int = 0
    """Evaluations since the best."""
    format: int = FORMAT


def save_checkpoint(path: Path, model: keras.Model, state: TrainState) -> None:
    """Write weights, optimizer state (moments, moving average, counters), seed generators and `state`, atomically."""
    arrays = {name: keras.ops.convert_to_numpy(variable) for name, variable in _variables(model)}
    arrays[_STATE] = np.frombuffer(json.dumps(dataclasses.asdict(state)).encode(), np.uint8)
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def restore_checkpoint(path: Path, model: keras.Model) -> TrainState:
    """Put a checkpoint back into a compiled model that was built from the same config.

    Raises:
        StageError: the file is damaged, or belongs to another model.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            state = TrainState(**{"format": 1} | json.loads(arrays[_STATE].tobytes()))
            if state.format > FORMAT:
                raise ValueError(f"it is of format {state.format}, of a newer version; this one reads up to {FORMAT}")
            variables = _variables(model)
            if set(arrays.files) != {name for name, _ in variables} | {_STATE}:
                raise ValueError("it holds other variables than the model has")
            for name, variable in variables:
                variable.assign(arrays[name])
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise StageError(f"{path} cannot be restored ({error}): train again with --force") from error
    return state


def _variables(model: keras.Model) -> list[tuple[str, keras.Variable]]:
    """Model variables (seed generators included), then the optimizer's; numbered, since names are not stable."""
    variables = [("model", variable) for variable in model.variables]
    variables += [("optimizer", variable) for variable in model.optimizer.variables]
    return [(f"{owner}/{number:04d}", variable) for number, (owner, variable) in enumerate(variables)]
