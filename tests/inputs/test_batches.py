"""Batches: a pure function of seed and step, every video once an epoch, mixup as defined."""

import numpy as np
import pytest
from support import labels_of

from pipeline.config import SamplingConfig
from pipeline.inputs.batches import Draws, TrainBatches, evaluation_batches, mix, multi_hot
from pipeline.inputs.reader import FrameReader

ALL = SamplingConfig(train="all", evaluation="all")


def test_every_epoch_has_every_video_once_in_another_order():
    rows = np.arange(100, 150)
    draws = Draws(rows, batch_size=8, seed=3)
    stream = np.concatenate([draws.step(step) for step in range(25)])  # 200 draws: four epochs
    epochs = stream.reshape(4, 50)
    for epoch in epochs:
        assert sorted(epoch) == rows.tolist()
    assert len({tuple(epoch) for epoch in epochs}) == 4
    assert (Draws(rows, 8, seed=4).step(0) != draws.step(0)).any()


def test_a_batch_larger_than_the_dataset_holds_several_epochs():
    batch = Draws(np.arange(3), batch_size=10, seed=0).step(0)
    assert np.bincount(batch).tolist() in ([4, 3, 3], [3, 4, 3], [3, 3, 4])


@pytest.mark.parametrize("method", ["uniform", "all", "random_frames", "random_sequence"])
def test_a_step_is_the_same_in_every_range(small_index, method):
    reader = FrameReader(small_index)
    draws = Draws(small_index.rows("train"), 8, seed=1)
    sampling = SamplingConfig(train=method, frames=4)
    whole = TrainBatches(reader, draws, range(6), sampling, mixup=0.4)
    rest = TrainBatches(reader, draws, range(4, 6), sampling, mixup=0.4)
    assert len(whole) == 6 and len(rest) == 2
    for (inputs, labels), (again, labels_again) in zip([whole[5], whole[4]], [rest[1], rest[0]]):
        np.testing.assert_array_equal(inputs["frames"], again["frames"])
        np.testing.assert_array_equal(inputs["num_frames"], again["num_frames"])
        np.testing.assert_array_equal(labels, labels_again)
    assert (whole[0][0]["frames"] != whole[1][0]["frames"]).any()


def test_labels_are_those_of_the_videos(small_index):
    draws = Draws(small_index.rows("train"), 8, seed=1)
    _, labels = TrainBatches(FrameReader(small_index), draws, range(1), ALL)[0]
    for row, hot in zip(draws.step(0), labels):
        video = int(small_index.ids_of(np.array([row]))[0][1:])
        assert np.flatnonzero(hot).tolist() == labels_of(video)
    assert set(np.unique(labels)) == {0, 1}


def test_multi_hot():
    hot = multi_hot(np.array([2, 0, 1]), np.array([0, 2, 2, 3]), 4)
    assert hot.tolist() == [[1, 0, 1, 0], [0, 0, 0, 0], [0, 1, 0, 0]]


def test_evaluation_goes_through_the_rows_once_in_their_order(small_index):
    rows = small_index.rows("train")[:10]
    batches = list(evaluation_batches(FrameReader(small_index), rows, ALL, 4))
    assert [count for count, _ in batches] == [4, 4, 2]
    assert all(inputs["frames"].shape[0] == 4 for _, inputs in batches)
    expected, num_frames = FrameReader(small_index).read(rows, 12, lambda _, n: np.arange(n))
    got = np.concatenate([inputs["frames"][:count] for count, inputs in batches])
    np.testing.assert_array_equal(got, expected)
    got = np.concatenate([inputs["num_frames"][:count] for count, inputs in batches])
    np.testing.assert_array_equal(got, num_frames)


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


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_mixup_against_its_definition(dtype):
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (6, 5, 3)).astype(dtype)
    num_frames = np.array([5, 1, 3, 2, 5, 4])
    frames[np.arange(5) >= num_frames[:, None]] = 0
    labels = (rng.random((6, 4)) < 0.5).astype(np.float32)
    mixed, mixed_labels = mix(frames, num_frames, labels, 0.4, np.random.default_rng(7))
    slow, slow_labels = slow_mix(frames, num_frames, labels, 0.4, np.random.default_rng(7))
    assert mixed.dtype == dtype
    # Shares are rounded to 1/256 for bytes: at most 255/512 from there, and half a step from rounding the result.
    np.testing.assert_allclose(mixed, slow, atol=1.0 if dtype == np.uint8 else 1e-4)
    np.testing.assert_allclose(mixed_labels, slow_labels, atol=1 / 512 if dtype == np.uint8 else 1e-6)
    assert np.abs(mixed - frames).max() > 10, "something was mixed"


def test_mixing_a_video_with_itself_leaves_it():
    frames = np.full((4, 2, 3), 200, np.uint8)
    labels = np.eye(1, 5, 2, dtype=np.float32).repeat(4, 0)
    mixed, mixed_labels = mix(frames, np.full(4, 2), labels, 1.0, np.random.default_rng(0))
    np.testing.assert_array_equal(mixed, frames)
    np.testing.assert_allclose(mixed_labels, labels, rtol=1e-6)
