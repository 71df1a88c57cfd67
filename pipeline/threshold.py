"""Choose from which score on a label is assigned, by class or for all, for a precision, a recall or the best F1.

Reads the hold-out's predictions of runs/<preset>/<run>/, a run or the ensemble; writes thresholds.json there, which
`predict --threshold stored`, `submit --like` and `export` take. Tells what they keep where nothing was chosen.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.artifacts.done import Done, stage_output
from pipeline.artifacts.places import find_run, list_scored
from pipeline.artifacts.predictions import PredictionStore, list_predicted_splits
from pipeline.cli.flags import CommonFlags
from pipeline.cli.opening import open_index
from pipeline.cli.parsing import parse_flags
from pipeline.cli.paths import PathOrName
from pipeline.cli.running import run_stage
from pipeline.cli.stages import STAGES
from pipeline.config import ThresholdConfig, to_dict
from pipeline.config.errors import StageError
from pipeline.config.wording import counted
from pipeline.inference.comparing import best_run
from pipeline.inference.freshness import prediction_store, why_stale
from pipeline.inference.monitor import monitor_of
from pipeline.inference.threshold_choice import HALVES, choose_thresholds, measure, measure_crosswise
from pipeline.inference.thresholds import (
    THRESHOLDS,
    Counts,
    MadeFrom,
    Stored,
    fresh_thresholds,
    holdout_store,
    inputs_of,
)
from pipeline.inputs.index import HOLDOUT, Index
from pipeline.metrics.thresholds import NEVER

_COLUMNS = {
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "macro_precision": "macro P",
    "macro_recall": "macro R",
    "macro_f1": "macro F1",
    "labels": "labels",
}
"""What the table calls each figure."""


@dataclass(frozen=True)
class Flags(CommonFlags):
    run: PathOrName | None = None
    """Run or ensemble to choose for, by name or path; by default the best on the hold-out, as `submit` takes it."""


def main() -> None:
    flags, experiment = parse_flags(Flags, STAGES["threshold"].sections)
    index = open_index(flags, experiment)
    run = find_run(flags.places, flags.preset_name, flags.run) if flags.run else _best(flags, index)
    with stage_output(run / THRESHOLDS, _begun) as work:
        store, splits = holdout_store(run, index), _measured(run, index)
        inputs = inputs_of(run, [HOLDOUT, *splits], index)
        if not work.is_up_to_date(to_dict(experiment.threshold), inputs):
            _choose(work.place, store, index, experiment.threshold, splits, inputs)
    stored = fresh_thresholds(run, index)
    told = stored.made_from.config.describe()
    print(f"{run / THRESHOLDS}: {told}, chosen on {counted(stored.videos, 'video')}")
    for line in _told(stored):
        print(line)
    if index.dataset.synthetic:
        print("SYNTHETIC data: these figures say nothing about real videos")


def _best(flags: Flags, index: Index) -> Path:
    """Return the folder that is best on the hold-out."""
    runs = [run for run in list_scored(flags.places, flags.preset_name) if HOLDOUT in list_predicted_splits(run)]
    if not runs:
        raise StageError(f"no run of preset {flags.preset_name} has predicted the hold-out: run train, or infer")
    return best_run(runs, index, monitor_of(runs))[0]


def _measured(run: Path, index: Index) -> list[str]:
    """Return the labeled splits beside the hold-out that a run has predicted and is up to date on; tell of the rest."""
    splits = []
    for split in index.other_splits():
        if index.labeled(split) and split in list_predicted_splits(run):
            if fault := why_stale(run, split, index):
                print(f"left out: {fault}")
            else:
                splits.append(split)
    return splits


def _choose(
    path: Path,
    store: PredictionStore,
    index: Index,
    settings: ThresholdConfig,
    splits: list[str],
    inputs: dict[str, str],
) -> None:
    """Choose thresholds, measure them, and write both."""
    choice, *halves = choose_thresholds(store, index, settings, *HALVES)
    kept = {HOLDOUT: measure_crosswise(store, index, (halves[0], halves[1]))}
    kept |= {split: measure(prediction_store(path.parent, split), index, split, choice) for split in splits}
    never = choice.by_class >= NEVER
    kinds = (choice.own, never, choice.missed & ~never)
    Stored(
        made_from=MadeFrom(settings, inputs),
        videos=kept[HOLDOUT]["videos"],
        classes=Counts(*(int(np.count_nonzero(each)) for each in kinds)),
        kept=kept,
        shared=choice.shared,
        names=tuple(index.class_names),
        thresholds=tuple(choice.by_class.tolist()),
    ).write(path)


def _begun(path: Path) -> Done | None:
    stored = Stored.read(path)
    return stored.done() if stored else None


def _told(stored: Stored) -> Iterator[str]:
    """Yield the lines that tell how many classes have which threshold, and what the thresholds keep."""
    classes, settings = stored.classes, stored.made_from.config
    shared = "which no score reaches" if stored.shared >= NEVER else f"{stored.shared:.4f}"
    if others := len(stored.thresholds) - classes.own:
        why = "" if settings.shared else f" of fewer than {counted(settings.least_positives, 'video')}"
        yield f"{counted(others, 'class', 'classes')}{why} share one threshold, {shared}"
    if classes.never:
        yield f"{counted(classes.never, 'class', 'classes')} never assigned: no threshold reaches the goal"
    if classes.missed:
        yield f"{counted(classes.missed, 'class', 'classes')} assigned whenever kept: too few of their videos are found"
    yield "what they keep where nothing was chosen; of the hold-out each half by thresholds of the other half:"
    yield f"{'':<14}" + "".join(f"{title:>{_width(title)}}" for title in _COLUMNS.values())
    for split, kept in stored.kept.items():
        yield f"{split:<14}" + "".join(f"{kept[key]:>{_width(title)}.4f}" for key, title in _COLUMNS.items())
    for split, kept in stored.kept.items():
        yield f"{split}: {kept['without']:.0f} of {counted(int(kept['videos']), 'video')} without a label"


def _width(title: str) -> int:
    return max(8, len(title) + 1)


if __name__ == "__main__":
    run_stage(main)
