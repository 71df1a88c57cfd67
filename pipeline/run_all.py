"""Run all stages in order, from the files to the validated submission, its score, and the report.

Reads and writes what the stages do. A stage that is up to date says so and is skipped; a killed run resumes.
"""

import contextlib
import io
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

from pipeline.artifacts.done import digest_json
from pipeline.artifacts.parts import Part, note_part, require_parts
from pipeline.cli.flags import ForceFlags, IngestFlags, PartFlags, ReadingFlags, SplitFlags, StartFlags, WorkerFlags
from pipeline.cli.opening import open_index
from pipeline.cli.overrides import flag_name, flags_of, pooling_flags
from pipeline.cli.parsing import parse_flags
from pipeline.cli.progress import StageProgress, minutes
from pipeline.cli.running import call_stage, run_stage
from pipeline.cli.stages import STAGES
from pipeline.cli.types import Families
from pipeline.config import POOLING, ConfigError, find_by_name
from pipeline.config.errors import StageError
from pipeline.config.ranges import MOST_FOLDS, Seed, Several, Within
from pipeline.inference.outcome import tell_outcome
from pipeline.inputs.index import HOLDOUT
from pipeline.presets import load_preset
from pipeline.runtime import backend
from pipeline.submission.like import sample_of_split
from pipeline.submission.like_sample import read_sample
from pipeline.submission.splits import split_to_submit
from pipeline.training.far import train_far
from pipeline.training.folds import remove_run

_SECTIONS = STAGES["run_all"].sections
_WITHOUT_POOLING = tuple(section for section in _SECTIONS if section != "pooling")
"""All of its sections but pooling, whose settings differ from model to model."""
_FOLDS, _SEED = "dataset.folds", "training.seed"
_WITH_MODELS = ("train", "infer")
"""Stages that make models and are followed by others: what Keras keeps of them is freed, which takes a second."""


@dataclass(frozen=True)
class Flags(StartFlags, SplitFlags, ForceFlags, PartFlags, WorkerFlags, IngestFlags, ReadingFlags):
    models: Families = None
    """Pooling families to train, separated by commas, such as average,netvlad; by default those of the preset."""
    run: str | None = None
    """Name of the run, so that one of other settings stays; with several models NAME-average, NAME-netvlad and so on.
    By default each run has the name of its model."""
    folds: Annotated[int, Within(0, MOST_FOLDS)] | None = None
    """The same as --dataset.folds: each model is trained once for each fold, and predicts the videos held out of it."""
    seeds: Annotated[tuple[Seed, ...], Several(distinct=True)] = ()
    """Random seeds, such as 0 1 2: each model is trained once with each, as runs of their own: average-seed0 and so on.
    By default once, with --training.seed."""


@dataclass(frozen=True)
class _Run:
    """A run to train and to predict with, as flags of the stages."""

    name: str
    chosen: list[str]
    """What names it."""
    settings: list[str]
    """What it is trained with, beside what all runs are."""


def main() -> None:
    groups = _groups(sys.argv[1:])
    whole = {name: tokens for name, tokens in groups.items() if not name.startswith("pooling.")}
    given, whole = whole, _without(whole, "part", "join")  # parts are trainings here: no stage takes their number
    asks_help = {"help", "-h"} & groups.keys()
    flags, experiment = parse_flags(Flags, _SECTIONS if asks_help else _WITHOUT_POOLING, _tokens(given))
    if flags.folds is not None:
        if _FOLDS in whole:
            raise ConfigError(f"--folds is the same as --{_FOLDS}: give one of them")
        whole[_FOLDS] = [f"--{_FOLDS}", str(flags.folds)]
        experiment = replace(experiment, dataset=replace(experiment.dataset, folds=flags.folds))
    if flags.seeds and _SEED in whole:
        raise ConfigError(f"--seeds are those of several trainings, and --{_SEED} is that of one: give one of them")
    named = [name.strip() for name in flags.models.split(",")] if flags.models else load_preset(flags.preset).MODELS
    models = list(dict.fromkeys(named))
    for model in models:
        find_by_name(model, POOLING, "model")
    # With several models, each takes the pooling flags that it knows.
    pooling = {
        model: {name: tokens for name, tokens in groups.items() if name in pooling_flags(model)} for model in models
    }
    if foreign := groups.keys() - given.keys() - set().union(*pooling.values()):
        known = {name: name for model in models for name in pooling_flags(model)}
        find_by_name(min(foreign), known, f"setting of {', '.join(models)}")
    for model, own in pooling.items():  # wrong values are refused before anything runs
        parse_flags(Flags, _SECTIONS, _tokens(whole | own), model)
    runs = _runs(flags, pooling)
    # What a late stage or the training of a late model would refuse is refused here, before any work begins.
    backend.check_backend(needed=True)
    if flags.like:
        read_sample(flags.like, None, None)
    if flags.raw and not flags.append:
        named = dict.fromkeys(item.partition("=")[0] for item in flags.raw)
        _check_submitted([split for split in named if split not in (*experiment.dataset.train_splits, HOLDOUT)], flags)
    cluster = flags.ray_cluster(models=True)
    synthesizes = bool(experiment.synthesis and not flags.raw)
    progress = StageProgress(synthesizes + bool(cluster) + 2 * len(runs) + 5)

    def stage(name: str, *more: str, groups: dict[str, list[str]] = whole) -> None:
        progress.begin(" ".join([name, *more]))
        _run(name, groups, *more)

    if not flags.part:  # all parts train on one index, which is there
        if synthesizes:
            stage("synthesize")
        stage("ingest")
    index = open_index(flags, experiment)
    others = index.other_splits()
    _check_submitted(others, flags)
    if flags.like:
        split = split_to_submit(others, flags.split)
        sample_of_split(flags.like, index, split, experiment.submission.top_k)
    for run in runs:
        _run("train", whole, *run.chosen, "--dry-run", *run.settings, quiet=True)
    folds = [["--fold", str(number)] for number in range(1, index.folds + 1)] or [[]]
    trainings = [[*run.chosen, *run.settings, *fold] for run in runs for fold in folds]
    settings = _without(whole, "force", "engine", "task-cpus", "task-gpus")
    notes, key = flags.places.runs_dir / flags.preset_name, digest_json(index.digest, _tokens(settings), trainings)
    if flags.share:
        _train_part(flags.share, whole, trainings)
        note_part(notes, flags.share, key)
        return
    training = whole
    if flags.join:
        require_parts(notes, flags.join, key)
        training = settings  # it is done
    elif cluster:
        progress.begin(f"train {', '.join(run.name for run in runs)} at once")
        with _named("train"):
            if flags.force and index.folds:  # all folds of a run go before one begins, which fits no other settings
                for run in runs:
                    remove_run(flags.places.run(flags.preset_name, run.name))
                training = _without(whole, "force")
            train_far(cluster, [_arguments("train", training, *each) for each in trainings])
        training = settings
    for run in runs:
        stage("train", *run.chosen, *run.settings, groups=training)
        stage("infer", *run.chosen)
    stage("ensemble", "--runs", *(run.name for run in runs))
    if others:
        stage("submit")
    else:
        progress.begin("submit")
        print("submit is left out: there is no split but those that are trained on; see --raw")
    stage("evaluate")
    stage("report")
    progress.end()
    print(f"\nall stages in {minutes(progress.whole)}")
    for line in tell_outcome(flags.places, flags.preset, flags.preset_name, index, bool(others)):
        print(line)


def _runs(flags: Flags, pooling: dict[str, dict[str, list[str]]]) -> list[_Run]:
    """Return the runs of all models and seeds; `pooling` has the pooling flags of each model."""
    runs = []
    for model, own in pooling.items():
        whole = f"{flags.run}-{model}" if flags.run and len(pooling) > 1 else flags.run or model
        for seed in flags.seeds or (None,):
            name = whole if seed is None else f"{whole}-seed{seed}"
            chosen = ["--model", model, *(["--run", name] if name != model else [])]
            runs.append(_Run(name, chosen, [*_tokens(own), *([] if seed is None else [f"--{_SEED}", str(seed)])]))
    return runs


def _train_part(part: Part, groups: dict[str, list[str]], trainings: Sequence[Sequence[str]]) -> None:
    """Run a part of the trainings, given as command lines."""
    own = part.chosen(trainings)
    progress = StageProgress(len(own))
    for each in own:
        progress.begin(" ".join(["train", *each]))
        _run("train", groups, *each)
    progress.end()
    print(f"\n{part} is trained. When all are: the same command with --join {part.of} in place of --part")


def _check_submitted(splits: list[str], flags: Flags) -> None:
    """Raise StageError if `submit` could not tell which split is meant. Without any, nothing is submitted."""
    if splits or flags.split or flags.like:
        split_to_submit(splits, flags.split)


def _run(stage: str, groups: dict[str, list[str]], *more: str, quiet: bool = False) -> None:
    """Run a stage in this process, with the flags that it takes.

    Raises:
        StageError, ConfigError: what the stage raised, with its name.
    """
    try:
        with _named(stage), contextlib.redirect_stdout(io.StringIO() if quiet else sys.stdout):
            call_stage(stage, _arguments(stage, groups, *more))
    finally:
        if stage in _WITH_MODELS:
            backend.forget_models()


@contextlib.contextmanager
def _named(stage: str) -> Iterator[None]:
    """Name the stage in what it raises as StageError or ConfigError."""
    try:
        yield
    except (StageError, ConfigError) as error:
        raise type(error)(f"{stage}: {error}; once mended, the same command goes on from here") from error


def _arguments(stage: str, groups: dict[str, list[str]], *more: str) -> list[str]:
    """Return the command line of a stage: the flags that it takes, and more."""
    taken = {flag for group in STAGES[stage].flags for flag in flags_of(group)}
    sections = tuple(f"{section}." for section in STAGES[stage].sections)
    own = {name: tokens for name, tokens in groups.items() if name in taken or name.startswith(sections)}
    return [*_tokens(own), *more]


def _groups(arguments: Sequence[str]) -> dict[str, list[str]]:
    """Group the tokens of a command line by flag, named as `flag_name` does; tokens keep their order."""
    groups: dict[str, list[str]] = {}
    name = ""
    for token in arguments:
        if token.startswith("--"):
            name = flag_name(token)
        elif token == "-h":
            name = token
        groups.setdefault(name, []).append(token)
    return groups


def _without(groups: dict[str, list[str]], *names: str) -> dict[str, list[str]]:
    return {name: tokens for name, tokens in groups.items() if name not in names}


def _tokens(groups: dict[str, list[str]]) -> list[str]:
    return [token for tokens in groups.values() for token in tokens]


if __name__ == "__main__":
    run_stage(main)
