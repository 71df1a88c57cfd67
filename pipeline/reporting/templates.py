"""The templates of pages, and how all of them are rendered."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipeline.reporting import numbers


def templates(filters: Mapping[str, Callable[..., Any]]) -> Environment:
    """Return the templates, which know the filters of numbers and these."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,  # the names of labels, videos and runs are not to be trusted
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= numbers.FILTERS | filters
    return environment
