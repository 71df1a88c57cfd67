"""By which metric the runs of a preset are compared: by the one that they were trained by."""

from collections.abc import Iterable
from pathlib import Path
from typing import get_args

from pipeline.artifacts.files import read_json
from pipeline.artifacts.folds import fold_folders, is_folded
from pipeline.artifacts.places import RUN_CONFIG, WEIGHTS
from pipeline.artifacts.stored_json import StoredObject
from pipeline.config.errors import StageError
from pipeline.config.monitor import Monitor


def monitor_of(runs: Iterable[Path]) -> Monitor:
    """Return the metric that runs, and their blend, were trained and chosen by; gap where they differ.

    A bundle does not say by which. Raises StageError if a file names a metric that there is not.
    """
    named = {monitor for run in runs if (monitor := _monitor_of_run(run))}
    return named.pop() if len(named) == 1 else "gap"


def _monitor_of_run(run: Path) -> Monitor | None:
    if is_folded(run):
        begun = next((fold for fold in fold_folders(run) if (fold / RUN_CONFIG).exists()), None)
        return _monitor_of_run(begun) if begun else None
    if (run / RUN_CONFIG).exists():
        path = run / RUN_CONFIG
        values = read_json(path).typed("training", StoredObject)
    elif (run / "summary.json").exists() or not (run / WEIGHTS).exists():  # a bundle, or nothing yet
        return None
    else:
        path = run / WEIGHTS
        values = read_json(path)
    name = (values.typed("monitor", str) if values else None) or "gap"
    for monitor in get_args(Monitor):
        if name == monitor:
            return monitor
    raise StageError(f"{path} names the metric {name!r}, which this version does not know: make it again")
