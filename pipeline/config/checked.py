"""The base of every configuration: it checks each field against its declared type and range when it is made."""

import functools
import types
import typing
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal, Union

from pipeline.config.errors import ConfigError

LEFT_OUT_AT_DEFAULT = {"left_out_at_default": True}
"""Metadata of a field that was added after version 0.1.0: what is stored lacks it where it has its default, so that
what was made without the field is up to date, and its digest is that of what is made now."""
_WORDS = {bool: "True or False", int: "a whole number", float: "a number", str: "text"}


class CheckedFields:
    """Raises ConfigError if the value of a field has the wrong type or lies outside of the field's range.

    A range is what `Annotated` adds to a type; see `pipeline.config.ranges`. After the single fields, `check_together`
    checks what spans several of them. Errors name a field as on the command line: `<section>.<field-with-dashes>`.
    """

    section: ClassVar[str] = ""

    def __init_subclass__(cls, section: str | None = None) -> None:
        if section is not None:
            cls.section = section

    def __post_init__(self) -> None:
        mine: type = type(self)
        for name, kind in field_types(mine).items():
            check_value(self.flag(name), getattr(self, name), kind)
        self.check_together()

    def check_together(self) -> None:
        """Raise ConfigError if fields contradict each other; subclasses override it."""

    @classmethod
    def flag(cls, name: str) -> str:
        """Return the name of a field on the command line, without the leading dashes."""
        return f"{cls.section}.{name.replace('_', '-')}".lstrip(".")


@functools.cache
def field_types(kind: type) -> dict[str, Any]:
    """Return the declared type of each field of a configuration, ranges included."""
    hints = typing.get_type_hints(kind, include_extras=True)
    return {name: hint for name, hint in hints.items() if typing.get_origin(hint) is not ClassVar}


def check_value(name: str, value: Any, kind: Any) -> None:
    """Raise ConfigError with the first fault of a value that is declared as `kind` and known as `name`."""
    for fault in field_faults(name, value, kind):
        raise ConfigError(fault)


def field_faults(name: str, value: Any, kind: Any) -> Iterator[str]:
    """Yield one message for each way in which a value breaks the declaration of the field `name`."""
    plain, ranges = split_annotation(kind)
    choices = typing.get_args(plain)
    if typing.get_origin(plain) in (Union, types.UnionType):  # the only unions are those with None
        if value is not None:
            yield from field_faults(name, value, next(choice for choice in choices if choice is not types.NoneType))
        return
    if not _has_type(value, plain):
        yield f"{name} must be {_expected(plain, ranges)}, not {_shown(value, plain)}"
        return
    if typing.get_origin(plain) is tuple:
        for place, element in enumerate(value):
            yield from field_faults(f"{name}[{place}]", element, choices[0])
    for each in ranges:
        if not each.allows(value):
            yield f"{name} must be {each}, not {_shown(value, plain)}"


def split_annotation(kind: Any) -> tuple[Any, tuple[Any, ...]]:
    """Split an annotated type into the plain type and its ranges."""
    if typing.get_origin(kind) is Annotated:
        return kind.__origin__, tuple(each for each in kind.__metadata__ if hasattr(each, "allows"))
    return kind, ()


def _has_type(value: Any, kind: Any) -> bool:
    if typing.get_origin(kind) is Literal:
        return any(value == choice and type(value) is type(choice) for choice in typing.get_args(kind))
    if typing.get_origin(kind) is tuple:
        return isinstance(value, tuple)
    if kind in (int, float) and isinstance(value, bool):  # Python takes True for 1
        return False
    return isinstance(value, (int, float) if kind is float else kind)


def _expected(kind: Any, ranges: tuple[Any, ...]) -> str:
    if typing.get_origin(kind) is Literal:
        return "one of " + ", ".join(map(str, typing.get_args(kind)))
    if typing.get_origin(kind) is tuple:
        return "a tuple"
    return " ".join([_WORDS.get(kind) or f"a {kind.__name__}", *map(str, ranges if kind is not str else ())])


def _shown(value: Any, kind: Any) -> str:
    """Format a value for an error message; where a tuple is expected, add the tuple that the user should write."""
    if typing.get_origin(kind) is tuple and not isinstance(value, tuple | str):
        whole = tuple(value) if isinstance(value, list) else (value,)
        return f"{_short(value)}: write {_short(whole)}"
    return _short(value)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:120]}..."
