"""Values that may be left out: shown by their type alone, and parsed as before."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec

from pipeline.cli.types import Families, Family, show_optional_values
from pipeline.config import POOLING
from pipeline.config.ranges import Count


@dataclass
class Options:
    name: str | None = None
    count: Annotated[int | None, "a range"] = None
    most: Count | None = 3
    path: Path | None = None
    share: float | None = None
    choice: Literal["a", "b"] | None = None
    model: Family = None
    models: Families = None


def parsed(*arguments: str) -> Any:
    return tyro.cli(Options, args=arguments, registry=show_optional_values(ConstructorRegistry()))


def test_what_is_given_has_its_type_and_the_rest_is_none():
    found = parsed("--name", "x", "--count", "3", "--path", "a/b", "--share", "0.5", "--choice", "b", "--most", "None")
    assert found == Options("x", 3, None, Path("a/b"), 0.5, "b")
    assert parsed() == Options()


def test_help_shows_types_and_families(capsys):
    with pytest.raises(SystemExit):
        parsed("--help")
    out = capsys.readouterr().out
    for flag in ("--name STR", "--count INT", "--most INT", "--path PATH", "--share FLOAT", "--model STR"):
        assert f"{flag} " in out
    assert set(POOLING) <= {word.strip("(),") for word in out.split()}


SHOUTED = PrimitiveConstructorSpec(1, "LOUD", lambda given: given[0].upper(), lambda value: True, lambda value: [value])


@dataclass
class Shouting:
    word: Annotated[str, SHOUTED] | None = None
    path: Path | None = None


def test_what_else_is_said_of_the_type_counts(capsys):
    """A constructor of the type's own, and a rule that the registry had before."""
    registry = ConstructorRegistry()

    @registry.primitive_rule
    def rule(info):
        return dataclasses.replace(SHOUTED, metavar="FILE") if info.type is Path else None

    show_optional_values(registry)
    assert tyro.cli(Shouting, args=["--word", "a", "--path", "b"], registry=registry) == Shouting("A", "B")
    with pytest.raises(SystemExit):
        tyro.cli(Shouting, args=["--help"], registry=registry)
    out = capsys.readouterr().out
    assert "--word LOUD" in out and "--path FILE" in out


def test_a_wrong_value_is_named(capsys):
    with pytest.raises(SystemExit) as stopped:
        parsed("--count", "many")
    assert stopped.value.code == 2 and "many" in capsys.readouterr().err
