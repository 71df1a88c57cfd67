"""Bytes of a range: there and back within half a step, and YouTube-8M's as its own formula says."""

import numpy as np
import pytest

from pipeline.config import DatasetConfig, FeatureConfig
from pipeline.inputs.records.quantized import as_floats, dequantize, quantize

RANGES = [(-2, 2), (0, 1), (-0.01, 0.03), (-500, 1e6)]


def test_the_usual_range_is_that_of_youtube8m():
    values = np.random.default_rng(0).normal(size=10_000).astype(np.float32)
    expected = np.rint((values.clip(-2, 2) + 2 - 4 / 512) * 255 / 4).astype(np.uint8)
    np.testing.assert_array_equal(quantize(values, -2, 2), expected)
    np.testing.assert_array_equal(dequantize(expected, -2, 2), expected * np.float32(4 / 255) + np.float32(4 / 512 - 2))


@pytest.mark.parametrize(("minimum", "maximum"), RANGES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_value_comes_back_within_a_bin(minimum, maximum, dtype):
    values = np.linspace(minimum, maximum, 5001).astype(dtype)
    back = dequantize(quantize(values, minimum, maximum), minimum, maximum)
    assert back.dtype == np.float32
    # Half a step; at the ends the centers of the bins lie by 1/512 of the range inside of it.
    np.testing.assert_allclose(back, values, atol=(maximum - minimum) * (1 / 510 + 1e-6))


@pytest.mark.parametrize(("minimum", "maximum"), RANGES)
def test_every_byte_comes_back_as_itself(minimum, maximum):
    every = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(quantize(dequantize(every, minimum, maximum), minimum, maximum), every)


def test_values_beyond_are_clipped_and_halves_are_widened():
    assert quantize(np.array([-9.0, 9.0, np.inf, -np.inf]), -1, 1).tolist() == [0, 255, 255, 0]
    halves = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float16)
    np.testing.assert_array_equal(quantize(halves, -3, 3), quantize(halves.astype(np.float32), -3, 3))


def test_frames_of_several_features_have_each_its_range():
    dataset = DatasetConfig("d", (FeatureConfig("a", 2, minimum=0, maximum=1), FeatureConfig("b", 3)), 3)
    frames = np.random.default_rng(0).integers(0, 256, (2, 4, 5), np.uint8)
    expected = np.concatenate([dequantize(frames[..., :2], 0, 1), dequantize(frames[..., 2:], -2, 2)], axis=-1)
    np.testing.assert_array_equal(as_floats(frames, dataset), expected)
    halves = DatasetConfig("d", (FeatureConfig("a", 5, "float16"),), 3)
    found = as_floats(np.ones((2, 4, 5), np.float16), halves)
    assert found.dtype == np.float32 and (found == 1).all()
