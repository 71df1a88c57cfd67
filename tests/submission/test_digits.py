"""The digits of confidences are those of Python's own `%g`, for any float32 from 0 to 1."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.submission.digits import NUMBER_WIDTH, write_rows

ONE = 0x3F800000  # the bits of 1.0; those of smaller numbers are smaller


def written(scores) -> list[str]:
    scores = np.ascontiguousarray(scores, np.float32).reshape(-1, 1)
    out = np.empty(len(scores) * (1 + 2 * NUMBER_WIDTH), np.uint8)
    no_ids, ends = np.empty(0, np.uint8), np.zeros(len(scores) + 1, np.int32)
    size = write_rows(out, no_ids, ends, np.zeros(scores.shape, np.int32), scores)
    return [line.removeprefix(",0 ") for line in out[:size].tobytes().decode().splitlines()]


def assert_exact(scores) -> None:
    scores = np.asarray(scores, np.float32)
    expected = [f"{score:g}" for score in scores.tolist()]
    if (found := written(scores)) != expected:  # which of a million: pytest would compare them all
        raise AssertionError([pair for pair in zip(scores.tolist(), found, expected) if pair[1] != pair[2]][:9])


def test_random_bits_and_random_numbers():
    random = np.random.default_rng(0)
    assert_exact(random.integers(0, ONE + 1, 600_000, np.uint32).view(np.float32))
    assert_exact(random.random(400_000, np.float32))


def test_the_numbers_around_every_power_of_ten_and_around_where_digits_round_up_to_one():
    near = [
        float(f"{digits}e{power}") for power in range(-46, 1) for digits in ("1", "9.99999", "9.999995", "1.000005")
    ]
    bits = np.float32(near).view(np.int32)[:, None] + np.arange(-6, 7)
    assert_exact(np.clip(bits, 0, ONE).astype(np.int32).view(np.float32).ravel())


def test_ties_go_to_the_even_digit():
    """An odd number over a power of two ends in a 5 where its decimals end: at the seventh digit that is a tie."""
    ties = [odd / 2**power for power in range(1, 24) for odd in range(1, min(2**power, 6000), 2)]
    assert_exact(ties)
    assert written([0.00048828125 * 3, 2**-7, 1 - 2**-7, 0.5 + 2**-7]) == [
        "0.00146484",
        "0.0078125",
        "0.992188",
        "0.507812",
    ]


def test_the_smallest_numbers_and_the_ends():
    assert_exact(np.arange(3000, dtype=np.uint32).view(np.float32))
    assert_exact((np.arange(3000, dtype=np.uint32) * 2797).view(np.float32))
    assert_exact(np.float32(2.0) ** -np.arange(150))
    assert written([0, 1, 1 + 1e-7, -1e-7, -0.0]) == ["0", "1", "1", "0", "0"]


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=50))
@settings(max_examples=100, deadline=None)
def test_any_number(scores):
    assert_exact(scores)


def test_labels_of_any_length():
    labels = np.array([[0, 9, 10, 99, 100, 3861, 99_999, 10**9, 2**31 - 1]], np.int32)
    out = np.empty(labels.size * 2 * NUMBER_WIDTH + 2, np.uint8)
    size = write_rows(
        out, np.frombuffer(b"ab", np.uint8), np.array([0, 2], np.int32), labels, np.ones(labels.shape, np.float32)
    )
    assert out[:size].tobytes().decode() == "ab," + " ".join(f"{label} 1" for label in labels[0]) + "\n"
