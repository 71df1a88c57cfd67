"""Draw dropout on PyTorch from the seed and the step, so that a resumed run draws what the whole one would have."""

import keras
import numpy as np


def drawn_by_step(seed: int, steps: range) -> list[keras.callbacks.Callback]:
    """Return the callbacks of `fit` that seed what each of these steps draws; none where Keras keeps it itself.

    Keras's layers draw from seed generators, which a checkpoint holds. On PyTorch its Dropout does not: it draws from
    the generator of the process, which is seeded here anew for each step. That holds for every device.
    """
    return [_StepSeeds(seed, steps)] if keras.backend.backend() == "torch" else []


class _StepSeeds(keras.callbacks.Callback):
    """Seeds PyTorch's generators with (seed, step) before each step."""

    def __init__(self, seed: int, steps: range):
        super().__init__()
        self.seed = seed
        self.steps = steps

    def on_train_batch_begin(self, batch, logs=None):
        import torch

        # The 2 makes these draws differ from those of the epochs' permutations, and of the batches.
        (state,) = np.random.SeedSequence((self.seed, self.steps[batch], 2)).generate_state(1, np.uint64)
        torch.manual_seed(int(state))
