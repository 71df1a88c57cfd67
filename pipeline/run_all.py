"""Run every stage in its turn, from the files to the validated submission and its score.

Reads and writes what the stages do. A stage that is up to date says so and is skipped; a killed run goes on.
"""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Annotated

import tyro

from pipeline.artifacts import StageError
from pipeline.commandline import SECTIONS, Common, load_preset, parse, run_stage
from pipeline.config import POOLING, one_of

_SECTIONS_OF = {
    "synthesize": ("dataset", "synthesis"),
    "ingest": ("dataset",),
    "train": ("sampling", "pooling", "classifier", "training"),
    "infer": ("inference",),
    "ensemble": ("inference",),
    "submit": ("submission",),
    "evaluate": (),
}
_FLAGS_OF = {
    "synthesize": ("workers", "force"),
    "ingest": ("raw", "workers", "max-quarantined", "force"),
    "train": ("force",),
}
_COMMON = ("preset", "data-dir", "runs-dir", "submissions-dir")


@dataclass(frozen=True)
class Flags(Common):
    models: str | None = None
    """Pooling families to train, separated by commas; by default the preset's."""
    raw: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """SPLIT=DIR_OR_GLOB, repeatable: files to index where they are."""
    workers: int | None = None
    """Processes of synthesize and ingest; by default as many as there are processors."""
    max_quarantined: int = 0
    """Bad records that ingest tolerates."""
    force: bool = False
    """Redo what was made with other settings."""


def main() -> None:
    arguments = sys.argv[1:]
    groups = _groups(arguments)
    flags, experiment = parse(Flags, [*SECTIONS] if _asks_help(arguments) else _present(groups), _drop_pooling(groups))
    models = flags.models.split(",") if flags.models else list(load_preset(flags.preset).MODELS)
    overrides = {model: _for_model(groups, one_of(model, POOLING, "model")) for model in models}
    lost = {name for name in groups if name.startswith("pooling.")} - {
        name for own in overrides.values() for name in own
    }
    if lost:
        raise StageError(f"no model of {', '.join(models)} has the settings {', '.join(sorted(lost))}")
    for model, own in overrides.items():  # wrong values are refused before anything runs
        parse(Common, ["pooling"], [*_flatten({"preset": groups.get("preset", [])}), "--model", model, *_flatten(own)])
    if experiment.synthesis and not flags.raw:
        _run("synthesize", groups)
    _run("ingest", groups)
    for model in models:
        _run("train", groups, ["--model", model, *_flatten(overrides[model])])
        _run("infer", groups, ["--model", model])
    _run("ensemble", groups, ["--runs", *models])
    _run("submit", groups)
    _run("evaluate", groups)


def _run(stage: str, groups: dict[str, list[str]], more: Sequence[str] = ()) -> None:
    """One stage in a process of its own, with those of the flags that it takes; its failure ends this process too."""
    taken = (*_COMMON, *_FLAGS_OF.get(stage, ()))
    sections = tuple(f"{section}." for section in _SECTIONS_OF[stage] if section != "pooling")
    own = {name: tokens for name, tokens in groups.items() if name in taken or name.startswith(sections)}
    command = [sys.executable, "-m", f"pipeline.{stage}", *_flatten(own), *more]
    print(f"\n== {stage} {' '.join(more)}".rstrip(), flush=True)
    status = subprocess.run(command).returncode
    if status:
        raise StageError(f"{stage} failed; when it is mended, the same command goes on from here")


def _groups(arguments: Sequence[str]) -> dict[str, list[str]]:
    """Flag name, without dashes and with - for _, -> all its tokens in their order."""
    groups: dict[str, list[str]] = {}
    name = ""
    for token in arguments:
        if token.startswith("--"):
            name = token[2:].partition("=")[0].replace("_", "-").removeprefix("no-")
        groups.setdefault(name, []).append(token)
    return groups


def _flatten(groups: dict[str, list[str]]) -> list[str]:
    return [token for tokens in groups.values() for token in tokens]


def _present(groups: dict[str, list[str]]) -> list[str]:
    return [section for section in SECTIONS if section != "pooling"]


def _drop_pooling(groups: dict[str, list[str]]) -> list[str]:
    """The flags that mean the same for every model."""
    return _flatten({name: tokens for name, tokens in groups.items() if not name.startswith("pooling.")})


def _for_model(groups: dict[str, list[str]], settings: type) -> dict[str, list[str]]:
    """The pooling flags that a family has; several models may each take a part of them."""
    known = {f"pooling.{field.name.replace('_', '-')}" for field in fields(settings)}
    return {name: tokens for name, tokens in groups.items() if name in known}


def _asks_help(arguments: Sequence[str]) -> bool:
    return bool({"-h", "--help"} & set(arguments))


if __name__ == "__main__":
    run_stage(main)
