"""Mixup against its definition, frame by frame."""

import numpy as np
import pytest

from pipeline.training.mixup import draw_pairs, mix_batch


def slow_mix(frames, num_frames, labels, alpha, rng):
    """Frame by frame, with the same draws."""
    partner = rng.permutation(len(frames))
    shares = np.maximum(*(lambda share: (share, 1 - share))(rng.beta(alpha, alpha, len(frames)).astype(np.float32)))
    mixed, mixed_labels = np.zeros(frames.shape), np.zeros(labels.shape)
    for video, (other, share) in enumerate(zip(partner, shares)):
        for t in range(num_frames[video]):
            there = int(np.floor(t * num_frames[other] / num_frames[video]))
            mixed[video, t] = share * frames[video, t] + (1 - share) * frames[other, there].astype(float)
        mixed_labels[video] = share * labels[video] + (1 - share) * labels[other]
    return mixed, mixed_labels


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32])
def test_mixup_against_its_definition(dtype):
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (6, 5, 3)).astype(dtype)
    num_frames = np.array([5, 1, 3, 2, 5, 4])
    frames[np.arange(5) >= num_frames[:, None]] = 0
    labels = (rng.random((6, 4)) < 0.5).astype(np.float32)
    mixed, mixed_labels = mix_batch(frames, num_frames, labels, *draw_pairs(6, 0.4, np.random.default_rng(7)))
    slow, slow_labels = slow_mix(frames, num_frames, labels, 0.4, np.random.default_rng(7))
    assert mixed.dtype == dtype
    # Shares are rounded to 1/256 for bytes: at most 255/512 from there, and half a step from rounding the result.
    # A float16 of up to 256 is rounded by at most a sixteenth.
    np.testing.assert_allclose(mixed, slow, atol={np.uint8: 1.0, np.float16: 0.0626, np.float32: 1e-4}[dtype])
    np.testing.assert_allclose(mixed_labels, slow_labels, atol=1 / 512 if dtype == np.uint8 else 1e-6)
    assert np.abs(mixed - frames).max() > 10, "something was mixed"


def test_mixing_a_video_with_itself_leaves_it():
    frames = np.full((4, 2, 3), 200, np.uint8)
    labels = np.eye(1, 5, 2, dtype=np.float32).repeat(4, 0)
    mixed, mixed_labels = mix_batch(frames, np.full(4, 2), labels, *draw_pairs(4, 1.0, np.random.default_rng(0)))
    np.testing.assert_array_equal(mixed, frames)
    np.testing.assert_allclose(mixed_labels, labels, rtol=1e-6)
