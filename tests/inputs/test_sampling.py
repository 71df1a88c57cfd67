"""Which frames each method takes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import DatasetConfig, FeatureConfig, SamplingConfig
from pipeline.inputs.sampling import frame_indices, sampled_length

lengths = st.integers(1, 400)


@given(lengths, st.integers(1, 300))
def test_uniform_is_the_papers_formula(frames, length):
    expected = [int(np.floor(k * frames / length)) for k in range(length)]
    assert frame_indices("uniform", frames, length).tolist() == expected


def test_uniform_repeats_the_frames_of_a_short_video_and_thins_a_long_one():
    assert frame_indices("uniform", 3, 6).tolist() == [0, 0, 1, 1, 2, 2]
    assert frame_indices("uniform", 6, 3).tolist() == [0, 2, 4]


@given(lengths, st.integers(1, 300))
def test_all_takes_every_frame_up_to_the_length(frames, length):
    assert frame_indices("all", frames, length).tolist() == list(range(min(frames, length)))


@given(lengths, st.integers(1, 300), st.integers(0, 9))
def test_random_frames_are_valid_ascending_and_many_enough(frames, length, seed):
    chosen = frame_indices("random_frames", frames, length, np.random.default_rng(seed))
    assert len(chosen) == length
    assert (np.diff(chosen) >= 0).all()
    assert 0 <= chosen.min() <= chosen.max() < frames


@given(lengths, st.integers(1, 300), st.integers(0, 9))
def test_a_random_sequence_is_consecutive(frames, length, seed):
    chosen = frame_indices("random_sequence", frames, length, np.random.default_rng(seed))
    assert len(chosen) == min(frames, length)
    assert (np.diff(chosen) == 1).all()
    assert 0 <= chosen[0] <= chosen[-1] < frames


def test_random_methods_reach_every_frame():
    rng = np.random.default_rng(0)
    for method in ("random_frames", "random_sequence"):
        seen = np.concatenate([frame_indices(method, 8, 5, rng) for _ in range(200)])
        assert set(seen) == set(range(8)), method


def test_random_methods_refuse_to_evaluate():
    with pytest.raises(ValueError, match="evaluation takes uniform or all"):
        frame_indices("random_frames", 5, 3)


def test_a_batch_has_one_length():
    dataset = DatasetConfig("d", (FeatureConfig("rgb", 4),), 3, max_frames=10)
    sampling = SamplingConfig(frames=6)
    assert sampled_length("uniform", sampling, dataset) == 6
    assert sampled_length("all", sampling, dataset) == 10
    video = DatasetConfig("d", (FeatureConfig("mean_rgb", 4, "float32"),), 3, level="video")
    assert sampled_length("uniform", sampling, video) == 1
