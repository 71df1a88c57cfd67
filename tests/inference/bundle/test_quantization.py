"""Weights stored coarsely: how far they may move, what is left alone, and what is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.inference.bundle.quantization import LEAST_SIZE, dequantize_weight, quantize_weight, stored_weight_bytes

rng = np.random.default_rng(0)
MATRIX = rng.normal(size=(64, 40)).astype(np.float32) * np.geomspace(1e-3, 1e3, 40, dtype=np.float32)


def there_and_back(values, wanted, trainable=True):
    encoding, stored = quantize_weight(values, trainable, wanted)
    assert len(stored) == stored_weight_bytes(values.shape, encoding)
    back = dequantize_weight(stored, values.shape, encoding)
    assert back.dtype == np.float32 and back.shape == values.shape
    return encoding, back


def test_float32_is_what_it_was():
    assert there_and_back(MATRIX, "float32")[0] == "float32"
    np.testing.assert_array_equal(there_and_back(MATRIX, "float32")[1], MATRIX)


def test_float16_is_rounded_to_eleven_bits():
    encoding, back = there_and_back(MATRIX, "float16")
    assert encoding == "float16"
    np.testing.assert_array_equal(back, np.array([[float(np.float16(v)) for v in row] for row in MATRIX]))


def test_int8_moves_a_value_by_half_a_step_of_its_channel_at_most():
    encoding, back = there_and_back(MATRIX, "int8")
    assert encoding == "int8"
    for channel in range(40):
        step = max(abs(float(value)) for value in MATRIX[:, channel]) / 127
        assert np.abs(back[:, channel] - MATRIX[:, channel]).max() <= step * 0.5001
    assert len(quantize_weight(MATRIX, True, "int8")[1]) == 64 * 40 + 4 * 40


@given(st.sampled_from(["float16", "int8"]), st.integers(0, 2**32 - 1), st.floats(-30, 30))
def test_no_matrix_loses_more_than_its_encoding_may(wanted, seed, magnitude):
    values = np.random.default_rng(seed).standard_t(2, size=(32, 32)).astype(np.float32) * np.float32(10**magnitude)
    encoding, back = there_and_back(values, wanted)
    error = np.linalg.norm(back.astype(np.float64) - values) / np.linalg.norm(values.astype(np.float64))
    assert error <= {"float32": 0, "float16": 2**-10, "int8": 0.2}[encoding]


def test_channels_of_zeros_stay_zeros():
    values = MATRIX.copy()
    values[:, 3] = 0
    np.testing.assert_array_equal(there_and_back(values, "int8")[1][:, 3], 0)
    np.testing.assert_array_equal(there_and_back(np.zeros_like(values), "float16")[1], 0)


@pytest.mark.parametrize("wanted", ["float16", "int8"])
@pytest.mark.parametrize(
    ("values", "trainable"),
    [
        (rng.normal(size=5000), True),  # a vector
        (rng.normal(size=(2, LEAST_SIZE // 2 - 1)), True),  # small
        (MATRIX, False),  # running statistics
    ],
)
def test_what_is_left_alone(wanted, values, trainable):
    encoding, back = there_and_back(values.astype(np.float32), wanted, trainable)
    assert encoding == "float32"
    np.testing.assert_array_equal(back, values.astype(np.float32))


def test_float16_is_not_taken_where_it_overflows_or_vanishes():
    for factor in (1e5, 1e-8):
        assert there_and_back(np.ones((40, 40), np.float32) * np.float32(factor), "float16")[0] == "float32"
    wide = MATRIX.copy()
    wide[5, 5] = 7e4
    np.testing.assert_array_equal(there_and_back(wide, "float16")[1], wide)


def test_scales_that_would_weigh_more_than_they_save_are_not_taken():
    encoding, _ = there_and_back(rng.normal(size=(4, 1000)).astype(np.float32), "int8")
    assert encoding == "float16"


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(bad):
    values = MATRIX.copy()
    values[0, 0] = bad
    with pytest.raises(ValueError, match="not finite"):
        quantize_weight(values, True, "int8")
    with pytest.raises(ValueError, match="not finite"):
        dequantize_weight(values.tobytes(), values.shape, "float32")
    scales = np.full(40, bad, np.float32).tobytes()
    with pytest.raises(ValueError, match="not finite"):
        dequantize_weight(scales + bytes(range(1, 41)) * 64, (64, 40), "int8")


def test_a_number_has_no_channels():
    for shape in ((), (5,), (5, 0)):
        with pytest.raises(ValueError, match="no channels"):
            stored_weight_bytes(shape, "int8")
