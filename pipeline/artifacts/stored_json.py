"""Read JSON that somebody else may have written: what it asks for is bounded, and what it lacks is told."""

import json
import math
from pathlib import Path
from typing import Any

from pipeline.config.errors import StageError

_INTEGERS = range(-(2**63), 2**63)


class MissingField(StageError, KeyError):
    """A JSON file lacks a field."""

    __str__ = Exception.__str__  # a KeyError shows its message in quotes


class StoredObject(dict[str, Any]):
    """An object of a JSON file; a field that it lacks raises MissingField, which names the file."""

    def __init__(self, path: Path, values: dict[str, Any]):
        super().__init__(values)
        self._path = path

    def typed(self, name: str, *kinds: type) -> Any:
        """Return a field that must be of one of these types, or None if it is missing or null; raises StageError."""
        value = self.get(name)
        if value is None or (isinstance(value, kinds) and not isinstance(value, bool)):
            return value
        wanted = " or ".join(kind.__name__ for kind in kinds)
        raise StageError(
            f"{self._path}: {name} must be {wanted}, not {type(value).__name__}; delete it and run the stage that "
            "writes it"
        )

    def numbers(self, *names: str) -> dict[str, int | float | None]:
        """Return fields that must be numbers, or None where they are missing or null; raises StageError."""
        return {name: self.typed(name, int, float) for name in names}

    def __missing__(self, name: str) -> Any:
        raise MissingField(f"{self._path} lacks {name!r}; delete it and run the stage that writes it")


def parse_json(text: str | bytes, path: Path | None = None, finite: bool = False) -> Any:
    """Parse JSON; with the path of its file, objects are StoredObject.

    Unless `finite`, NaN and Infinity are numbers, as in the scores of a split without labels.

    Raises:
        ValueError: it is no JSON, is nested too deeply, or has a number that neither an int64 nor a float64 holds.
    """
    hook = None if path is None else lambda values: StoredObject(path, values)
    try:
        return json.loads(
            text,
            parse_int=_integer,
            parse_float=_float,
            parse_constant=_no_constant if finite else None,
            object_hook=hook,
        )
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _integer(text: str) -> int:
    if len(text) > 20 or (value := int(text)) not in _INTEGERS:
        raise ValueError(f"the number {text[:20]}... has more than 64 bits")
    return value


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"the number {text[:40]} is too large")
    return value


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not valid JSON")
