"""Types of flags whose help says what may be given: families, presets, and values that may be left out."""

import types
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from pipeline.config import POOLING
from pipeline.presets import presets

_METAVARS: dict[Any, str] = {str: "STR", int: "INT", float: "FLOAT", Path: "PATH"}


def _among(names: str) -> Any:
    return tyro.conf.arg(help_behavior_hint=f"(among: {names})")


_FAMILIES = ", ".join(POOLING)
Family = Annotated[str | None, _among(_FAMILIES)]
"""The name of a pooling family."""
Families = Annotated[str | None, _among(_FAMILIES)]
"""Names of pooling families, separated by commas."""
FamilyNames = Annotated[tuple[str, ...], _among(_FAMILIES)]
"""Names of pooling families, each an argument."""
Preset = Annotated[
    str, tyro.conf.arg(help_behavior_hint=lambda default: f"(default: {default}; there are: {', '.join(presets())})")
]
"""The name of a preset, or the path of a file."""


def optional_values() -> ConstructorRegistry:
    """Return the rule by which a value that may be left out is shown by its type alone; `None` leaves it out."""
    registry = ConstructorRegistry()

    @registry.primitive_rule
    def optional(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
        if get_origin(info.type) not in (Union, types.UnionType) or type(None) not in get_args(info.type):
            return None
        (kind, *others) = [each for each in get_args(info.type) if each is not type(None)]
        kind = get_args(kind)[0] if get_origin(kind) is Annotated else kind
        if others or kind not in _METAVARS:
            return None
        return PrimitiveConstructorSpec(
            nargs=1,
            metavar=_METAVARS[kind],
            instance_from_str=lambda given: None if given == ["None"] else kind(given[0]),
            is_instance=lambda value: value is None or isinstance(value, kind),
            str_from_instance=lambda value: [str(value)],
        )

    return registry
