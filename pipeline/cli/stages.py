"""The stages in their order, with the shared flags and the sections of the experiment that each of them takes."""

from typing import NamedTuple

from pipeline.cli.flags import (
    BaseFlags,
    CommonFlags,
    EngineFlags,
    ForceFlags,
    IngestFlags,
    MediaFlags,
    PartFlags,
    PlacesFlags,
    PresetFlags,
    ReadingFlags,
    SplitFlags,
    StartFlags,
    ThresholdFlags,
    WorkerFlags,
)

SECTIONS = (
    "dataset",
    "synthesis",
    "sampling",
    "pooling",
    "classifier",
    "training",
    "inference",
    "ensemble",
    "threshold",
    "submission",
)
"""Sections of an experiment that flags can override, as `--<section>.<field>`."""
_IN_A_ROW = tuple(section for section in SECTIONS if section != "threshold")
"""Those of the stages that run_all runs: thresholds are for those who want decisions, and only they know the goal."""


class Stage(NamedTuple):
    """What the command line of a stage takes, besides flags of its own."""

    flags: tuple[type[BaseFlags], ...]
    """Groups of `pipeline.cli.flags` that the stage's `Flags` are derived from."""
    sections: tuple[str, ...] = ()
    """Sections of the experiment that its flags can override."""


STAGES: dict[str, Stage] = {
    "run_all": Stage(
        (ReadingFlags, IngestFlags, WorkerFlags, PartFlags, ForceFlags, SplitFlags, StartFlags), _IN_A_ROW
    ),
    "synthesize": Stage((CommonFlags, WorkerFlags, ForceFlags), ("dataset", "synthesis")),
    "download": Stage((CommonFlags,)),
    "extract": Stage((PlacesFlags, WorkerFlags, PartFlags, ForceFlags, MediaFlags)),
    "pack": Stage((PlacesFlags, WorkerFlags, PartFlags, ForceFlags)),
    "ingest": Stage((CommonFlags, IngestFlags, WorkerFlags, PartFlags, ForceFlags), ("dataset",)),
    "train": Stage(
        (ReadingFlags, ForceFlags, StartFlags, EngineFlags),
        ("dataset", "sampling", "pooling", "classifier", "training", "inference"),
    ),
    "soup": Stage((ReadingFlags,), ("dataset", "inference")),
    "infer": Stage((ReadingFlags, PartFlags), ("dataset", "inference")),
    "ensemble": Stage((CommonFlags,), ("dataset", "ensemble")),
    "threshold": Stage((CommonFlags,), ("dataset", "threshold")),
    "submit": Stage((CommonFlags, SplitFlags, ThresholdFlags), ("dataset", "submission")),
    "evaluate": Stage((CommonFlags,), ("dataset",)),
    "report": Stage((ReadingFlags,), ("dataset",)),
    "export": Stage((ReadingFlags,), ("dataset", "inference")),
    "predict": Stage((CommonFlags, WorkerFlags, ThresholdFlags, MediaFlags), ("inference",)),
    "cost": Stage((PresetFlags,)),
}
