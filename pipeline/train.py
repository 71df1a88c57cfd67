"""Train one model, or go on training it.

Reads data/<dataset>/index/; writes runs/<preset>/<run>/: config, log, and the best model on the hold-out.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline import backend
from pipeline.artifacts import (
    ENSEMBLE,
    RUN_CONFIG,
    Done,
    StageError,
    locked,
    read_json,
    remove_folder,
    remove_leftovers,
    write_json,
)
from pipeline.commandline import Common, parse, run_stage
from pipeline.config import differences, to_dict
from pipeline.hardware import fast_precision
from pipeline.inputs.index import Index
from pipeline.training.stored import MODEL, digest_model
from pipeline.training.teacher import Teacher


@dataclass(frozen=True)
class Flags(Common):
    model: str | None = None
    """Pooling family; by default the preset's first."""
    run: str | None = None
    """Name of the run; by default the model's."""
    force: bool = False
    """Delete the run, whatever it was trained with, and train anew."""


def main() -> None:
    flags, experiment = parse(Flags, ["sampling", "pooling", "classifier", "training", "inference"])
    run = flags.run or experiment.model.family
    if run == ENSEMBLE or run.startswith(".") or "/" in run:
        raise StageError(f"--run {run}: choose a plain name, other than {ENSEMBLE}, the blend of all runs")
    folder = flags.places.run(flags.preset_name, run)
    index = Index.open(flags.places.index(experiment.dataset.name))
    if experiment.training.precision == "auto":
        training = replace(experiment.training, precision=_precision(folder / RUN_CONFIG, flags.force))
        experiment = replace(experiment, training=training)
    config = {
        "preset": flags.preset_name,
        "dataset": to_dict(index.dataset),
        "sampling": to_dict(experiment.sampling),
        "model": to_dict(experiment.model),
        "training": to_dict(experiment.training),
    }
    inputs = {"index": index.digest}
    teacher = None
    if name := experiment.training.teacher:
        teacher = Teacher(flags.places, flags.preset, flags.preset_name, name, folder)
        finished = Done.read(folder)
        kept = finished and not flags.force and finished.inputs["index"] == index.digest
        inputs["teacher"] = teacher.digest(finished if kept else None)
    if _prepare(folder, config, inputs, flags.force):
        print(f"{folder}: up to date")
        return

    backend.start()
    from pipeline.inputs.soft_labels import SoftLabels
    from pipeline.training.loop import CHECKPOINT, Trainer

    with locked(folder):
        share = experiment.training.teacher_share
        soft_labels = SoftLabels(teacher.store, folder / "teacher", index, share) if teacher else None
        trainer = Trainer(
            folder, index, experiment.model, experiment.sampling, experiment.training, experiment.inference, soft_labels
        )
        # Only now: settings that are refused leave no run.
        write_json(folder / RUN_CONFIG, {**config, "inputs": inputs})
        state = trainer.run()
    summary = {
        "run": run,
        "family": experiment.model.family,
        "synthetic": index.dataset.synthetic,
        "parameters": trainer.model.count_params(),
        "steps": state.step,
        "batch_size": experiment.training.batch_size * experiment.training.accumulate,
        "seconds": state.seconds,
        "examples_per_second": state.timed_examples / state.seconds if state.seconds else None,
        "best": state.best,
    }
    write_json(folder / "summary.json", summary)
    if soft_labels:
        soft_labels.remove()
    Done(config, inputs, digest_model(folder / MODEL)).write(folder)
    (folder / CHECKPOINT).unlink(missing_ok=True)
    gap = f", hold-out GAP {state.best['gap']:.4f} at step {state.best['step']}" if "gap" in state.best else ""
    synthetic = " (synthetic)" if index.dataset.synthetic else ""
    print(f"{folder / MODEL}: {summary['parameters']:,} parameters{gap}{synthetic}")


def _precision(config: Path, force: bool) -> str:
    """What `auto` stands for: what the run has begun with, on whatever machine and backend, else what is fast here."""
    return fast_precision() if force or not config.exists() else read_json(config)["training"]["precision"]


def _prepare(folder: Path, config: dict[str, Any], inputs: dict[str, str], force: bool) -> bool:
    """Clear away what may not be gone on with; returns whether the run is finished already."""
    path = folder / RUN_CONFIG
    if path.exists():
        stored = read_json(path)
        stored_inputs = stored.pop("inputs")
        if force:
            remove_folder(folder)
        elif changed := differences(stored, config):
            raise StageError(
                f"{folder} was trained with other settings: {'; '.join(changed)}. "
                "Give this run another name with --run of train, or train it anew with --force"
            )
        elif stored_inputs != inputs:
            changed = [name for name in inputs if stored_inputs.get(name) != inputs[name]]
            print(f"{folder} is trained anew: the {' and the '.join(changed)} changed")
            remove_folder(folder)
        elif Done.read(folder):
            return True
    remove_leftovers(folder.parent)
    return False


if __name__ == "__main__":
    run_stage(main)
