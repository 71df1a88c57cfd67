"""The stages in their order, and what each takes: flags that others have too, and sections of the experiment."""

from typing import NamedTuple

from pipeline.cli.flags import Anew, Choice, Common, Indexing, Parallel, Reading, Submitted

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
"""Parts of an experiment that flags can override, as `--<section>.<field>`."""


class Stage(NamedTuple):
    """What the command line of a stage has, beside flags of its own."""

    flags: tuple[type[Choice], ...]
    """Groups of `pipeline.cli.flags`, which its own `Flags` are derived from."""
    sections: tuple[str, ...] = ()


STAGES: dict[str, Stage] = {
    "run_all": Stage((Reading, Indexing, Parallel, Anew, Submitted), SECTIONS),
    "synthesize": Stage((Common, Parallel, Anew), ("dataset", "synthesis")),
    "download": Stage((Common,)),
    "ingest": Stage((Common, Indexing, Parallel, Anew), ("dataset",)),
    "train": Stage((Reading, Anew), ("dataset", "sampling", "pooling", "classifier", "training", "inference")),
    "soup": Stage((Reading,), ("dataset", "inference")),
    "infer": Stage((Reading,), ("dataset", "inference")),
    "ensemble": Stage((Common,), ("dataset", "ensemble")),
    "submit": Stage((Common, Submitted), ("dataset", "submission")),
    "evaluate": Stage((Common,), ("dataset",)),
    "report": Stage((Reading,), ("dataset",)),
    "export": Stage((Reading,), ("dataset", "inference")),
    "predict": Stage((Common,), ("inference",)),
    "cost": Stage((Choice,)),
}
