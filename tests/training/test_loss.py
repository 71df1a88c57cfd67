"""The loss against its sum, class by class."""

import math

import numpy as np
import pytest

from pipeline.training.loss import SummedBinaryCrossentropy

LABELS = np.array([[1, 0, 0, 1], [0, 0, 0, 0]], np.float32)
PROBABILITIES = np.array([[0.9, 0.2, 0.01, 0.5], [0.3, 0.1, 0.6, 0.05]], np.float32)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_summed_over_classes_and_averaged_over_videos(smoothing):
    total = 0.0
    for labels, probabilities in zip(LABELS.tolist(), PROBABILITIES.tolist()):
        for y, p in zip(labels, probabilities):
            y = y * (1 - smoothing) + smoothing / 2
            total -= y * math.log(p) + (1 - y) * math.log(1 - p)
    loss = float(SummedBinaryCrossentropy(smoothing)(LABELS, PROBABILITIES))
    assert loss == pytest.approx(total / 2, rel=1e-3)


def test_certain_and_wrong_is_finite():
    assert 0 < float(SummedBinaryCrossentropy()(np.ones((1, 3)), np.zeros((1, 3), np.float32))) < 100


def test_it_serializes():
    loss = SummedBinaryCrossentropy(0.2)
    assert SummedBinaryCrossentropy.from_config(loss.get_config()).label_smoothing == 0.2
