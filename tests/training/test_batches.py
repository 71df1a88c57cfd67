"""Batches: a pure function of seed and step, every video once an epoch, mixup as defined."""

from collections import Counter

import numpy as np
import pytest
from fixtures.support import labels_of

from pipeline.config import SamplingConfig
from pipeline.inputs.reading.batches import evaluation_batches
from pipeline.inputs.reading.reader import FrameReader
from pipeline.inputs.reading.sampling import choose_frames
from pipeline.runtime.hosts import ALONE, Hosts
from pipeline.training.batches import EpochSampler, TrainBatches, multi_hot

ALL = SamplingConfig(train="all", evaluation="all")


def test_every_epoch_has_every_video_once_in_another_order():
    rows = np.arange(100, 150)
    sampler = EpochSampler(rows, batch_size=8, seed=3)
    stream = np.concatenate([sampler.step(step) for step in range(25)])  # 200 draws: four epochs
    epochs = stream.reshape(4, 50)
    for epoch in epochs:
        assert sorted(epoch) == rows.tolist()
    assert len({tuple(epoch) for epoch in epochs}) == 4
    assert (EpochSampler(rows, 8, seed=4).step(0) != sampler.step(0)).any()


def test_a_batch_larger_than_the_dataset_holds_several_epochs():
    batch = EpochSampler(np.arange(3), batch_size=10, seed=0).step(0)
    assert np.bincount(batch).tolist() in ([4, 3, 3], [3, 4, 3], [3, 3, 4])


@pytest.mark.parametrize("method", ["uniform", "all", "random_frames", "random_sequence"])
def test_a_step_is_the_same_in_every_range(small_index, method):
    reader = FrameReader(small_index)
    sampler = EpochSampler(small_index.rows("train"), 8, seed=1)
    sampling = SamplingConfig(train=method, frames=4)
    whole = TrainBatches(reader, sampler, range(6), sampling, mixup=0.4)
    rest = TrainBatches(reader, sampler, range(4, 6), sampling, mixup=0.4)
    assert len(whole) == 6 and len(rest) == 2
    for (inputs, labels), (again, labels_again) in zip([whole[5], whole[4]], [rest[1], rest[0]]):
        np.testing.assert_array_equal(inputs["frames"], again["frames"])
        np.testing.assert_array_equal(inputs["num_frames"], again["num_frames"])
        np.testing.assert_array_equal(labels, labels_again)
    assert (whole[0][0]["frames"] != whole[1][0]["frames"]).any()


def test_labels_are_those_of_the_videos(small_index):
    sampler = EpochSampler(small_index.rows("train"), 8, seed=1)
    _, labels = TrainBatches(FrameReader(small_index), sampler, range(1), ALL)[0]
    for row, hot in zip(sampler.step(0), labels):
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
    chosen, num_frames = choose_frames("all", small_index.num_frames[rows], 12)
    expected = FrameReader(small_index).read(rows, chosen, num_frames)
    got = np.concatenate([inputs["frames"][:count] for count, inputs in batches])
    np.testing.assert_array_equal(got, expected)
    got = np.concatenate([inputs["num_frames"][:count] for count, inputs in batches])
    np.testing.assert_array_equal(got, num_frames)


@pytest.mark.parametrize("steps", [range(60), range(13, 60)], ids=["from the first", "resumed"])
def test_the_system_is_told_of_videos_before_they_are_read_and_not_again_and_again(small_index, steps):
    told, read = [], []

    class Watched(FrameReader):
        def expect(self, rows):
            told.extend(rows)

        def read(self, rows, chosen, counts):
            read.extend(rows)
            return super().read(rows, chosen, counts)

    sampler = EpochSampler(small_index.rows("train"), 32, seed=2)
    batches = TrainBatches(Watched(small_index), sampler, steps, ALL)
    given = Counter()
    for number, step in enumerate(steps):
        batches[number]
        given.update(sampler.step(step))
        assert not given - Counter(told)  # two batches are read at once, so the second may come before it is told
    assert len(read) == 32 * len(steps)
    assert len(told) <= len(read) + 3 * 512


@pytest.mark.parametrize("mixup", [0.0, 0.4])
def test_the_parts_of_several_hosts_are_the_batch_of_one(small_index, mixup):
    """With mixup, partners that lie in another host's part are read too."""
    sampler = EpochSampler(small_index.rows("train"), 12, seed=1)
    sampling = SamplingConfig(train="random_frames", frames=4)

    def batches(those):
        return TrainBatches(FrameReader(small_index), sampler, range(3, 5), sampling, mixup, hosts=those)

    for hosts in (2, 3):
        parts = [batches(Hosts(hosts, host)) for host in range(hosts)]
        for number in range(2):
            whole, whole_labels = batches(ALONE)[number]
            found, labels = zip(*(part[number] for part in parts))
            assert len(labels[0]) == 12 // hosts
            np.testing.assert_array_equal(np.concatenate(labels), whole_labels)
            for name, values in whole.items():
                np.testing.assert_array_equal(np.concatenate([each[name] for each in found]), values)
