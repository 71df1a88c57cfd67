"""Parse a command line into a stage's own flags and the experiment, with the settings that flags override."""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import tyro

from pipeline.artifacts.done import VERSION
from pipeline.cli.flags import BaseFlags, PresetFlags
from pipeline.cli.overrides import flag_name, pooling_flags
from pipeline.cli.paths import PATHS
from pipeline.cli.types import show_optional_values
from pipeline.config import POOLING, ConfigError, Experiment, check_model_fits_dataset
from pipeline.presets import load_experiment
from pipeline.runtime.backend import check_backend

_REGISTRY = show_optional_values(PATHS)
"""How values of flags are read and shown, where that is not tyro's way."""


def parse_flags(
    flags: type[PresetFlags], sections: Sequence[str], arguments: Sequence[str] | None = None, model: str | None = None
) -> tuple[Any, Experiment]:
    """Return a stage's own flags, and the experiment with the settings that the command line overrides.

    `--preset` and `--model` are read first: they decide which fields and which defaults there are. Unknown flags end
    the process with a message that names the nearest known ones; `--help` ends it with the list of all, `--version`
    with the version.

    Args:
        flags: the stage's `Flags`, a subclass of `PresetFlags` or, where it has places, of `CommonFlags`.
        sections: names from `pipeline.cli.stages.SECTIONS` that the stage reads.
        arguments: the command line; by default that of the process.
        model: the model whose defaults count; by default that of --model, or the preset's first.

    Raises:
        ConfigError: a value is not allowed or, if the pooling's settings are read, sections do not fit each other.
    """
    arguments = _arguments(arguments)
    chooser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    chooser.add_argument("--preset", default=flags.preset)
    chooser.add_argument("--model")
    chosen, _ = chooser.parse_known_args(arguments)
    experiment = load_experiment(chosen.preset, model or chosen.model)
    defaults = {section: value for section in sections if (value := _section(experiment, section)) is not None}
    if "pooling" in defaults:
        _check_pooling(arguments, experiment.model.family)
    bundle = dataclasses.make_dataclass(
        "Arguments",
        [("flags", Annotated[flags, tyro.conf.arg(name="")])]
        + [(section, type(value), dataclasses.field(default=value)) for section, value in defaults.items()],
        frozen=True,
    )
    parsed = _parsed(bundle, flags, arguments)
    check_backend()  # a stage that starts it late would refuse it late
    for section in defaults:
        experiment = _with_section(experiment, section, getattr(parsed, section))
    if "pooling" in defaults:  # other stages see only a part of the settings of a training
        check_model_fits_dataset(experiment)
    return parsed.flags, experiment


def parse_own_flags(flags: type[BaseFlags], arguments: Sequence[str] | None = None) -> Any:
    """Return the flags of a command that follows no preset; it ends for unknown flags as `parse_flags` does.

    Raises ConfigError: a value is not allowed.
    """
    bundle = dataclasses.make_dataclass("Arguments", [("flags", Annotated[flags, tyro.conf.arg(name="")])], frozen=True)
    return _parsed(bundle, flags, _arguments(arguments)).flags


def _arguments(given: Sequence[str] | None) -> list[str]:
    """Return the command line; print the version and end where it asks for that."""
    arguments = list(sys.argv[1:] if given is None else given)
    if "--version" in arguments:
        print(VERSION)
        sys.exit()
    return arguments


def _parsed(bundle: Any, flags: type[BaseFlags], arguments: Sequence[str]) -> Any:
    return tyro.cli(
        bundle,
        args=arguments,
        registry=_REGISTRY,
        prog=f"python -m {_stage_name(flags)}",
        description=_first_paragraph(flags),
    )


def _check_pooling(arguments: Sequence[str], family: str) -> None:
    """Refuse a setting that other pooling families have and this one lacks; the message names both."""
    for argument in arguments:
        others = [other for other in POOLING if flag_name(argument) in pooling_flags(other)]
        if argument.startswith("--") and others and family not in others:
            raise ConfigError(
                f"{argument} is a setting of {', '.join(others)}; the model is {family}: see --model, or leave it out"
            )


def _section(experiment: Experiment, section: str) -> Any:
    return getattr(experiment.model if section in ("pooling", "classifier") else experiment, section)


def _with_section(experiment: Experiment, section: str, value: Any) -> Experiment:
    if section in ("pooling", "classifier"):
        return dataclasses.replace(experiment, model=dataclasses.replace(experiment.model, **{section: value}))
    return dataclasses.replace(experiment, **{section: value})


def _stage_name(flags: type) -> str:
    module = sys.modules[flags.__module__]
    spec = getattr(module, "__spec__", None)  # as `python -m pipeline.train`, the module's own name is __main__
    return spec.name.removesuffix(".__main__") if spec else flags.__module__


def _first_paragraph(flags: type) -> str:
    return (sys.modules[flags.__module__].__doc__ or "").strip()
