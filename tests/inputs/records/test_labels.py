"""Numbers of classes, and what is written in their place: vectors, floats, numbers from 1 on."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from reference.records import FRAME, example, in_bytes, in_floats, in_integers

from pipeline.inputs.records.labels import NoClassError, read_labels
from pipeline.inputs.records.parsing import ParseError
from pipeline.inputs.records.wire import messages_by_key


def labels_in(feature: tf.train.Feature | None) -> list[int]:
    payload = example(**({} if feature is None else {"labels": feature}))
    return read_labels(payload, messages_by_key(payload)[0], FRAME).tolist()


@given(st.lists(st.integers(0, FRAME.num_classes - 1), unique=True, max_size=40))
def test_distinct_numbers_are_read_as_they_are(numbers):
    assert labels_in(in_integers(*numbers)) == numbers


@given(st.lists(st.integers(0, 1), min_size=3, max_size=50))
def test_a_vector_of_zeros_and_ones_is_refused(vector):
    reason = f"labels holds {len(vector)} values of 0 and 1, a multi-hot vector: write the indices of the classes"
    for feature in (in_integers(*vector), tf.train.Feature(int64_list=tf.train.Int64List(value=vector))):
        with pytest.raises(ParseError, match=reason):
            labels_in(feature)
    with pytest.raises(ParseError, match=r"labels is a float_list, a multi-hot vector, where integers are declared"):
        labels_in(in_floats(*vector))


def test_labels_that_are_repeated_count_once():
    assert labels_in(in_integers(0, 1)) == [0, 1] and labels_in(in_integers(1, 1)) == [1]
    assert labels_in(in_integers(2, 0, 1, 1, 0, 2)) == [2, 0, 1]
    assert labels_in(None) == labels_in(in_integers()) == labels_in(tf.train.Feature()) == []


@pytest.mark.parametrize(
    ("feature", "reason"),
    [
        (in_integers(1, 4000), "label 4000 is outside 0..3861"),
        (in_integers(-1), "label -1 is outside 0..3861"),
        (in_integers(7, 3862), "label 3862 is outside 0..3861, classes count from 0"),
    ],
)
def test_what_is_no_class_is_named(feature, reason):
    with pytest.raises(NoClassError) as caught:
        labels_in(feature)
    assert str(caught.value) == reason


@pytest.mark.parametrize(
    ("feature", "kind"),
    [
        (in_floats(1), "a float_list"),
        (in_floats(0, 1, 0.5), "a float_list"),
        (in_floats(3, 4, 5, 6), "a float_list"),
        (in_bytes(b"cat", b"dog"), "a bytes_list"),
        (in_bytes(np.eye(12, dtype=np.uint8)[3].tobytes()), "a bytes_list"),
    ],
)
def test_what_is_no_number_is_told_what_to_do(feature, kind):
    with pytest.raises(ParseError) as caught:
        labels_in(feature)
    remedy = "write the indices of the classes as an int64_list"
    assert str(caught.value) == f"labels is {kind} where integers are declared: {remedy}"
