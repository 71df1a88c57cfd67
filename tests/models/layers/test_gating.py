"""Gating against its equations, with batch norm's tracked statistics."""

import keras
import numpy as np
import pytest

from pipeline.models.layers.gating import ContextGating, SqueezeExcite

VALUES = np.random.default_rng(0).normal(size=(5, 16)).astype(np.float32)


def randomised(layer):
    layer(VALUES)
    rng = np.random.default_rng(1)
    for weight in layer.weights:
        weight.assign(rng.uniform(0.2, 1.0, weight.shape))
    return layer


def weights(layer):
    return {weight.path.split("/", 1)[-1]: weight.numpy().astype(np.float64) for weight in layer.weights}


def norm(values, own):
    values = (values - own["norm/moving_mean"]) / np.sqrt(own["norm/moving_variance"] + 1e-3)
    return values * own["norm/gamma"] + own["norm/beta"]


def sigmoid(values):
    return 1 / (1 + np.exp(-values))


def test_context_gating():
    layer = randomised(ContextGating(name="gating"))
    own = weights(layer)
    expected = VALUES * sigmoid(norm(VALUES @ own["gate/kernel"], own))
    np.testing.assert_allclose(np.asarray(layer(VALUES)), expected, rtol=1e-5)


@pytest.mark.parametrize("reduction", [8, 32])
def test_squeeze_and_excite(reduction):
    layer = randomised(SqueezeExcite(reduction, name="gating"))
    own = weights(layer)
    assert own["squeeze/kernel"].shape == (16, max(16 // reduction, 1))
    squeezed = np.maximum(norm(VALUES @ own["squeeze/kernel"], own), 0)
    expected = VALUES * sigmoid(squeezed @ own["excite/kernel"] + own["excite/bias"])
    np.testing.assert_allclose(np.asarray(layer(VALUES)), expected, rtol=1e-5)


def test_gates_are_between_nothing_and_everything():
    keras.utils.set_random_seed(0)
    for layer in (ContextGating(), SqueezeExcite()):
        shares = np.asarray(layer(VALUES, training=True)) / VALUES
        assert ((shares > 0) & (shares < 1)).all()
