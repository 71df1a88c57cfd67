"""Batches fed to `fit`: each once, in order, of the first one's shapes; nothing that makes the end of `fit` wait."""

import keras
import numpy as np
import pytest

from pipeline.training.feeding import as_tf_dataset


class Batches(keras.utils.PyDataset):
    """({"frames": uint8 [2,3,4], "num_frames": int32 [2]}, labels float32 [2,5]), filled with their number."""

    def __init__(self, fails_at: int = -1):
        super().__init__()
        self.asked: list[int] = []
        self.fails_at = fails_at

    def __len__(self) -> int:
        return 6

    def __getitem__(self, number: int):
        self.asked.append(number)
        if number == self.fails_at:
            raise OSError("the disk is gone")
        inputs = {"frames": np.full((2, 3, 4), number, np.uint8), "num_frames": np.full(2, number, np.int32)}
        return inputs, np.full((2, 5), number, np.float32)


def test_every_batch_comes_once_and_in_order():
    batches = Batches()
    dataset = as_tf_dataset(batches)
    found = list(dataset.as_numpy_iterator())
    assert batches.asked == list(range(6)) and len(dataset) == 6
    for number, (inputs, labels) in enumerate(found):
        (expected, expected_labels) = batches[number]
        for one, other in ((inputs["frames"], expected["frames"]), (inputs["num_frames"], expected["num_frames"])):
            np.testing.assert_array_equal(one, other)
            assert one.dtype == other.dtype
        np.testing.assert_array_equal(labels, expected_labels)


def test_no_thread_tunes_it():
    """It would sleep for longer and longer, and `fit` wait for it to wake."""
    assert as_tf_dataset(Batches()).options().autotune.enabled is False


def test_a_batch_that_cannot_be_read_ends_it():
    batches = Batches(fails_at=3)
    with pytest.raises(Exception, match="the disk is gone"):
        list(as_tf_dataset(batches).as_numpy_iterator())
    assert batches.asked[:4] == [0, 1, 2, 3]
