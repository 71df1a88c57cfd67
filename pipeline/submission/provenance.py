"""The provenance of a result: the code, the packages, the runs, and the commands that reproduce it."""

import platform
import shlex
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pipeline.artifacts.done import Done, digest_json
from pipeline.artifacts.files import read_json
from pipeline.artifacts.folds import fold_folders, is_folded
from pipeline.artifacts.places import RUN_CONFIG, WEIGHTS, is_trained
from pipeline.artifacts.predictions import labels_kept_by, list_predicted_splits
from pipeline.cli.overrides import override_flags
from pipeline.config import Experiment, labels_kept, to_dict
from pipeline.inputs.index import HOLDOUT
from pipeline.presets import load_experiment

_ROOT = Path(__file__).parent.parent.parent
_PACKAGES = ("keras", "tensorflow", "jax", "torch", "numpy", "numba", "pyarrow")
"""Packages that a score may depend on."""

# ---------------------------------------------------------------------------------------------------------- environment


def describe_environment() -> dict[str, Any]:
    """Return the commit, the Python version, the kind of machine and the packages, as JSON values."""
    packages = {}
    for name in _PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            continue
    machine = f"{platform.system()} {platform.machine()}"
    return {"git": git_commit(), "python": platform.python_version(), "machine": machine, "packages": packages}


def git_commit(folder: Path = _ROOT) -> dict[str, Any] | None:
    """Return the commit of a checkout, and whether its files differ; None if the folder is not a checkout."""
    try:
        if Path(_git(folder, "rev-parse", "--show-toplevel")).resolve() != folder.resolve():
            return None  # somewhere inside a checkout of something else
        return {"commit": _git(folder, "rev-parse", "HEAD"), "dirty": bool(_git(folder, "status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    result = subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True)
    return result.stdout.rstrip("\n")


# ---------------------------------------------------------------------------------------------------------- predictions


def describe_run(run: Path, split: str) -> dict[str, Any]:
    """Describe what made a split's predictions: their digest, a blend's recipe, and the runs that it chose among.

    A run has its settings and their hash, its summary with its scores, and the digests of its model and predictions.
    Paths are left out, since they mean nothing on other machines, and so are runs that were deleted.
    """
    predicted = Done.read(run / "predictions" / split)
    about: dict[str, Any] = {"run": run.name, "split": split, "predictions": predicted.output}
    if not is_trained(run):
        recipe = read_json(run / WEIGHTS)
        members = [{key: value for key, value in member.items() if key != "path"} for member in recipe["members"]]
        about["recipe"] = {**recipe, "members": members}
    runs = {member.name: member for member in (run, *_members(run)) if (member / "summary.json").exists()}
    return about | {"runs": {name: _describe_run(member, split) for name, member in runs.items()}}


def _describe_run(run: Path, split: str) -> dict[str, Any]:
    """Describe a trained run, or a bundle, which has only a summary."""
    about: dict[str, Any] = {"summary": read_json(run / "summary.json")}
    if is_trained(run):
        config = _config(run)
        about |= {"config": config, "config_hash": digest_json(config)}
    digests = {"model": Done.read(run), "predictions": Done.read(run / "predictions" / split)}
    return about | {name: done.output for name, done in digests.items() if done}


def _config(run: Path) -> dict[str, Any]:
    """Return the settings that a run was trained with; those of its first fold, with which all share them."""
    return read_json((fold_folders(run)[0] if is_folded(run) else run) / RUN_CONFIG)


def _members(run: Path) -> list[Path]:
    """Return the runs that a blend chose among and that still exist, at their path or beside it; [] for other runs."""
    if is_trained(run):
        return []
    places = [(Path(member["path"]), run.with_name(member["run"])) for member in read_json(run / WEIGHTS)["members"]]
    found = [[folder for folder in either if (folder / "summary.json").exists()] for either in places]
    return [folders[0] for folders in found if folders]


# ------------------------------------------------------------------------------------------------------------- commands


def stage_command_line(stage: str, preset: str, *arguments: str) -> str:
    """Return a command line for a shell; an absolute path of a preset is shortened to the file's name."""
    preset = Path(preset).name if Path(preset).is_absolute() else preset
    return shlex.join(["python", "-m", f"pipeline.{stage}", "--preset", preset, *arguments])


def commands_to_reproduce(run: Path, preset: str, split: str) -> list[str]:
    """Return the commands that make a split's predictions again, with a flag for each setting unlike the preset's.

    Runs keep their names below the preset's folder. A run that was trained with a teacher also needs the teacher's
    predictions of the split train, and one that began --from another needs that one; `train` says so.
    """
    splits = sorted({split, HOLDOUT} & set(list_predicted_splits(run)))
    if is_trained(run):
        return [*_training(run, preset), *_inference(run, preset, splits)]
    if (run / "summary.json").exists():
        bundle = read_json(run / "summary.json")["bundle"]
        return [stage_command_line("infer", preset, "--bundle", bundle, "--split", *splits)]
    members, made_with = _members(run), dict(read_json(run / WEIGHTS)["made_from"]["config"])
    made_with["given"] = list(made_with["given"].values())
    arguments = ["--runs", *made_with.pop("runs"), "--split", *splits]
    preset_says = to_dict(load_experiment(preset).ensemble)
    preset_says["top_k"] = preset_says["top_k"] or labels_kept_by(members)
    arguments += override_flags("ensemble", preset_says, made_with)
    steps = [step for member in members for step in commands_to_reproduce(member, preset, split)]
    return [*dict.fromkeys(steps), stage_command_line("ensemble", preset, *arguments)]


def _training(run: Path, preset: str) -> list[str]:
    config = _config(run)
    if soup := config.get("soup"):
        first, *others = soup["runs"]
        parts = [step for name in soup["runs"] for step in _training(run.with_name(name), preset)]
        arguments = ["--run", first, *(["--runs", *others] if others else []), "--method", soup["method"]]
        return [*parts, stage_command_line("soup", preset, *arguments)]
    experiment = load_experiment(preset, config["model"]["family"])
    arguments = [
        token for section, old, new in _sections(experiment, config) for token in override_flags(section, old, new)
    ]
    arguments = [*arguments, *(["--from", config["from"]] if "from" in config else [])]
    return [stage_command_line("train", preset, "--model", experiment.model.family, "--run", run.name, *arguments)]


def _sections(experiment: Experiment, config: dict[str, Any]) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Return the name of each section that training reads, with the values of the preset and of a run's config."""
    preset = to_dict(experiment)
    both = [(name, preset["model"][name], config["model"][name]) for name in ("pooling", "classifier")]
    return both + [(name, preset[name], config[name]) for name in ("sampling", "training")]


def _inference(run: Path, preset: str, splits: list[str]) -> list[str]:
    experiment = load_experiment(preset)
    kept = labels_kept(experiment.inference.top_k, experiment.dataset.num_classes)
    preset_says = {**to_dict(experiment.inference), "top_k": kept}
    steps: dict[tuple[str, ...], list[str]] = {}
    for split in splits:
        made_with = Done.read(run / "predictions" / split).config
        settings = {name: made_with[name] for name in ("top_k", "videos_per_part") if name in made_with}
        steps.setdefault(tuple(override_flags("inference", preset_says, settings)), []).append(split)
    return [
        stage_command_line("infer", preset, "--run", run.name, "--split", *names, *arguments)
        for arguments, names in steps.items()
    ]
