"""How messages say numbers of things, and the first few of many."""

from collections.abc import Sequence


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun: 1 video, 2 videos; a plural that is not made by an s is given."""
    return f"{number} {noun if number == 1 else plural or f'{noun}s'}"


def listed(words: Sequence[str], most: int = 5, count: int | None = None) -> str:
    """Return the first words in a row: a, b, ...; `count` is their number, where only the first of them are given."""
    shown = words[:most]
    return ", ".join(shown) + ", ..." * ((len(words) if count is None else count) > len(shown))


def first_lines(lines: Sequence[str], most: int, others: str = "and {} more", count: int | None = None) -> list[str]:
    """Return the first lines, and one that says how many others there are, if there are any.

    Args:
        lines: of all things, or of the first of them.
        most: how many are returned, at most.
        others: the last line; their number stands for {}.
        count: the number of things, where only the first lines are given.
    """
    shown = list(lines[:most])
    left = (len(lines) if count is None else count) - len(shown)
    return [*shown, others.format(left)] if left else shown
