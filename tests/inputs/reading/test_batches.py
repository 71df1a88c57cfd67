"""Batches of videos that no index knows are those of an index."""

from dataclasses import replace

import numpy as np
import pytest
from fixtures.support import SMALL, frames_of

from pipeline.config import SamplingConfig
from pipeline.inputs.reading.batches import batch_videos, batches_for_all, sample_video
from pipeline.inputs.reading.reader import FrameReader


@pytest.mark.parametrize("frames", [(), (5,), (5, 3)])
@pytest.mark.parametrize("every", [True, False])
def test_batches_are_those_of_an_index(small_index, frames, every):
    """Also of the videos of up to 17 frames, of which 12 are read at most."""
    samplings = [SamplingConfig(frames=number) for number in frames]
    samplings += [SamplingConfig(evaluation="all")] if every or not frames else []
    rows = small_index.rows("train")
    assert small_index.num_frames.max() == 17 > SMALL.max_frames
    wanted = batches_for_all(FrameReader(small_index), rows, samplings, 7)
    videos = [sample_video(frames_of(number), samplings, SMALL) for number in range(40)]
    given = batch_videos(videos, SMALL, samplings, 7)
    for (count, inputs), (expected_count, expected) in zip(given, wanted, strict=True):
        assert count == expected_count
        for name, values in inputs.items():
            np.testing.assert_array_equal(values, expected[name][:count])


def test_videos_of_one_vector():
    dataset = replace(SMALL, level="video")
    ((count, inputs),) = batch_videos([frames_of(0)[:1]], dataset, [SamplingConfig()], 4)
    assert count == 1 and inputs["frames"].shape == (1, 1, 8)
