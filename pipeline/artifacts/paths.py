"""Paths as people write them, in flags and in variables: ~ is a home folder, also where no shell has read it."""

import os
from pathlib import Path

from pipeline.config import ConfigError

_LONGEST = 255
"""Most bytes of one name in a path, on every file system that there is."""


def expand_home(text: str) -> str:
    """Return a path with ~ or ~user, if it begins so, as that home folder.

    bash does it itself for `--data-dir ~/x` but not for `--data-dir=~/x`, nor in quotes, nor in a file of settings.

    Raises:
        ConfigError: the path is empty or has a name longer than any file system takes, or there is no such home folder.
    """
    if not text:
        raise ConfigError("a path is empty: give a folder or a file, or leave the flag out")
    found = os.path.expanduser(text)  # noqa: PTH111 - a Path has lost the form in which the text was written
    if found.startswith("~"):
        user = text.partition("/")[0]
        raise ConfigError(f"{text}: there is no home folder {user}; for a file of that name write ./{text}")
    for part in found.split("/"):
        if len(os.fsencode(part)) > _LONGEST:
            raise ConfigError(f"{text[:60]}...: a name in this path has more than {_LONGEST} bytes; shorten it")
    return found


def path_of(text: str) -> Path:
    """Return the path that a person has written; it raises what `expand_home` does."""
    return Path(expand_home(text))


def folder_of_variable(variable: str, default: str) -> Path:
    """Return the path in an environment variable; an empty variable is as one that is not set.

    Raises:
        ConfigError: `expand_home` refuses it; the message names the variable.
    """
    try:
        return path_of(os.environ.get(variable) or default)
    except ConfigError as error:
        raise ConfigError(f"${variable}: {error}") from None
