"""Heads against their formulas, class by class."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from reference.literal import check_gradients, perturb

from pipeline.models.layers.heads import Logistic, MixtureOfExperts, Softmax

D, V = 6, 5
DESCRIPTOR = np.random.default_rng(0).normal(size=(4, D)).astype(np.float32)


def sigmoid(value):
    return 1 / (1 + np.exp(-value))


@pytest.mark.parametrize("experts", [1, 2, 4])
def test_mixture_of_experts(experts):
    keras.utils.set_random_seed(0)
    head = MixtureOfExperts(V, experts)
    got = np.asarray(head(DESCRIPTOR))
    head.expert.bias.assign(np.random.default_rng(1).normal(size=experts * V))
    got = np.asarray(head(DESCRIPTOR))
    gate = (DESCRIPTOR @ head.gate.kernel.numpy()).reshape(4, experts + 1, V)
    expert = (DESCRIPTOR @ head.expert.kernel.numpy() + head.expert.bias.numpy()).reshape(4, experts, V)
    for video in range(4):
        for label in range(V):
            shares = np.exp(gate[video, :, label])
            shares /= shares.sum()  # the last one is the dummy's, which says 0
            expected = sum(shares[e] * sigmoid(expert[video, e, label]) for e in range(experts))
            assert got[video, label] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("experts", [1, 3])
def test_gradients_of_the_mixture(experts):
    head = MixtureOfExperts(V, experts, l2=0.0)
    head.build(DESCRIPTOR.shape)
    perturb(head)

    def literal(weights):
        gates = np.exp(DESCRIPTOR @ weights["gate/kernel"]).reshape(4, experts + 1, V)
        values = sigmoid(DESCRIPTOR @ weights["expert/kernel"] + weights["expert/bias"]).reshape(4, experts, V)
        return list((gates[:, :-1] * values).sum(axis=1) / gates.sum(axis=1))

    check_gradients(head, lambda: head(DESCRIPTOR), literal)


def test_a_mixture_of_logits_that_overflow_an_exponential_has_gradients():
    head = MixtureOfExperts(V, 2)
    head.build(DESCRIPTOR.shape)
    for weight in head.weights:
        weight.assign(np.where(np.arange(weight.shape[-1]) % 2, 1e3, -1e3) * np.ones(weight.shape))
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(head(DESCRIPTOR))
    assert all(np.isfinite(each).all() for each in (total, *tape.gradient(total, head.trainable_weights)))


def test_logistic():
    head = Logistic(V)
    got = np.asarray(head(DESCRIPTOR))
    np.testing.assert_allclose(got, sigmoid(DESCRIPTOR @ head.logits.kernel.numpy()), rtol=1e-5)


def test_softmax():
    head = Softmax(V)
    got = np.asarray(head(100 * DESCRIPTOR))
    logits = 100 * DESCRIPTOR.astype(np.float64) @ head.logits.kernel.numpy()
    chances = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(got, chances / chances.sum(axis=1, keepdims=True), atol=1e-5)
    np.testing.assert_allclose(got.sum(axis=1), 1, rtol=1e-6)


def test_l2_is_the_sum_of_squares_of_the_kernels():
    head = MixtureOfExperts(V, 2, l2=0.5)
    head(DESCRIPTOR)
    squares = sum(float((layer.kernel.numpy() ** 2).sum()) for layer in (head.gate, head.expert))
    assert float(sum(head.losses)) == pytest.approx(0.5 * squares, rel=1e-5)
    assert not MixtureOfExperts(V, 2, l2=0.0).losses


@pytest.mark.parametrize("head", [MixtureOfExperts, Logistic, Softmax])
def test_a_hundred_thousand_classes(head):
    probabilities = np.asarray(head(100_000)(np.ones((2, 3), np.float32)))
    assert probabilities.shape == (2, 100_000) and np.isfinite(probabilities).all()
