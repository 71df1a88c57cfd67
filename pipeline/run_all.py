"""Run every stage in its turn, from the files to the validated submission, its score, and the report.

Reads and writes what the stages do. A stage that is up to date says so and is skipped; a killed run goes on.
"""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro

from pipeline.cli.flags import Reading
from pipeline.cli.opening import open_index
from pipeline.cli.overrides import flag_name, pooling_flags
from pipeline.cli.parsing import SECTIONS, parse
from pipeline.cli.running import run_stage
from pipeline.config import POOLING, one_of
from pipeline.config.errors import StageError
from pipeline.config.ranges import Count, OutlierRatio, Workers
from pipeline.presets import load_preset
from pipeline.submission.splits import submitted

_SECTIONS_OF = {
    "synthesize": ("dataset", "synthesis"),
    "ingest": ("dataset",),
    "train": ("dataset", "sampling", "classifier", "training", "inference"),
    "infer": ("dataset", "inference"),
    "ensemble": ("dataset", "ensemble"),
    "submit": ("dataset", "submission"),
    "evaluate": ("dataset",),
    "report": ("dataset",),
}
_FLAGS_OF = {
    "synthesize": ("workers", "force"),
    "ingest": ("raw", "append", "workers", "max-quarantined", "outlier-ratio", "force"),
    "train": ("force", "verify-shards"),
    "infer": ("verify-shards",),
    "submit": ("split",),
    "report": ("verify-shards",),
}
_COMMON = ("preset", "data-dir", "runs-dir", "submissions-dir", "reports-dir")
_WITHOUT_POOLING = tuple(section for section in SECTIONS if section != "pooling")
"""Pooling's settings differ from model to model."""


@dataclass(frozen=True)
class Flags(Reading):
    models: str | None = None
    """Pooling families to train, separated by commas; by default the preset's."""
    raw: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """SPLIT=DIR_OR_GLOB, repeatable: files to index where they are."""
    append: bool = False
    """Index only the files that came since the last time."""
    workers: Workers | None = None
    """Processes of synthesize and ingest; by default as many as there are processors."""
    max_quarantined: Count = 0
    """Bad records that ingest tolerates."""
    outlier_ratio: OutlierRatio = 1000.0
    """Ingest quarantines a video with a float that is so many times the largest value of the median video; 0: none."""
    force: bool = False
    """Make everything anew."""
    split: str | None = None
    """Split to submit; by default test, or the only one that is not trained on."""


def main() -> None:
    groups = _groups(sys.argv[1:])
    whole = {name: tokens for name, tokens in groups.items() if not name.startswith("pooling.")}
    asks_help = {"help", "-h"} & groups.keys()
    flags, experiment = parse(Flags, SECTIONS if asks_help else _WITHOUT_POOLING, _tokens(whole))
    named = [name.strip() for name in flags.models.split(",")] if flags.models else load_preset(flags.preset).MODELS
    models = list(dict.fromkeys(named))
    for model in models:
        one_of(model, POOLING, "model")
    # Of several models each takes the pooling flags that it knows.
    pooling = {
        model: {name: tokens for name, tokens in groups.items() if name in pooling_flags(model)} for model in models
    }
    if foreign := groups.keys() - whole.keys() - set().union(*pooling.values()):
        known = {name: name for model in models for name in pooling_flags(model)}
        one_of(min(foreign), known, f"setting of {', '.join(models)}")
    for model, own in pooling.items():  # wrong values are refused before anything runs
        parse(Flags, SECTIONS, _tokens(whole | own), model)
    # What the last stage would refuse, or the training of the last model, is refused before the first one begins.
    if flags.raw and not flags.append:
        named = dict.fromkeys(item.partition("=")[0] for item in flags.raw)
        _check_submitted([split for split in named if split not in experiment.dataset.train_splits], flags.split)
    if experiment.synthesis and not flags.raw:
        _run("synthesize", whole)
    _run("ingest", whole)
    others = open_index(flags, experiment).other_splits()
    _check_submitted(others, flags.split)
    for model, own in pooling.items():
        _run("train", whole, "--model", model, "--dry-run", *_tokens(own), quiet=True)
    for model, own in pooling.items():
        _run("train", whole, "--model", model, *_tokens(own))
        _run("infer", whole, "--model", model)
    _run("ensemble", whole, "--runs", *models)
    if others:
        _run("submit", whole)
    else:
        print("\nsubmit is left out: there is no split but those that are trained on; see --raw")
    _run("evaluate", whole)
    _run("report", whole)


def _check_submitted(splits: list[str], asked: str | None) -> None:
    """StageError where `submit` could not tell which split is meant; without any there is nothing to submit."""
    if splits or asked:
        submitted(splits, asked)


def _run(stage: str, groups: dict[str, list[str]], *more: str, quiet: bool = False) -> None:
    """One stage in a process of its own, with those of the flags that it takes; its failure ends this process too."""
    taken = (*_COMMON, *_FLAGS_OF.get(stage, ()))
    sections = tuple(f"{section}." for section in _SECTIONS_OF[stage])
    own = {name: tokens for name, tokens in groups.items() if name in taken or name.startswith(sections)}
    if not quiet:
        print(f"\n== {stage} {' '.join(more)}".rstrip(), flush=True)
    command = [sys.executable, "-m", f"pipeline.{stage}", *_tokens(own), *more]
    status = subprocess.run(command, stdout=subprocess.DEVNULL if quiet else None).returncode
    if status:
        raise StageError(f"{stage} failed; when it is mended, the same command goes on from here")


def _groups(arguments: Sequence[str]) -> dict[str, list[str]]:
    """Flag, as `flag_name` gives it -> all its tokens in their order."""
    groups: dict[str, list[str]] = {}
    name = ""
    for token in arguments:
        if token.startswith("--"):
            name = flag_name(token)
        elif token == "-h":
            name = token
        groups.setdefault(name, []).append(token)
    return groups


def _tokens(groups: dict[str, list[str]]) -> list[str]:
    return [token for tokens in groups.values() for token in tokens]


if __name__ == "__main__":
    run_stage(main)
