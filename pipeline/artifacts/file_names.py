"""A name of a file for each of many ids, whatever characters they have."""

import re

_LONGEST = 150
"""Bytes of a name; file systems take 255, and what is written beside a file adds to its name."""


class FileNames:
    """Gives each id a name that no other has, on file systems that ignore case too."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def of(self, id: str, suffix: str) -> str:
        """Return the next free name for an id: the id, with _ for all but letters, digits and -._ in it."""
        plain = re.sub(r"[^\w.-]", "_", id).lstrip(".-").encode()[:_LONGEST].decode(errors="ignore") or "_"
        name, number = plain, 1
        while name.casefold() in self._taken:
            number += 1
            name = f"{plain}-{number}"
        self._taken.add(name.casefold())
        return f"{name}{suffix}"
