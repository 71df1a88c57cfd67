"""FrameNorm: its definition in double precision, its gradients by differences, and Keras's own layer under a mask."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipeline.models.layers.frame_norm import FrameNorm

KINDS = [{}, {"center": False}, {"scale": False}, {"center": False, "scale": False}]


@pytest.fixture
def case():
    """frames float64 [5,7,6] of no mean 0, their mask [5,7] of 1 to 7 frames, dy [5,7,6]."""
    rng = np.random.default_rng(0)
    mask = (np.arange(7) < np.array([[7], [1], [4], [2], [6]])).astype(np.float32)
    return rng.normal(1, 2, (5, 7, 6)), mask, rng.normal(size=(5, 7, 6))


def built(kind, **settings):
    layer = kind(**settings)
    layer.build((None, None, 6))
    for number, weight in enumerate(layer.trainable_weights):
        weight.assign(np.linspace(-1, 2, 6) + number)
    return layer


def literal(frames, mask, gamma, beta, epsilon=1e-3):
    valid = frames[mask > 0]
    return gamma * (frames - valid.mean(axis=0)) / np.sqrt(valid.var(axis=0) + epsilon) + beta


def run(layer, frames, mask, upstream, compiled=False):
    """Outputs, and the gradients of sum(upstream * outputs) by the frames and by the layer's weights."""
    frames = tf.constant(frames, tf.float32)

    @tf.function(jit_compile=compiled)
    def step():
        with tf.GradientTape() as tape:
            tape.watch(frames)
            outputs = layer(frames, mask=tf.constant(mask), training=True)
            total = tf.reduce_sum(tf.cast(outputs, tf.float32) * upstream.astype(np.float32))
        return outputs, tape.gradient(total, [frames, *(weight.value for weight in layer.trainable_weights)])

    outputs, gradients = step()
    return np.asarray(outputs), list(map(np.asarray, gradients))


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_outputs_and_gradients_are_those_of_the_definition(case, kind, compiled):
    frames, mask, upstream = case
    layer = built(FrameNorm, **kind)
    gamma = layer.gamma.numpy().astype(float) if layer.scale else np.ones(6)
    beta = layer.beta.numpy().astype(float) if layer.center else np.zeros(6)
    outputs, (by_frames, *by_weights) = run(layer, frames, mask, upstream, compiled)
    np.testing.assert_allclose(outputs, literal(frames, mask, gamma, beta), rtol=1e-5, atol=1e-5)

    def differences(at, loss):
        found = np.empty(at.shape)
        for place in np.ndindex(at.shape):
            change = np.zeros(at.shape)
            change[place] = 1e-5
            found[place] = (loss(at + change) - loss(at - change)) / 2e-5
        return found

    expected = [differences(frames, lambda moved: (literal(moved, mask, gamma, beta) * upstream).sum())]
    if layer.scale:
        expected.append(differences(gamma, lambda moved: (literal(frames, mask, moved, beta) * upstream).sum()))
    if layer.center:
        expected.append(differences(beta, lambda moved: (literal(frames, mask, gamma, moved) * upstream).sum()))
    for got, wanted in zip([by_frames, *by_weights], expected, strict=True):
        assert np.linalg.norm(got - wanted) < 1e-5 * np.linalg.norm(wanted)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_it_takes_the_place_of_the_layer_of_keras(case, kind):
    """The same weights by name, outputs, gradients and tracked statistics."""
    frames, mask, _ = case
    ours, theirs = built(FrameNorm, **kind), built(keras.layers.BatchNormalization, **kind)
    for got, wanted in zip(run(ours, *case), run(theirs, *case)):
        for one, other in zip(
            got if isinstance(got, list) else [got], wanted if isinstance(wanted, list) else [wanted]
        ):
            np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-5)
    assert [weight.name for weight in ours.weights] == [weight.name for weight in theirs.weights]
    for one, other in zip(ours.weights, theirs.weights):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-6)
    assert np.abs(ours.moving_mean.numpy()).min() > 0  # they have moved
    at_inference = [np.asarray(layer(frames, mask=tf.constant(mask))) for layer in (ours, theirs)]
    np.testing.assert_allclose(*at_inference, rtol=1e-5, atol=1e-5)


def test_a_batch_of_padding_alone_gives_numbers(case):
    frames, mask, upstream = case
    outputs, gradients = run(built(FrameNorm), frames, np.zeros_like(mask), upstream)
    assert all(np.isfinite(each).all() for each in (outputs, *gradients))


def test_in_half_precision_the_statistics_are_those_of_float32(case):
    frames, mask, _ = case
    frames = frames + 30  # which bfloat16 holds to an eighth
    half = tf.cast(frames, tf.bfloat16)
    layer = built(FrameNorm, dtype="mixed_bfloat16")
    outputs = layer(half, mask=tf.constant(mask), training=True)
    assert outputs.dtype == tf.bfloat16
    valid = np.asarray(tf.cast(half, tf.float64))[mask > 0]
    np.testing.assert_allclose(layer.moving_mean.numpy(), 0.01 * valid.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(layer.moving_variance.numpy(), 0.99 + 0.01 * valid.var(axis=0), rtol=1e-6)


def test_one_that_is_not_trained_keeps_its_statistics(case):
    frames, mask, _ = case
    layer = built(FrameNorm)
    layer.trainable = False
    np.testing.assert_array_equal(
        np.asarray(layer(frames, mask=tf.constant(mask), training=True)), np.asarray(layer(frames, training=False))
    )
    np.testing.assert_array_equal(layer.moving_mean.numpy(), np.zeros(6))
