"""Flags as text: which setting a flag overrides, and which flags turn some settings into others."""

import dataclasses
import typing
from typing import Any

from pipeline.artifacts.places import Places
from pipeline.config import POOLING


def flag_name(token: str) -> str:
    """Return the flag that a token of a command line sets, without leading dashes, `=value` and `no-`, and _ as -."""
    section, dot, name = token.removeprefix("--").partition("=")[0].replace("_", "-").rpartition(".")
    return section + dot + name.removeprefix("no-")


def override_flags(section: str, old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Return the flags that turn the old settings of a section into the new ones."""
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
    """Return the flags of a family's settings, as `flag_name` gives them."""
    return [f"pooling.{field.name.replace('_', '-')}" for field in dataclasses.fields(POOLING[family])]


def flags_of(group: type) -> set[str]:
    """Return the flags of a group of `pipeline.cli.flags`, those of `Places` included, as `flag_name` gives them."""
    hints = typing.get_type_hints(group, include_extras=True)
    names = {_own_name(hints[field.name]) or field.name for field in dataclasses.fields(group)}
    if "places" in names:
        names = names - {"places"} | {field.name for field in dataclasses.fields(Places)}
    return {name.replace("_", "-") for name in names}


def _own_name(hint: Any) -> str | None:
    """Return the name that a flag has where Python cannot have it, as `tyro.conf.arg` says."""
    return next((name for each in getattr(hint, "__metadata__", ()) if (name := getattr(each, "name", None))), None)
