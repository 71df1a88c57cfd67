"""Numbers of classes, against a slow form, and labels that cannot be classes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.errors import StageError
from pipeline.config.ranges import MOST_CLASSES
from pipeline.packing.labels.classes import number_classes, twins

NAMES = st.lists(st.sampled_from(["a", "b", "c", "d", "7", "é"]), unique=True, max_size=6)


def numbered(labels, counts=None, vocabulary=None, known=None, keep_all=False):
    counts = np.array(counts if counts is not None else [1] * len(labels), int)
    return number_classes(
        labels, counts, lambda place: f"row {place}", vocabulary=vocabulary, known=known, keep_all=keep_all
    )


@given(data=st.data(), keep_all=st.booleans(), known=st.none() | NAMES)
def test_names_are_numbered_by_frequency_after_the_known_ones(data, keep_all, known):
    labels = data.draw(NAMES)
    counts = data.draw(st.lists(st.integers(0, 3), min_size=len(labels), max_size=len(labels)))
    if labels == ["7"]:
        labels = ["b"]
    found = numbered(labels, counts, known=known, keep_all=keep_all)
    kept = {label: count for label, count in zip(labels, counts) if (keep_all or count) and label not in (known or [])}
    assert found.names == (known or []) + sorted(sorted(kept), key=lambda label: -kept[label])
    assert found.of.dtype == np.int32
    for label, number in zip(labels, found.of):
        assert number == (found.names.index(label) if label in found.names else -1)
    assert not found.numbered


@given(st.permutations(range(6)), st.booleans())
def test_numbers_without_a_gap_are_classes(numbers, padded):
    found = numbered([f"{number:02}" if padded else str(number) for number in numbers], [0] * 6)
    assert (found.names, found.of.tolist(), found.numbered) == ([*"012345"], list(numbers), True)


def test_two_ways_to_write_a_number_are_one_class():
    assert numbered(["0", "1", "01", "+1"]).of.tolist() == [0, 1, 1, 1]


def test_numbers_with_a_gap_are_names():
    found = numbered(["3", "10"], [1, 2])
    assert (found.names, found.of.tolist(), found.numbered) == (["10", "3"], [1, 0], False)


def test_numbers_after_numbers_stay_numbers():
    """Those that are left out between are classes without videos."""
    found = numbered(["1", "5"], known=["0", "1", "2"])
    assert (found.names, found.of.tolist(), found.numbered) == ([*"012345"], [1, 5], True)
    assert numbered(["x"], known=["0", "1"]).names == ["0", "1", "x"]
    assert numbered(["0"], known=["x"]).names == ["x", "0"]
    assert numbered([], known=["x"]).names == ["x"]


def test_a_vocabulary_names_labels_or_counts_them():
    assert numbered(["y", "x"], vocabulary=["x", "y", "z"]).of.tolist() == [1, 0]
    found = numbered(["2", "0"], vocabulary=["x", "y", "z"])
    assert (found.names, found.of.tolist(), found.numbered) == (["x", "y", "z"], [2, 0], True)
    assert numbered(["2", "0"], vocabulary=["2", "1", "0"]).of.tolist() == [0, 2]
    assert numbered(["-1", "0.5"], vocabulary=["0.5", "-1"]).of.tolist() == [1, 0]
    assert numbered(["x"], vocabulary=["x", "y"], known=["x"]).names == ["x", "y"]


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        (["0", "-1"], {}, "row 1: the label -1 is negative, and classes are numbered from 0; leave the cell"),
        (["1", "0.5"], {}, "row 1: the label '0.5' is a decimal number, which stands for no class"),
        (["x", "q"], {"vocabulary": ["x", "qq"]}, "row 1: 'q' is not in the vocabulary (nearest: 'qq')"),
        (["0", "2"], {"vocabulary": ["x", "y"]}, "row 1: class 2 is beyond the vocabulary, whose 2 classes are"),
        (["9" * 5000], {"vocabulary": ["x"]}, "row 0: class 999"),
        (["x"], {"vocabulary": ["x", "x"]}, "the vocabulary has two classes named 'x'; give each a name of its own"),
        (["x"], {"vocabulary": ["y", "x"], "known": ["x"]}, "the vocabulary must begin with the classes of"),
        (["999999999"], {"known": ["0"]}, f"row 0: with this label there are 1,000,000,000 classes, and there may be "
         f"{MOST_CLASSES:,}; name the column"),
        ([f"n{i}" for i in range(MOST_CLASSES + 1)], {}, f"there are {MOST_CLASSES + 1:,} classes, and there may be"),
    ],
)  # fmt: skip
def test_labels_that_cannot_be_classes_are_refused(labels, options, message):
    with pytest.raises(StageError) as error:
        numbered(labels, **options)
    assert message in str(error.value)


def test_names_that_look_alike_are_told():
    assert twins(["Dog", "cat", "dog", "d o g"]) == [
        "'Dog' and 'dog' and 'd o g' are different classes; if they are one, write them alike"
    ]
    assert twins(["caf\u00e9", "cafe\u0301"]) != []
    assert twins(["a", "b"]) == []
