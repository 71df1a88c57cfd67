"""Masked statistics against NumPy, video by video."""

import numpy as np
import pytest

from pipeline.models.average import Average

FRAMES = np.random.default_rng(0).normal(size=(3, 6, 4)).astype(np.float32)
COUNTS = (6, 1, 4)
MASK = (np.arange(6) < np.array(COUNTS)[:, None]).astype(np.float32)


def test_mean_of_the_valid_frames():
    expected = [video[:count].mean(axis=0) for video, count in zip(FRAMES, COUNTS)]
    np.testing.assert_allclose(np.asarray(Average()(FRAMES, MASK)), expected, rtol=1e-5, atol=1e-6)


def test_mean_deviation_and_maximum():
    got = np.asarray(Average(statistics="mean_std_max")(FRAMES, MASK))
    for row, video, count in zip(got, FRAMES, COUNTS):
        valid = video[:count]
        expected = np.concatenate([valid.mean(axis=0), np.sqrt(valid.var(axis=0) + 1e-6), valid.max(axis=0)])
        np.testing.assert_allclose(row, expected, rtol=1e-5, atol=1e-6)


def test_a_video_without_frames_is_zero():
    assert not np.asarray(Average()(FRAMES, np.zeros_like(MASK))).any()


def test_other_statistics_are_refused():
    with pytest.raises(ValueError, match="mean_std_max, not 'median'"):
        Average(statistics="median")
