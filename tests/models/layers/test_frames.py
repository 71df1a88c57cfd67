"""Dequantization, columns and masks."""

import keras
import numpy as np
import pytest

from pipeline.inputs.records.quantized import dequantize
from pipeline.models.layers.frames import LARGEST, Feature, FrameDropout, FrameMask


def test_bytes_become_the_centers_of_their_bins():
    frames = np.arange(256, dtype=np.uint8).reshape(1, 64, 4)
    got = np.asarray(Feature(1, 2, quantized=True)(frames))
    expected = frames[:, :, 1:3].astype(np.float64) * 4 / 255 + 4 / 512 - 2
    np.testing.assert_allclose(got, expected, atol=1e-6)


@pytest.mark.parametrize(("minimum", "maximum"), [(-2.0, 2.0), (0.0, 1.0), (-30.0, 700.0)])
def test_bytes_have_the_range_that_was_quantized(minimum, maximum):
    frames = np.arange(256, dtype=np.uint8).reshape(1, 64, 4)
    layer = Feature(0, 4, True, minimum, maximum)
    got = np.asarray(layer(frames))
    np.testing.assert_allclose(got, dequantize(frames, minimum, maximum), atol=1e-6 * max(-minimum, maximum))
    again = Feature.from_config(layer.get_config())
    np.testing.assert_array_equal(np.asarray(again(frames)), got)


def test_a_layer_of_the_usual_range_is_described_as_before_there_were_others():
    assert Feature(0, 4, True).get_config().keys().isdisjoint({"minimum", "maximum"})


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_float16_is_widened_before_it_is_bounded(dtype):
    frames = np.array([[[65504, -65504, 1e-4, np.inf, -0.1]]], np.float16)
    got = np.asarray(keras.ops.cast(Feature(0, 5, False, dtype=dtype)(frames), "float32"))
    expected = frames.astype(np.float32).clip(-LARGEST, LARGEST)
    np.testing.assert_allclose(got, expected, rtol=0 if dtype == "float32" else 2**-8)


def test_floats_stay():
    frames = np.random.default_rng(0).normal(size=(2, 1, 5)).astype(np.float32)
    np.testing.assert_array_equal(np.asarray(Feature(2, 3, quantized=False)(frames)), frames[:, :, 2:])


def test_the_mask_marks_the_valid_rows():
    frames = np.zeros((3, 4, 2), np.uint8)
    got = np.asarray(FrameMask()(frames, np.array([4, 0, 2], np.int32)))
    assert got.tolist() == [[1, 1, 1, 1], [0, 0, 0, 0], [1, 1, 0, 0]]


@pytest.mark.parametrize("rate", [0.3, 0.999])
def test_frame_dropout_leaves_out_its_share_and_keeps_one(rate):
    keras.utils.set_random_seed(0)
    count = np.array([200, 0, 1, 37, 150] * 20)
    mask = (np.arange(200) < count[:, None]).astype(np.float32)
    got = np.asarray(FrameDropout(rate)(mask, training=True))
    assert set(np.unique(got)) == {0.0, 1.0}
    assert not got[mask == 0].any(), "padding stays padding"
    assert (got.sum(axis=1)[count > 0] >= 1).all(), "no video is left without a frame"
    assert got[count == 200].mean() == pytest.approx(max(1 - rate, 1 / 200), abs=0.03)
    assert (got[0] != got[5]).any(), "each video draws for itself"


def test_frame_dropout_acts_in_training_only():
    mask = np.ones((2, 50), np.float32)
    np.testing.assert_array_equal(np.asarray(FrameDropout(0.5)(mask)), mask)
