"""Dropout on PyTorch: drawn from the seed and the step; tests/training/test_loop.py resumes a training there."""

import keras
import numpy as np
import pytest

from pipeline.training.draws import drawn_by_step


def test_where_keras_keeps_the_seeds_there_is_nothing_to_do(monkeypatch):
    for name in ("tensorflow", "jax"):
        monkeypatch.setattr(keras.backend, "backend", lambda name=name: name)
        assert drawn_by_step(1, range(3)) == []


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="tests/training/test_loop.py runs it on PyTorch")
def test_a_step_draws_the_same_whatever_came_before():
    import torch

    def drawn(seed: int, steps: range) -> dict[int, np.ndarray]:
        (callback,) = drawn_by_step(seed, steps)
        found = {}
        for batch, step in enumerate(steps):
            callback.on_train_batch_begin(batch)
            found[step] = torch.rand(4).numpy()
        return found

    whole, resumed, other = drawn(1, range(6)), drawn(1, range(4, 6)), drawn(2, range(6))
    for step in (4, 5):
        np.testing.assert_array_equal(resumed[step], whole[step])
    assert len({tuple(values) for each in (whole, other) for values in each.values()}) == 12
