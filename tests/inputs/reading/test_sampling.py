"""Which frames each method takes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import DatasetConfig, FeatureConfig, SamplingConfig
from pipeline.inputs.reading.sampling import (
    choose_for_all,
    choose_frames,
    distinct_samplings,
    sampled_length,
    split_samples,
)

videos = st.lists(st.integers(1, 400), min_size=1, max_size=5)


def chosen(method: str, num_frames: list[int], length: int, rng=None) -> list[list[int]]:
    """What is read of each video, as lists."""
    indices, counts = choose_frames(method, np.array(num_frames, np.int32), length, rng)
    assert indices.dtype == counts.dtype == np.int32
    assert indices.shape == (len(num_frames), length) and counts.shape == (len(num_frames),)
    return [row[:count].tolist() for row, count in zip(indices, counts)]


@given(videos, st.integers(1, 300))
def test_uniform_is_the_papers_formula(videos, length):
    expected = [[int(np.floor(k * frames / length)) for k in range(length)] for frames in videos]
    assert chosen("uniform", videos, length) == expected


def test_uniform_repeats_the_frames_of_a_short_video_and_thins_a_long_one():
    assert chosen("uniform", [3, 6], 6) == [[0, 0, 1, 1, 2, 2], [0, 1, 2, 3, 4, 5]]
    assert chosen("uniform", [6], 3) == [[0, 2, 4]]


@given(videos, st.integers(1, 300))
def test_all_takes_every_frame_and_spreads_a_long_video_over_its_length(videos, length):
    every = [list(range(frames)) for frames in videos]
    spread = chosen("uniform", videos, length)
    expected = [few if len(all) > length else all for all, few in zip(every, spread)]
    assert chosen("all", videos, length) == expected


def test_a_video_of_any_length():
    most = 1 << 20
    for method in ("uniform", "all"):
        assert chosen(method, [most, most - 1], most)[0] == list(range(most))
    (row,) = chosen("all", [100_000], 300)
    assert row == [k * 100_000 // 300 for k in range(300)]


UNIFORM, FEWER, ALL = SamplingConfig(frames=5), SamplingConfig(frames=3), SamplingConfig(evaluation="all")


@pytest.mark.parametrize("level", ["frame", "video"])
def test_several_evaluations_are_each_given_their_own_frames(level):
    """In one batch, each frame where it is asked for, as if each were read by itself."""
    dataset = DatasetConfig("d", (FeatureConfig("rgb", 2),), 3, level=level, max_frames=6)
    samplings = distinct_samplings([ALL, UNIFORM, SamplingConfig(frames=9, evaluation="all"), FEWER, UNIFORM])
    assert samplings[:2] == [UNIFORM, FEWER] and len(samplings) == 3 and samplings[2].evaluation == "all"
    num_frames = np.array([1, 4, 6, 50] if level == "frame" else [1, 1])
    chosen, counts = choose_for_all(samplings, num_frames, dataset)
    inputs = {"frames": chosen[:, :, None], "num_frames": counts}
    for sampling, own in zip(samplings, split_samples(inputs, samplings, dataset), strict=True):
        method = sampling.evaluation
        rows, count = choose_frames(method, num_frames, sampled_length(method, sampling, dataset))
        np.testing.assert_array_equal(own["num_frames"], count)
        valid = np.arange(rows.shape[1]) < count[:, None]
        np.testing.assert_array_equal(own["frames"][..., 0][valid], rows[valid])
        assert own["num_frames"].dtype == np.int32


@given(videos, st.integers(1, 300), st.integers(0, 9))
def test_random_frames_are_valid_ascending_many_enough_and_drawn_video_by_video(videos, length, seed):
    rows = chosen("random_frames", videos, length, np.random.default_rng(seed))
    again = np.random.default_rng(seed)
    for row, frames in zip(rows, videos):
        assert len(row) == length
        assert (np.diff(row) >= 0).all()
        assert 0 <= min(row) <= max(row) < frames
        assert row == sorted(again.integers(0, frames, length).tolist())


@given(videos, st.integers(1, 300), st.integers(0, 9))
def test_a_random_sequence_is_consecutive_and_drawn_video_by_video(videos, length, seed):
    rows = chosen("random_sequence", videos, length, np.random.default_rng(seed))
    again = np.random.default_rng(seed)
    for row, frames in zip(rows, videos):
        assert len(row) == min(frames, length)
        assert (np.diff(row) == 1).all()
        assert 0 <= row[0] <= row[-1] < frames
        assert row[0] == again.integers(0, max(frames - length, 0) + 1)


def test_random_methods_reach_every_frame():
    rng = np.random.default_rng(0)
    for method in ("random_frames", "random_sequence"):
        seen = np.concatenate(chosen(method, [8] * 200, 5, rng))
        assert set(seen) == set(range(8)), method


def test_random_methods_refuse_to_evaluate():
    with pytest.raises(ValueError, match="evaluation takes uniform or all"):
        choose_frames("random_frames", np.array([5]), 3)


def test_a_batch_has_one_length():
    dataset = DatasetConfig("d", (FeatureConfig("rgb", 4),), 3, max_frames=10)
    sampling = SamplingConfig(frames=6)
    assert sampled_length("uniform", sampling, dataset) == 6
    assert sampled_length("all", sampling, dataset) == 10
    video = DatasetConfig("d", (FeatureConfig("mean_rgb", 4, "float32"),), 3, level="video")
    assert sampled_length("uniform", sampling, video) == 1
