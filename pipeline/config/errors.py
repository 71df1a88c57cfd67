"""The errors that a user can mend, and a look-up by name that suggests the nearest one."""

import difflib
from typing import TypeVar

T = TypeVar("T")


class ConfigError(Exception):
    """A setting is wrong; the message names it and the remedy. It is no ValueError, which tyro would frame and wrap."""


class StageError(RuntimeError):
    """A stage cannot go on; the message names the file, what is wrong and the remedy."""


def find_by_name(name: str, valid: dict[str, T], what: str) -> T:
    """Return the value of a name; an unknown name raises ConfigError with the nearest and all valid names."""
    if name in valid:
        return valid[name]
    near = difflib.get_close_matches(name, valid, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise ConfigError(f"unknown {what} {name!r}.{hint} There are: {', '.join(valid)}")
