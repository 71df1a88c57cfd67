"""Class numbers for labels: by a vocabulary, by an earlier pack, as the numbers that they are, or by frequency."""

import difflib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipeline.config.errors import StageError
from pipeline.config.ranges import MOST_CLASSES

_WHOLE = re.compile(r"[+-]?[0-9]+(\.0+)?")
_DECIMAL = re.compile(r"[+-]?([0-9]*\.[0-9]+|[0-9]+\.?)([eE][+-]?[0-9]+)?")


@dataclass(frozen=True)
class Classes:
    """The classes that labels stand for."""

    names: list[str]
    of: np.ndarray
    """The class of each label, int32 [labels]; -1 for a label that no video bears and that is no class then."""
    numbered: bool
    """Whether the labels were class numbers already."""


def number_classes(
    labels: list[str],
    counts: np.ndarray,
    where: Callable[[int], str],
    *,
    vocabulary: list[str] | None,
    known: list[str] | None,
    keep_all: bool,
) -> Classes:
    """Return a class for each label.

    Args:
        labels: as they are written, each once.
        counts: how many videos bear each, int [labels].
        where: tells where a label stands, for messages.
        vocabulary: names of the classes by number, if given; labels are names in it, or else class numbers.
        known: names of the classes of an earlier pack, which keep their numbers; new ones follow.
        keep_all: whether a label that no video bears is a class all the same.

    Raises:
        StageError: a label is not in the vocabulary, a number is negative, beyond the vocabulary or no whole one, or
            there are too many classes.
    """
    if vocabulary is not None:
        if known is not None and vocabulary[: len(known)] != known:
            raise StageError(
                "the vocabulary must begin with the classes of the earlier pack, in their order; add new ones at its "
                "end, or pack under another name"
            )
        return _by_vocabulary(labels, vocabulary, where)
    known = known or []
    of = {name: number for number, name in enumerate(known)}
    numbers = _numbers(labels, where) if {*labels} - of.keys() else None
    are_numbers = known == [str(number) for number in range(len(known))]
    if numbers is not None and are_numbers and (known or _without_gap(numbers)):
        return _as_numbers(labels, numbers, known, where)
    new = [i for i, label in enumerate(labels) if label not in of and (keep_all or counts[i])]
    new.sort(key=lambda i: (-counts[i], labels[i]))
    names = [*known, *(labels[i] for i in new)]
    _refuse_too_many(len(names), lambda: where(new[-1]))
    of.update({labels[i]: len(known) + place for place, i in enumerate(new)})
    return Classes(names, np.array([of.get(label, -1) for label in labels], np.int32), numbered=False)


def twins(names: list[str]) -> list[str]:
    """Return a remark for classes whose names differ in case, spaces or forms of letters alone: five at most."""
    alike: dict[str, list[str]] = defaultdict(list)
    for name in names:
        alike["".join(unicodedata.normalize("NFKC", name).casefold().split())].append(name)
    found = [group for group in alike.values() if len(group) > 1]
    return [
        f"{' and '.join(map(ascii, group))} are different classes; if they are one, write them alike"
        for group in found[:5]
    ]


def _numbers(labels: list[str], where: Callable[[int], str]) -> list[int] | None:
    """Return labels as whole numbers, or None if they are names; numbers that cannot be classes are refused."""
    if not all(_DECIMAL.fullmatch(label) for label in labels):
        return None
    for place, label in enumerate(labels):
        if not _WHOLE.fullmatch(label):
            raise StageError(
                f"{where(place)}: the label {label!r} is a decimal number, which stands for no class; name the column "
                "of the labels with --label-column"
            )
    numbers = [int(label.partition(".")[0][:4000]) for label in labels]
    if numbers and min(numbers) < 0:
        place = next(place for place, number in enumerate(numbers) if number < 0)
        raise StageError(
            f"{where(place)}: the label {labels[place]} is negative, and classes are numbered from 0; leave the cell "
            "of a video without labels empty, or write names"
        )
    return numbers


def _without_gap(numbers: list[int]) -> bool:
    return sorted({*numbers}) == list(range(len({*numbers})))


def _by_vocabulary(labels: list[str], vocabulary: list[str], where: Callable[[int], str]) -> Classes:
    of = {name: number for number, name in enumerate(vocabulary)}
    if len(of) < len(vocabulary):
        twice = next(name for number, name in enumerate(vocabulary) if of[name] != number)
        raise StageError(f"the vocabulary has two classes named {twice!r}; give each a name of its own")
    strange = [place for place, label in enumerate(labels) if label not in of]
    if not strange:
        return Classes(list(vocabulary), np.array([of[label] for label in labels], np.int32), numbered=False)
    if (numbers := _numbers(labels, where)) is not None:
        for place, number in enumerate(numbers):
            if number >= len(vocabulary):
                raise StageError(
                    f"{where(place)}: class {labels[place]} is beyond the vocabulary, whose {len(vocabulary)} classes "
                    f"are numbered from 0 to {len(vocabulary) - 1}; give the vocabulary of these labels"
                )
        return Classes(list(vocabulary), np.array(numbers, np.int32), numbered=True)
    label = labels[strange[0]]
    near = difflib.get_close_matches(label, vocabulary[:100_000], n=1)
    raise StageError(
        f"{where(strange[0])}: {label[:60]!r} is not in the vocabulary{f' (nearest: {near[0]!r})' if near else ''}; "
        "write the label as the vocabulary has it, or add it there"
    )


def _as_numbers(labels: list[str], numbers: list[int], known: list[str], where: Callable[[int], str]) -> Classes:
    """Numbers stay what they are; of an earlier pack's, those between that no video bears become classes too."""
    most = max(numbers, default=-1)
    _refuse_too_many(most + 1, lambda: where(numbers.index(most)))
    names = [*known, *map(str, range(len(known), most + 1))]
    return Classes(names, np.array(numbers, np.int32), numbered=True)


def _refuse_too_many(count: int, where: Callable[[], str]) -> None:
    if count > MOST_CLASSES:
        raise StageError(
            f"{where()}: with this label there are {count:,} classes, and there may be {MOST_CLASSES:,}; name the "
            "column of the labels with --label-column"
        )
