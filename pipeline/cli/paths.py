"""How flags read paths: every `Path` of a command line, and texts that may be one, with ~ as a home folder."""

from pathlib import Path
from typing import Annotated

from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from pipeline.artifacts.paths import expand_home, path_of

PATHS = ConstructorRegistry()
"""What tyro is given for the type `Path`, so that no flag needs to say more than that."""


@PATHS.primitive_rule
def _path(kind: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
    if kind.type is not Path:
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="PATH",
        instance_from_str=lambda texts: path_of(texts[0]),
        is_instance=lambda value: isinstance(value, Path),
        str_from_instance=lambda path: [str(path)],
    )


def _text(metavar: str, read) -> PrimitiveConstructorSpec:
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=metavar,
        instance_from_str=lambda texts: read(texts[0]),
        is_instance=lambda value: isinstance(value, str),
        str_from_instance=lambda text: [text],
    )


def _named(text: str) -> str:
    name, separator, place = text.partition("=")
    return f"{name}{separator}{expand_home(place)}" if place else text


PathOrName = Annotated[str, _text("STR", expand_home)]
"""A path, or a name or an address in its place."""
SplitFiles = Annotated[str, _text("SPLIT=DIR_OR_GLOB", _named)]
"""The name of a split, and where its files are."""
NamedFiles = Annotated[str, _text("NAME=GLOB", _named)]
"""The name of a feature, and where its files are."""
