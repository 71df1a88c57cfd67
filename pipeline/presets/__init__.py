"""Load a preset, which declares an experiment: one of the files here, or a user's own."""

import importlib
import importlib.util
import pkgutil
from pathlib import Path
from types import ModuleType

from pipeline.artifacts.paths import path_of
from pipeline.config import POOLING, ConfigError, Experiment, find_by_name
from pipeline.config.checked import check_value
from pipeline.config.ranges import FolderName


def presets() -> dict[str, str]:
    """Return the names of the presets that come with the pipeline, and the first line of each."""
    import pipeline.presets as package

    names = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    return {name: first_line(Path(package.__path__[0]) / f"{name}.py") for name in names}


def first_line(path: Path) -> str:
    """Return the first line of a module's docstring, without importing the module."""
    return path.read_text(encoding="utf-8").removeprefix('"""').splitlines()[0].removesuffix('"""')


def name_of_preset(preset: str) -> str:
    """Return the name of a preset given by its name or its file: that of the folder of its runs."""
    return path_of(preset).name.removesuffix(".py") if preset.endswith(".py") else preset


def load_preset(preset: str) -> ModuleType:
    """Load a preset's module: MODELS, which `run_all` trains, and `experiment(model) -> Experiment`."""
    if preset.endswith(".py"):
        path, name = path_of(preset), name_of_preset(preset)
        check_value(f"the name of preset {preset}", name, FolderName)
        spec = importlib.util.spec_from_file_location(name, path)
        if not path.is_file() or spec is None or spec.loader is None:
            raise ConfigError(f"there is no preset file {preset}; pipeline/presets/demo.py is an example of one")
        module = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            raise ConfigError(f"preset {preset} cannot be loaded: {_reason(error)}") from error
    else:
        find_by_name(preset, presets(), "preset")
        module = importlib.import_module(f"pipeline.presets.{preset}")
    for name in ("MODELS", "experiment"):
        if not hasattr(module, name):
            raise ConfigError(f"preset {preset} must define {name}; see pipeline/presets/demo.py")
    models = module.MODELS
    if not isinstance(models, tuple | list) or not models or not all(isinstance(name, str) for name in models):
        shown = f"{models!r}: write ({models!r},)" if isinstance(models, str) else repr(models)
        raise ConfigError(f"preset {preset}: MODELS must be a tuple of names of one model or more, not {shown}")
    for model in models:
        find_by_name(model, POOLING, f"model in MODELS of preset {preset}:")
    return module


def load_experiment(preset: str, model: str | None = None) -> Experiment:
    """Return a preset's experiment for a model, by default its first; raise ConfigError with its name if it fails."""
    module = load_preset(preset)
    model = module.MODELS[0] if model is None else model
    find_by_name(model, POOLING, "model")
    try:
        experiment = module.experiment(model)
    except Exception as error:
        raise ConfigError(f"preset {preset}, model {model}: {_reason(error)}") from error
    if not isinstance(experiment, Experiment):
        got = "None: does it end with return?" if experiment is None else f"a {type(experiment).__name__}"
        raise ConfigError(f"preset {preset}, model {model}: experiment() must return an Experiment, not {got}")
    if experiment.model.family != model:
        raise ConfigError(
            f"preset {preset}, model {model}: experiment() returned a model of {experiment.model.family}; "
            "it must return the model that it is given"
        )
    return experiment


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, ConfigError) else f"{type(error).__name__}: {error}"
