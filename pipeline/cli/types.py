"""Types of flags whose help says what may be given: families, presets, and values that may be left out."""

import dataclasses
import types
from typing import Annotated, Any, Union, get_args, get_origin

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from pipeline.config import POOLING
from pipeline.presets import presets


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


def show_optional_values(registry: ConstructorRegistry) -> ConstructorRegistry:
    """Add the rule by which a value that may be left out is shown as its type alone; `None` still leaves it out.

    What the registry says of the type itself counts. Types with choices are shown as tyro does, with None among these.
    """

    @registry.primitive_rule
    def optional(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
        if get_origin(info.type) not in (Union, types.UnionType) or type(None) not in get_args(info.type):
            return None
        (kind, *others) = [each for each in get_args(info.type) if each is not type(None)]
        if others:
            return None
        plain = ConstructorRegistry.get_primitive_spec(PrimitiveTypeInfo.make(kind, info.markers))
        if not isinstance(plain, PrimitiveConstructorSpec) or plain.choices or plain.nargs != 1:
            return None
        return dataclasses.replace(
            plain,
            instance_from_str=lambda given: None if given == ["None"] else plain.instance_from_str(given),
            is_instance=lambda value: value is None or plain.is_instance(value),
            str_from_instance=lambda value: ["None"] if value is None else plain.str_from_instance(value),
        )

    return registry
