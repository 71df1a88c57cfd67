"""Keep two presets of one name apart: a folder of runs belongs to the preset whose runs were trained there first."""

import os
from pathlib import Path

from pipeline.artifacts.files import read_json, remove_leftovers, write_json
from pipeline.artifacts.paths import path_of
from pipeline.config.errors import ConfigError

OWNER = "preset.json"
"""File in runs/<preset>/ that names the preset: its name if it comes with the pipeline, or the path of the user's, seen
from there: a project that is copied or moved as a whole keeps its runs."""


def check_owner(runs: Path, preset: str) -> None:
    """Raise ConfigError if runs/<preset>/ belongs to another preset of this name that is still there.

    A file that has moved keeps its runs: what is not found at its old place any more is no other preset.
    """
    if not (runs / OWNER).exists():
        return
    owner, own = read_json(runs / OWNER).get("preset"), _identity(runs, preset)
    if not isinstance(owner, str) or owner == own:
        return
    if owner.endswith(".py"):
        owner = os.path.normpath(runs.resolve() / owner)
        if not Path(owner).exists():
            return
    raise ConfigError(
        f"{runs} holds the runs of another preset of this name, {owner}, and --preset is {preset}: rename the file, or "
        "choose another --runs-dir"
    )


def note_owner(runs: Path, preset: str) -> None:
    """Write down that runs/<preset>/ belongs to a preset, whose name or file this is."""
    wanted = {"preset": _identity(runs, preset)}
    remove_leftovers(runs, OWNER)  # it may have been killed after the file was whole
    if not (runs / OWNER).exists() or read_json(runs / OWNER) != wanted:
        write_json(runs / OWNER, wanted)


def _identity(runs: Path, preset: str) -> str:
    return os.path.relpath(path_of(preset).resolve(), runs.resolve()) if preset.endswith(".py") else preset
