"""What a run, or one fold of it, will be trained with and from, and why it cannot be."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from pipeline.artifacts.done import Done
from pipeline.artifacts.files import read_json
from pipeline.artifacts.places import RUN_CONFIG, Places
from pipeline.config import Experiment, to_dict
from pipeline.config.errors import StageError
from pipeline.config.monitor import OF_ALL_CLASSES, Monitor
from pipeline.inputs.index import HOLDOUT, Index
from pipeline.runtime import devices
from pipeline.runtime.precision import fast_precision
from pipeline.training.folds import check_other_folds, other_configs
from pipeline.training.longer import asks_for_more
from pipeline.training.start import Start
from pipeline.training.teacher import Teacher


class Asked(Protocol):
    """The flags that the plan of a run depends on."""

    places: Places
    preset: str
    preset_name: str
    start: str | None
    """The run whose weights it begins with."""
    force: bool
    """Whether what is there is deleted."""
    fold: int | None
    """The fold that is trained alone."""


@dataclass(frozen=True)
class RunPlan:
    """What a run, or one fold of it, will be trained with, and from."""

    folder: Path
    config: dict[str, Any]
    inputs: dict[str, str]
    experiment: Experiment
    teacher: Teacher | None
    start: Start | None
    more: bool
    """Whether it is that of a run which is there, with more epochs."""


def plan_run(flags: Asked, experiment: Experiment, folder: Path, index: Index, begun: Done | None) -> RunPlan:
    """Plan the training of a run, or of one fold of it.

    Args:
        flags: what is asked for.
        experiment: its settings; the precision may be `auto`.
        folder: where it lies.
        index: the videos; of a fold, as they are split for it.
        begun: what the run was begun with that is there; None if there is none.

    Raises:
        StageError, ConfigError: it is refused. All checks that may refuse it are made here, before it begins.
    """
    if experiment.training.precision == "auto":
        there = [] if flags.force else [folder / RUN_CONFIG]
        there += other_configs(folder) if index.held_out and (flags.fold or not flags.force) else []
        training = replace(experiment.training, precision=_precision(there))
        experiment = replace(experiment, training=training)
    config = {
        "preset": flags.preset_name,
        "dataset": to_dict(index.dataset),
        "sampling": to_dict(experiment.sampling),
        "model": to_dict(experiment.model),
        # What is kept, and what computes, changes nothing of what is learned.
        "training": to_dict(replace(experiment.training, keep_checkpoint=True, devices=devices.ALL, grace=0.0)),
    }
    if flags.start:
        config["from"] = flags.start
    if index.held_out:
        config["fold"] = index.held_out
        if flags.fold or not flags.force:
            check_other_folds(folder, config)
    check_monitor(experiment.training.monitor, index)
    more = not flags.force and asks_for_more(begun, config)
    inputs = {"index": index.digest}
    teacher = None
    if name := experiment.training.teacher:
        teacher = Teacher(flags.places, flags.preset, flags.preset_name, name, folder)
        finished = Done.read(folder)
        kept = finished and not flags.force and not more and finished.inputs["index"] == index.digest
        inputs["teacher"] = teacher.digest(finished if kept else None, index)
    start = None
    if flags.start:
        same = begun and not flags.force and begun.config.get("from") == flags.start
        known = begun.inputs.get("from") if same else None
        start = Start(flags.places, flags.preset_name, flags.start, folder, index, known)
        inputs["from"] = start.digest
    return RunPlan(folder, config, inputs, experiment, teacher, start, more)


def check_monitor(monitor: Monitor, index: Index) -> None:
    """Raise StageError if the hold-out has labels, and none that the metric to choose by could rank."""
    if monitor not in OF_ALL_CLASSES or not index.holdout_labeled:
        return
    rows = index.rows(HOLDOUT)
    rows = rows[index.labels_known(rows)]
    positives = np.bincount(index.labels_of(rows)[0], minlength=index.dataset.num_classes)
    if not ((positives > 0) & (positives < len(rows))).any():
        raise StageError(
            f"--training.monitor {monitor}: no class of the hold-out has both videos with it and videos without: hold "
            "out more videos (--dataset.holdout-percent), or choose another metric"
        )


def _precision(configs: list[Path]) -> str:
    """Return what `auto` stands for: the precision that the run was begun with, anywhere, or what is fast here."""
    begun = next((config for config in configs if config.exists()), None)
    return read_json(begun)["training"]["precision"] if begun else fast_precision()
