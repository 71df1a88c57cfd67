"""What batch norm and whitening track of their batches: begun at 0, corrected for that, checked to be finite.

Each of these layers moves its statistics by s <- m s + (1 - m) value. After t batches that began at 0 the values have
shares that sum to 1 - m^t, so that s / (1 - m^t) is their mean, as Adam corrects its moments. A layer by itself begins
at means of 0 and variances of 1, which with m = 0.99 are still half of s after 69 batches.

On AudioSet they serve averaged weights as well as statistics that are estimated anew for these, which takes time: GAP
0.3987 for 0.3988 (netvlad after 466 batches), 0.3635 for 0.3612 (average after 1,555, at a constant rate).
"""

import contextlib
from collections.abc import Iterator, Sequence

import keras
import numpy as np

from pipeline.config.errors import StageError


def start_at_zero(model: keras.Model) -> list[np.ndarray]:
    """Let the statistics begin at 0; training reads none of them. Returns what the layers would have begun with."""
    start = [statistic.numpy().copy() for _, statistic in _tracked(model)]
    for _, statistic in _tracked(model):
        statistic.assign(np.zeros(statistic.shape, statistic.dtype))
    return start


def remove_start(model: keras.Model, start: Sequence[np.ndarray], batches: int) -> None:
    """Make statistics that began with `start` those that would have begun at 0, after so many batches."""
    for (layer, statistic), value in zip(_tracked(model), start, strict=True):
        statistic.assign(statistic.numpy() - value * np.float32(layer.momentum**batches))


@contextlib.contextmanager
def corrected_statistics(model: keras.Model, batches: int) -> Iterator[None]:
    """Inside the block the statistics are those of the last of so many batches; afterwards as they were."""
    tracked = [(statistic, statistic.numpy().copy()) for _, statistic in _tracked(model)]
    for layer, statistic in _tracked(model):
        statistic.assign(statistic.numpy() / np.float32(1 - layer.momentum**batches))
    try:
        yield
    finally:
        for statistic, value in tracked:
            statistic.assign(value)


def check_finite(model: keras.Model, step: int) -> None:
    """Raises StageError that names the first layer whose statistics are not finite."""
    for layer, statistic in _tracked(model):
        if not np.isfinite(statistic.numpy()).all():
            raise StageError(
                f"{statistic.name} of layer {layer.name} is not finite by step {step}: a batch had values too large to "
                "be squared. Leave out the videos that have them, or try a lower --training.learning-rate"
            )


def _tracked(model: keras.Model) -> Iterator[tuple[keras.Layer, keras.Variable]]:
    """The layers that track statistics, with each of these; seed generators are not among them."""
    for layer in model._flatten_layers(include_self=False):
        if hasattr(layer, "momentum"):
            yield from ((layer, statistic) for statistic in layer.non_trainable_weights)
