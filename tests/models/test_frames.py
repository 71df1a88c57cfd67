"""Dequantization, columns and masks."""

import numpy as np

from pipeline.models.frames import Feature, FrameMask


def test_bytes_become_the_centres_of_their_bins():
    frames = np.arange(256, dtype=np.uint8).reshape(1, 64, 4)
    got = np.asarray(Feature(1, 2, quantized=True)(frames))
    expected = frames[:, :, 1:3].astype(np.float64) * 4 / 255 + 4 / 512 - 2
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_floats_stay():
    frames = np.random.default_rng(0).normal(size=(2, 1, 5)).astype(np.float32)
    np.testing.assert_array_equal(np.asarray(Feature(2, 3, quantized=False)(frames)), frames[:, :, 2:])


def test_the_mask_marks_the_valid_rows():
    frames = np.zeros((3, 4, 2), np.uint8)
    got = np.asarray(FrameMask()(frames, np.array([4, 0, 2], np.int32)))
    assert got.tolist() == [[1, 1, 1, 1], [0, 0, 0, 0], [1, 1, 0, 0]]
