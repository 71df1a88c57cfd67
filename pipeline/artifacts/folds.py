"""Runs that are trained in folds: a folder with a run for each fold, and a file that says how many there are."""

from pathlib import Path

from pipeline.artifacts.done import check_format, digest_json, format_fields
from pipeline.artifacts.files import read_json, remove_folder, remove_leftovers, write_json
from pipeline.artifacts.hidden import visible
from pipeline.config.errors import StageError
from pipeline.config.ranges import MOST_FOLDS

FOLDS = "folds.json"
"""The file that such a run has in place of the settings and the model of a run: `folds`, their number."""
_NAME = "fold-"


def is_folded(run: Path) -> bool:
    """Return whether a run is trained in folds."""
    return (run / FOLDS).exists()


def is_fold(folder: Path) -> bool:
    """Return whether a folder is that of one fold of a run."""
    return folder.name.startswith(_NAME) and is_folded(folder.parent)


def fold_folder(run: Path, number: int) -> Path:
    """Return the folder of a fold, from 1 on: that of a run which holds this fold out and is trained on the others."""
    return run / f"{_NAME}{number}"


def fold_folders(run: Path) -> list[Path]:
    """Return the folders of all folds of a run. Raises StageError if the file that tells their number is damaged."""
    path = run / FOLDS
    values = read_json(path)
    check_format(path, values)
    folds = values.typed("folds", int)
    if folds is None or not 2 <= folds <= MOST_FOLDS:
        raise StageError(f"{path} must have a number of folds from 2 to {MOST_FOLDS}: delete it and run train again")
    return [fold_folder(run, number) for number in range(1, folds + 1)]


def note_folds(run: Path, folds: int) -> None:
    """Write down how many folds a run has; delete those that are more, of another number of folds before.

    What a killed process left of the run's own files is deleted too.
    """
    remove_leftovers(run)
    if is_folded(run) and len(fold_folders(run)) == folds:
        return
    kept = [fold_folder(run, number) for number in range(1, folds + 1)]
    for folder in visible(run, f"{_NAME}*"):
        if folder not in kept:
            remove_folder(folder)
    write_json(run / FOLDS, {**format_fields(), "folds": folds})


def digest_of_folds(digests: list[str]) -> str:
    """Return the digest of a run's models, from those of its folds in their order."""
    return digest_json(digests)
