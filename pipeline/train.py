"""Train one model, or resume its training.

Reads data/<dataset>/index/; writes runs/<preset>/<run>/: config, log, and the model that is best on the hold-out. With
folds (--dataset.folds) it trains one model for each, in runs/<preset>/<run>/fold-1/ and so on, on all other folds.
"""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from pipeline.artifacts.done import DONE, Done, StageOutput, stage_output
from pipeline.artifacts.files import read_json, write_json
from pipeline.artifacts.folds import fold_folder, fold_folders, is_folded, note_folds
from pipeline.artifacts.models import MODEL, digest_model
from pipeline.artifacts.owner import note_owner
from pipeline.artifacts.places import CHECKPOINT, RUN_CONFIG, is_trained
from pipeline.cli.flags import EngineFlags, ForceFlags, ReadingFlags, StartFlags
from pipeline.cli.opening import open_index
from pipeline.cli.parsing import parse_flags
from pipeline.cli.running import run_stage
from pipeline.cli.stages import STAGES
from pipeline.cli.types import Family
from pipeline.config import Experiment, TrainingConfig
from pipeline.config.errors import ConfigError, StageError
from pipeline.config.monitor import key_of, short_title
from pipeline.config.ranges import MOST_FOLDS, Address, RunName, Within
from pipeline.inputs.index import TRAIN, Index
from pipeline.runtime import backend, devices
from pipeline.runtime.engine import PROCESSES
from pipeline.runtime.hosts import joined, mine
from pipeline.training import together
from pipeline.training.far import train_far
from pipeline.training.folds import finish_folds, remove_run
from pipeline.training.longer import check_longer
from pipeline.training.run_plan import RunPlan, check_monitor, plan_run

_KEEP = "Give the new run a name of its own with --run NAME, or train this one anew with --force"


@dataclass(frozen=True)
class Flags(StartFlags, ForceFlags, EngineFlags, ReadingFlags):
    model: Family = None
    """Pooling family of the model; by default the preset's first."""
    run: RunName | None = None
    """Name of the run, and of its folder in runs/<preset>/; by default the model's name."""
    fold: Annotated[int, Within(1, MOST_FOLDS)] | None = None
    """Fold to train the model of, so that several terminals or machines share the folds; by default all, in turn."""
    dry_run: bool = False
    """Only check the settings and print what would be done: nothing is trained, and nothing is deleted."""
    cluster: Address | None = None
    """Address and port at which host 0 of several listens, such as node1:9000; all train one model, each started with
    the same command but for --host. Under Slurm, Open MPI and Kubernetes hosts find each other without these flags."""
    hosts: Annotated[int, Within(1, 65_536)] | None = None
    """Number of hosts that train together; 1 to train alone where a launcher has started several."""
    host: Annotated[int, Within(0, 65_535)] | None = None
    """Number of this host, from 0 on. Host 0 writes the run, in a folder that all hosts share."""

    def check_together(self) -> None:
        super().check_together()
        if self.engine != PROCESSES and (self.cluster or (self.hosts or 1) > 1):
            raise ConfigError(
                f"--engine {self.engine} runs trainings apart, and --cluster one on several hosts: give one"
            )


def main() -> None:
    flags, experiment = parse_flags(Flags, STAGES["train"].sections)
    alone = 1 if flags.engine != PROCESSES else flags.hosts
    with joined(flags.cluster, alone, flags.host):
        _train_runs(flags, experiment)


def _train_runs(flags: Flags, experiment: Experiment) -> None:
    run = flags.run or experiment.model.family
    folder = flags.places.run(flags.preset_name, run)
    index = open_index(flags, experiment)
    if flags.fold and flags.fold > index.folds:
        known = f"{index.folds} folds" if index.folds else "no folds (--dataset.folds)"
        raise StageError(f"--fold {flags.fold}: {index.folder} has {known}")
    numbers = [flags.fold] if flags.fold else range(1, index.folds + 1)
    if index.folds and (teacher := experiment.training.teacher):
        raise StageError(
            f"--training.teacher {teacher}: a teacher has learned from videos that a fold holds out, and so would its "
            "student: train without one, or index without --dataset.folds"
        )
    for number in numbers:  # what a late fold would be refused for is refused before an early one is trained
        check_monitor(experiment.training.monitor, index.fold(number))
    if mine().is_first:
        _check_kind(folder, index.folds, flags)
    if not flags.dry_run and (cluster := flags.ray_cluster(models=True)):
        folds = [["--fold", str(number)] for number in numbers] or [[]]
        arguments = sys.argv[1:]
        if flags.force and index.folds and not flags.fold:  # all go before one begins, which fits no other settings
            remove_run(folder)
            arguments = [each for each in arguments if each != "--force"]
        train_far(cluster, [[*arguments, *fold] for fold in folds])
        if index.folds:
            finish_folds(folder, index, experiment.training.monitor)
        return
    if not index.folds:
        _train_run(flags, experiment, folder, index)
        return
    for number in numbers:
        if mine().is_first and not flags.dry_run:
            print(f"fold {number} of {index.folds}")
        _train_run(flags, experiment, fold_folder(folder, number), index.fold(number))
        backend.forget_models()
    if mine().is_first and not flags.dry_run:
        finish_folds(folder, index, experiment.training.monitor)


def _check_kind(folder: Path, folds: int, flags: Flags) -> None:
    """Raise StageError if a run with folds would replace one without, or the other way; with --force, delete that."""
    there = fold_folders(folder) if is_folded(folder) else []
    if not is_trained(folder) or len(there) == folds:
        return
    if not flags.force or flags.fold:
        raise StageError(f"{folder} was made with other settings: dataset.folds: {len(there)} -> {folds}. {_KEEP}")
    if not flags.dry_run:
        remove_run(folder)


def _train_run(flags: Flags, experiment: Experiment, folder: Path, index: Index) -> None:
    """Train a run, or one fold of it, unless it is up to date."""
    if not mine().is_first:
        _help_to_train(flags, experiment, folder, index)
        return
    with stage_output(folder, _begun) as work:
        plan = plan_run(flags, experiment, folder, index, work.begun)
        if plan.more:
            _go_on(work, plan, index)
        if work.is_up_to_date(plan.config, plan.inputs, force=flags.force, keep=_KEEP, quiet=flags.dry_run):
            if not (experiment.training.keep_checkpoint or flags.dry_run):
                (folder / CHECKPOINT).unlink(missing_ok=True)
            together.dismiss()
            return
        if flags.dry_run:
            begun = "would go on" if work.begun and not work.again else "would be trained"
            print(f"{folder} {begun}{f': {work.again}' if work.again else ''}")
            together.dismiss()
            return
        # Not in `_train`: TensorFlow keeps the frames from which it is imported, and so all that they hold.
        backend.start_backend()
        together.call(plan, index)
        _take_devices(experiment.training)
        work.remove_stale()
        (folder / DONE).unlink(missing_ok=True)  # before its settings change: it is finished no longer
        if index.held_out:
            note_folds(folder.parent, index.dataset.folds)
            (folder.parent / DONE).unlink(missing_ok=True)  # nor is the run that it is a fold of
        note_owner(flags.places.runs_dir / flags.preset_name, flags.preset)
        together.begin()
        _train(plan, index)


def _help_to_train(flags: Flags, experiment: Experiment, folder: Path, index: Index) -> None:
    """Train a run that the first host trains, once it says so, with the same settings; write nothing."""
    backend.start_backend()
    if not (called := together.called()):
        return
    training = replace(experiment.training, precision=called.precision)
    plan = plan_run(flags, replace(experiment, training=training), folder, index, None)
    called.check(plan, index)
    _take_devices(training)
    together.begin()
    _train(plan, index)


def _take_devices(training: TrainingConfig) -> None:
    devices.spread(training.devices, "training.devices", training.batch_size)


def _begun(folder: Path) -> Done | None:
    """Return the settings and inputs that a run was begun with; None if there is no run."""
    if not (folder / RUN_CONFIG).exists():
        return None
    config = read_json(folder / RUN_CONFIG)
    return Done(config, config.pop("inputs"), "")


def _go_on(work: StageOutput, plan: RunPlan, index: Index) -> None:
    """Take a run for one that was begun with the epochs of the plan; raise StageError if it cannot be."""
    begun, training = work.begun, plan.experiment.training
    before, changed = begun.config["training"]["epochs"], Done({}, begun.inputs, "").changes({}, plan.inputs)
    check_longer(work.place, before, changed, training, index.splits.get(TRAIN, 0))
    print(f"{work.place} goes on from {before:g} to {training.epochs:g} epochs")
    work.begun, work.finished = replace(begun, config=plan.config), False


def _train(plan: RunPlan, index: Index) -> None:
    from pipeline.training.loop import Trainer
    from pipeline.training.origin import describe_origin, now
    from pipeline.training.soft_labels import SoftLabels

    folder, experiment, origin = plan.folder, plan.experiment, describe_origin()
    share = experiment.training.teacher_share
    unpacked = folder / ("teacher" if mine().is_first else f"teacher-{mine().own}")
    soft_labels = SoftLabels(plan.teacher.store, unpacked, index, share) if plan.teacher else None
    trainer = Trainer(
        folder,
        index,
        experiment.model,
        experiment.sampling,
        experiment.training,
        experiment.inference,
        soft_labels,
        plan.start,
    )
    # Written only now, so that settings that are refused leave no run behind.
    if mine().is_first:
        write_json(folder / RUN_CONFIG, {**plan.config, "inputs": plan.inputs})
    state = trainer.run()
    if soft_labels:
        soft_labels.remove()
    if not mine().is_first:
        return
    summary = {
        "run": folder.name,
        "family": experiment.model.family,
        "synthetic": index.dataset.synthetic,
        "parameters": trainer.model.count_params(),
        "steps": state.step,
        "batch_size": experiment.training.batch_size * experiment.training.accumulate,
        "seconds": state.seconds,
        "examples_per_second": state.timed_examples / state.seconds if state.seconds else None,
        "best": state.best,
        "origin": {**origin, "ended": now()},
    }
    write_json(folder / "summary.json", summary)
    Done(plan.config, plan.inputs, digest_model(folder / MODEL)).write(folder)
    if not experiment.training.keep_checkpoint:
        (folder / CHECKPOINT).unlink(missing_ok=True)
    monitor = experiment.training.monitor
    score = state.best.get(key_of(monitor))
    told = f", hold-out {short_title(monitor)} {score:.4f} at step {state.best['step']}" if score is not None else ""
    synthetic = " (synthetic)" if index.dataset.synthetic else ""
    print(f"{folder / MODEL}: {summary['parameters']:,} parameters{told}{synthetic}")


if __name__ == "__main__":
    run_stage(main)
