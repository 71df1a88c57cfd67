"""The stages in their order, with the shared flags and the sections of the experiment that each of them takes."""

from typing import NamedTuple

from pipeline.cli.flags import (
    BaseFlags,
    CommonFlags,
    ForceFlags,
    IngestFlags,
    MediaFlags,
    PlacesFlags,
    PresetFlags,
    ReadingFlags,
    SplitFlags,
    StartFlags,
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
    "submission",
)
"""Sections of an experiment that flags can override, as `--<section>.<field>`."""


class Stage(NamedTuple):
    """What the command line of a stage takes, besides flags of its own."""

    flags: tuple[type[BaseFlags], ...]
    """Groups of `pipeline.cli.flags` that the stage's `Flags` are derived from."""
    sections: tuple[str, ...] = ()
    """Sections of the experiment that its flags can override."""


STAGES: dict[str, Stage] = {
    "run_all": Stage((ReadingFlags, IngestFlags, WorkerFlags, ForceFlags, SplitFlags, StartFlags), SECTIONS),
    "synthesize": Stage((CommonFlags, WorkerFlags, ForceFlags), ("dataset", "synthesis")),
    "download": Stage((CommonFlags,)),
    "extract": Stage((PlacesFlags, WorkerFlags, ForceFlags, MediaFlags)),
    "pack": Stage((PlacesFlags, WorkerFlags, ForceFlags)),
    "ingest": Stage((CommonFlags, IngestFlags, WorkerFlags, ForceFlags), ("dataset",)),
    "train": Stage(
        (ReadingFlags, ForceFlags, StartFlags),
        ("dataset", "sampling", "pooling", "classifier", "training", "inference"),
    ),
    "soup": Stage((ReadingFlags,), ("dataset", "inference")),
    "infer": Stage((ReadingFlags,), ("dataset", "inference")),
    "ensemble": Stage((CommonFlags,), ("dataset", "ensemble")),
    "submit": Stage((CommonFlags, SplitFlags), ("dataset", "submission")),
    "evaluate": Stage((CommonFlags,), ("dataset",)),
    "report": Stage((ReadingFlags,), ("dataset",)),
    "export": Stage((ReadingFlags,), ("dataset", "inference")),
    "predict": Stage((CommonFlags, WorkerFlags, MediaFlags), ("inference",)),
    "cost": Stage((PresetFlags,)),
}
