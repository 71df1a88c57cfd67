"""A run that is trained in folds, as a whole: whether its folds fit together, and what they have come to."""

import contextlib
import statistics
from pathlib import Path
from typing import Any

from pipeline.artifacts.done import Done
from pipeline.artifacts.files import read_json, remove_folder, write_json
from pipeline.artifacts.folds import digest_of_folds, fold_folders, is_folded, note_folds
from pipeline.artifacts.locks import locked
from pipeline.artifacts.places import RUN_CONFIG
from pipeline.config import differences
from pipeline.config.errors import StageError
from pipeline.config.monitor import Monitor, key_of, short_title
from pipeline.inputs.index import Index


def other_configs(fold: Path) -> list[Path]:
    """Return the files with the settings of the run's other folds, as far as they are begun."""
    run = fold.parent
    others = [each / RUN_CONFIG for each in fold_folders(run) if each != fold] if is_folded(run) else []
    return [path for path in others if path.exists()]


def check_other_folds(fold: Path, config: dict[str, Any]) -> None:
    """Raise StageError if a fold would be trained with other settings than another fold of its run.

    The number of epochs may differ: the folds go on to more of them one after the other.
    """
    for path in other_configs(fold):
        if changed := differences(_alike(read_json(path)), _alike(config)):
            raise StageError(
                f"{path.parent} was trained with other settings: {'; '.join(changed)}. All folds of a run share them: "
                "give the new run a name of its own with --run NAME, or train all folds anew with --force"
            )


def _alike(config: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that all folds of a run must share."""
    training = {name: value for name, value in config["training"].items() if name != "epochs"}
    return {name: value for name, value in config.items() if name not in ("fold", "inputs")} | {"training": training}


def finish_folds(run: Path, index: Index, monitor: Monitor) -> None:
    """Write summary and done.json of a run whose folds are all trained; print what they score, or which are missing.

    Several processes may do so at a time, for each writes the same.
    """
    note_folds(run, index.folds)
    folds = fold_folders(run)
    done = [
        each if (each := Done.read(fold)) and each.inputs["index"] == index.fold(number).digest else None
        for number, fold in enumerate(folds, 1)
    ]
    if missing := [fold.name for fold, each in zip(folds, done) if each is None]:
        print(f"{run} is not trained to its end: {', '.join(missing)} to go")
        return
    summaries = [read_json(fold / "summary.json") for fold in folds]
    finished = Done({}, {"index": index.digest}, digest_of_folds([each.output for each in done if each]))
    if Done.read(run) != finished:
        write_json(run / "summary.json", {"run": run.name, **_summary(summaries)})
        finished.write(run)
    key = key_of(monitor)
    scores = [score for each in summaries if (score := each["best"].get(key)) is not None]
    told = ""
    if len(scores) == len(folds):
        told = f", hold-out {short_title(monitor)} {statistics.mean(scores):.4f} ± {statistics.stdev(scores):.4f}"
    print(f"{run}: {len(folds)} folds{told}{' (synthetic)' if index.dataset.synthetic else ''}")


def remove_run(run: Path) -> None:
    """Delete a run with all of its folds, if there is one; raises Busy if another process is at work on any of them."""
    if not run.exists():
        return
    with contextlib.ExitStack() as locks:
        for each in (run, *(fold_folders(run) if is_folded(run) else [])):
            locks.enter_context(locked(each))
        print(f"{run} is made again: --force")
        remove_folder(run)


def _summary(folds: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the summary of a run from those of its folds: sums, of steps the most, and the origin of the last."""
    seconds = sum(each["seconds"] for each in folds)
    examples = [(each["examples_per_second"] or 0) * each["seconds"] for each in folds]
    return {
        **{name: folds[0][name] for name in ("family", "synthetic", "batch_size")},
        "folds": len(folds),
        "parameters": sum(each["parameters"] for each in folds),
        "steps": max(each["steps"] for each in folds),
        "seconds": seconds,
        "examples_per_second": sum(examples) / seconds if seconds else None,
        "origin": max((each["origin"] for each in folds), key=lambda origin: origin["ended"]),
    }
