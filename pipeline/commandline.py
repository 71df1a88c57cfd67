"""From a command line to a stage's settings: the preset, then what the flags override."""

import argparse
import dataclasses
import importlib
import importlib.util
import os
import pkgutil
import select
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, ClassVar

import tyro

from pipeline.artifacts import Places, StageError
from pipeline.config import POOLING, Checked, ConfigError, Experiment, check_fit, one_of

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
"""Parts of an experiment that flags can override, as `--<section>.<field>`; a stage takes those that it reads."""


@dataclasses.dataclass(frozen=True)
class Choice(Checked):
    """Flags of every command."""

    preset: str = "demo"
    """An experiment: a name from pipeline/presets, or the path of a file like those."""

    @classmethod
    def flag(cls, name: str) -> str:
        return f"--{name.replace('_', '-')}"


@dataclasses.dataclass(frozen=True)
class Common(Choice):
    """Flags of every stage."""

    data_dir: Path = dataclasses.field(default_factory=lambda: Places.from_environment().data_dir)
    """Where datasets lie; also $PIPELINE_DATA."""
    runs_dir: Path = dataclasses.field(default_factory=lambda: Places.from_environment().runs_dir)
    """Where runs lie; also $PIPELINE_RUNS."""
    submissions_dir: Path = dataclasses.field(default_factory=lambda: Places.from_environment().submissions_dir)
    """Where submissions lie; also $PIPELINE_SUBMISSIONS."""
    reports_dir: Path = dataclasses.field(default_factory=lambda: Places.from_environment().reports_dir)
    """Where reports lie; also $PIPELINE_REPORTS."""

    verifies: ClassVar[bool] = False
    """Whether every shard is to be verified when it is opened: a flag of the stages that open any, see `Reading`."""

    @property
    def places(self) -> Places:
        return Places(self.data_dir, self.runs_dir, self.submissions_dir, self.reports_dir)

    @property
    def preset_name(self) -> str:
        return Path(self.preset).stem if self.preset.endswith(".py") else self.preset


@dataclasses.dataclass(frozen=True)
class Reading(Common):
    """Flags of the stages that read frames."""

    verify_shards: bool = False
    """Verify the checksum of every record of a shard when the shard is first opened. Without it: only where the file
    has another time than when it was indexed."""

    @property
    def verifies(self) -> bool:
        return self.verify_shards


def presets() -> dict[str, str]:
    """Names of the presets that come with the pipeline, and the first line of each."""
    import pipeline.presets as package

    names = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    return {name: first_line(Path(package.__path__[0]) / f"{name}.py") for name in names}


def first_line(path: Path) -> str:
    """The first line of a module's docstring, without importing it."""
    return path.read_text(encoding="utf-8").removeprefix('"""').splitlines()[0].removesuffix('"""')


def load_preset(preset: str) -> ModuleType:
    """A preset's module: MODELS, the models that `run_all` trains, and `experiment(model) -> Experiment`."""
    if preset.endswith(".py"):
        spec = importlib.util.spec_from_file_location(Path(preset).stem, preset)
        if not Path(preset).is_file() or spec is None or spec.loader is None:
            raise ConfigError(f"there is no preset file {preset}")
        module = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            raise ConfigError(f"preset {preset} cannot be loaded: {_reason(error)}") from error
    else:
        one_of(preset, presets(), "preset")
        module = importlib.import_module(f"pipeline.presets.{preset}")
    for name in ("MODELS", "experiment"):
        if not hasattr(module, name):
            raise ConfigError(f"preset {preset} must define {name}; see pipeline/presets/demo.py")
    models = module.MODELS
    if not isinstance(models, tuple | list) or not models or not all(isinstance(name, str) for name in models):
        shown = f"{models!r}: write ({models!r},)" if isinstance(models, str) else repr(models)
        raise ConfigError(f"preset {preset}: MODELS must be a tuple of names of one model or more, not {shown}")
    for model in models:
        one_of(model, POOLING, f"model in MODELS of preset {preset}:")
    return module


def load_experiment(preset: str, model: str | None = None) -> Experiment:
    """A preset's experiment for one model, by default its first; a preset that fails raises ConfigError naming it."""
    module = load_preset(preset)
    model = module.MODELS[0] if model is None else model
    one_of(model, POOLING, "model")
    try:
        experiment = module.experiment(model)
    except Exception as error:
        raise ConfigError(f"preset {preset}, model {model}: {_reason(error)}") from error
    if not isinstance(experiment, Experiment):
        got = "None: does it end with return?" if experiment is None else f"a {type(experiment).__name__}"
        raise ConfigError(f"preset {preset}, model {model}: experiment() must return an Experiment, not {got}")
    if experiment.model.family != model:
        raise ConfigError(f"preset {preset}, model {model}: experiment() returned a model of {experiment.model.family}")
    return experiment


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, ConfigError) else f"{type(error).__name__}: {error}"


def parse(
    flags: type[Choice], sections: Sequence[str], arguments: Sequence[str] | None = None, model: str | None = None
) -> tuple[Any, Experiment]:
    """A stage's own flags, and the experiment with what the command line overrides.

    `--preset` and `--model` come first: they say which fields and which defaults there are. Bad flags end the process
    with a message that names the nearest good ones, as does `--help` with the whole list.

    Args:
        flags: a subclass of Choice, of a stage one of Common, with its own flags.
        sections: names from SECTIONS that the stage reads.
        arguments: by default the process's.
        model: the model whose defaults count; by default that of --model, or the preset's first.

    Raises ConfigError for a value that cannot be; with the pooling's settings also for sections that do not fit.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
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
    parsed = tyro.cli(
        bundle,
        args=arguments,
        prog=f"python -m {_stage_name(flags)}",
        description=_first_paragraph(flags),
    )
    for section in defaults:
        experiment = _with_section(experiment, section, getattr(parsed, section))
    if "pooling" in defaults:  # other stages see a part of what is trained
        check_fit(experiment)
    return parsed.flags, experiment


def run_stage(main: Callable[[], None]) -> None:
    """Run a stage's main function; errors that the user can mend end it with their message.

    The status is 2 for settings that cannot be, as for unknown flags, and else 1: also, without a message, at the end
    of what reads its output, `head` for one.
    """
    try:
        try:
            main()
        finally:
            sys.stdout.flush()
    except (StageError, ConfigError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, ConfigError) else 1)
    except BrokenPipeError:
        if not _output_is_cut():
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python writes the rest there when it ends
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit("stopped; the same command goes on from here")


def _output_is_cut() -> bool:
    """Whether the standard output is a pipe that nobody reads from any more."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(events & select.POLLERR for _, events in poll.poll(0))


def flag_name(token: str) -> str:
    """The flag that a token of a command line gives: without dashes before it, `=value`, `no-`, and with - for _."""
    section, dot, name = token.removeprefix("--").partition("=")[0].replace("_", "-").rpartition(".")
    return section + dot + name.removeprefix("no-")


def override_flags(section: str, old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Flags that make the new settings of a section from the old ones."""
    tokens = []
    for name, value in new.items():
        if name in old and old[name] == value:
            continue
        dashed = name.replace("_", "-")
        if isinstance(value, bool):
            tokens.append(f"--{section}.{'' if value else 'no-'}{dashed}")
        else:
            tokens += [f"--{section}.{dashed}", *map(str, value if isinstance(value, list) else [value])]
    return tokens


def pooling_flags(family: str) -> list[str]:
    """The flags of a family's own settings, as `flag_name` gives them."""
    return [f"pooling.{field.name.replace('_', '-')}" for field in dataclasses.fields(POOLING[family])]


def _check_pooling(arguments: Sequence[str], family: str) -> None:
    """Refuse a pooling setting that another family has and this one has not, naming both."""
    for argument in arguments:
        others = [other for other in POOLING if flag_name(argument) in pooling_flags(other)]
        if argument.startswith("--") and others and family not in others:
            raise ConfigError(f"{argument} is a setting of {', '.join(others)}; the model is {family}: see --model")


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
