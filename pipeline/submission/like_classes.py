"""Find the classes that a host's words mean: by their names in the index, or by their numbers."""

import difflib
from collections.abc import Iterable, Sequence

from pipeline.config.wording import listed

SHOWN = 5
"""The most words that a message lists."""


class Classes:
    """The classes of a dataset, by name and by number."""

    def __init__(self, names: Sequence[str]):
        """`names` has one name for each class, all different."""
        self.names = list(names)
        self._by_name = {name: number for number, name in enumerate(names)}
        self._by_number = {str(number): number for number in range(len(names))}

    def table(self, words: Iterable[str]) -> tuple[bool, dict[str, int]]:
        """Return whether the words are names, and not numbers, and the table from such a word to its class.

        They are names if at least as many of them are names as are numbers: names may look like numbers.
        """
        words = set(words)
        by_name = len(words & self._by_name.keys()) >= len(words & self._by_number.keys())
        return by_name, self.table_of(by_name)

    def table_of(self, by_name: bool) -> dict[str, int]:
        """Return the table from the word of a class, a name or a number, to the class."""
        return self._by_name if by_name else self._by_number

    def written(self, by_name: bool) -> list[str]:
        """Return how each class is written."""
        return self.names if by_name else list(self._by_number)

    def listed(self, words: Sequence[str]) -> str:
        """Return the first five of some words that are no classes, each with the name that it may stand for."""
        near = {_loose(name): name for name in self.names}
        return with_near([(word, *_nearest(_loose(word), near)) for word in words[:SHOWN]], len(words))


def with_near(found: Iterable[tuple[str, ...]], count: int) -> str:
    """Return the first of `count` words, each alone or with what is near it, for a message."""
    shown = [f"{word!r} (near: {near[0]!r})" if near else repr(word) for word, *near in found]
    return listed(shown, SHOWN, count)


def _loose(word: str) -> str:
    return " ".join(word.casefold().replace("_", " ").replace("-", " ").split())


def _nearest(word: str, near: dict[str, str]) -> list[str]:
    if word in near:
        return [near[word]]
    return [near[name] for name in difflib.get_close_matches(word, near, n=1, cutoff=0.75)]
