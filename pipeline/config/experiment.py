"""An experiment: all settings that a preset declares, and how they are written to JSON and read back."""

import dataclasses
import functools
import json
import typing
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import cattrs
from cattrs.gen import make_dict_structure_fn

from pipeline.config.checked import LEFT_OUT_AT_DEFAULT, CheckedFields, field_types, split_annotation
from pipeline.config.data import DatasetConfig, SynthesisConfig
from pipeline.config.errors import ConfigError, find_by_name
from pipeline.config.model import ClassifierConfig, ModelConfig
from pipeline.config.output import EnsembleConfig, InferenceConfig, SubmissionConfig
from pipeline.config.pooling import POOLING
from pipeline.config.threshold import ThresholdConfig
from pipeline.config.training import SamplingConfig, TrainingConfig

T = TypeVar("T")


@dataclass(frozen=True)
class Experiment(CheckedFields, section=""):
    """Everything that a preset declares, for one model."""

    dataset: DatasetConfig
    model: ModelConfig
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    inference: InferenceConfig = field(default_factory=InferenceConfig)
    ensemble: EnsembleConfig = field(default_factory=EnsembleConfig)
    threshold: ThresholdConfig = field(default_factory=ThresholdConfig)
    submission: SubmissionConfig = field(default_factory=SubmissionConfig)
    synthesis: SynthesisConfig | None = None

    def check_together(self) -> None:
        """Fit the pooling's defaults to the dataset's features; what is declared stays as it is."""
        pooling = self.model.pooling.fitted([feature.size for feature in self.dataset.features])
        object.__setattr__(self, "model", dataclasses.replace(self.model, pooling=pooling))


def to_dict(config: Any) -> dict[str, Any]:
    """Convert a configuration to plain JSON values, without the fields of LEFT_OUT_AT_DEFAULT that have their default.

    Where a field is missing, `from_dict` takes its default.
    """
    return json.loads(json.dumps(config, default=_stored_fields))


def from_dict(kind: type[T], values: dict[str, Any], source: str | Path = "") -> T:
    """Rebuild a configuration from what `to_dict` gave; raise ConfigError with all wrong fields, and `source`."""
    try:
        return _converter().structure(values, kind)
    except (cattrs.BaseValidationError, ConfigError) as error:
        faults = [str(error)]
        if isinstance(error, cattrs.BaseValidationError):
            faults = [fault.removesuffix(" @ $") for fault in cattrs.transform_error(error, format_exception=_reason)]
        raise ConfigError(f"{source or kind.__name__}: {'; '.join(faults)}") from error


def _stored_fields(config: Any) -> dict[str, Any]:
    return {
        field.name: value
        for field in dataclasses.fields(config)
        if (value := getattr(config, field.name)) != field.default
        or not LEFT_OUT_AT_DEFAULT.items() <= field.metadata.items()
    }


def _reason(error: BaseException, kind: type | None) -> str:
    return str(error) if isinstance(error, ConfigError) else cattrs.v.format_exception(error, kind)


def differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    """List the fields in which two configurations differ, as `training.epochs: 5 -> 6`."""
    found = []
    for key in sorted(old.keys() | new.keys()):
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            found += differences(before, after, f"{prefix}{key}.")
        elif before != after:
            found.append(f"{prefix}{key}: {before} -> {after}")
    return found


@functools.cache
def _converter() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True)

    def structure_model(values: dict[str, Any], _: type) -> ModelConfig:
        settings = find_by_name(values["family"], POOLING, "pooling family")
        if unknown := values.keys() - {field.name for field in dataclasses.fields(ModelConfig)}:
            raise ConfigError(
                f"a model has no field {', '.join(sorted(unknown))}; its fields are family, pooling and classifier"
            )
        return ModelConfig(
            family=values["family"],
            pooling=converter.structure(values["pooling"], settings),
            classifier=converter.structure(values["classifier"], ClassifierConfig),
        )

    converter.register_structure_hook_factory(_is_checked, functools.partial(_structure_checked, converter))
    converter.register_structure_hook(ModelConfig, structure_model)
    return converter


def _is_checked(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, CheckedFields)


def _structure_checked(converter: cattrs.Converter, kind: type) -> Callable[[Any, type], CheckedFields]:
    """Return a function that passes values on unchanged, for the configuration to check: cattrs would make 3.7 a 3."""

    def structure_field(value: Any, hint: Any) -> Any:
        plain = split_annotation(hint)[0]
        if isinstance(value, list):
            holds_others = any(map(_is_checked, typing.get_args(plain)))
            return converter.structure(value, plain) if holds_others else tuple(value)
        return value

    def hook(hint: Any) -> Any:
        return cattrs.override(struct_hook=lambda value, _: structure_field(value, hint))

    hooks: dict[str, Any] = {
        name: hook(hint)
        for name, hint in field_types(kind).items()
        if not any(map(_is_checked, (hint, *typing.get_args(hint))))
    }
    structure_fields: Callable[[Any, Any], Any] = make_dict_structure_fn(
        kind, converter, _cattrs_forbid_extra_keys=True, **hooks
    )

    def structure(values: Any, _: type) -> CheckedFields:
        if not isinstance(values, dict):
            raise ConfigError(f"{kind.__name__} is made of the names and values of its fields, not of {values!r}")
        return structure_fields(values, kind)

    return structure
