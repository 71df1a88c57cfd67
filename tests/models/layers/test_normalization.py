"""L2 normalization: its values, and its gradient where there is nothing to normalize."""

import numpy as np
import pytest
import tensorflow as tf

from pipeline.models.layers.normalization import intra_normalize, l2_normalize, l2_normalize_rows


def test_vectors_become_of_length_1():
    rows = np.random.default_rng(0).normal(size=(2, 3, 5)).astype(np.float32) * np.float32([1e-5, 1, 1e5])[:, None]
    expected = rows / np.linalg.norm(rows, axis=-1, keepdims=True)
    np.testing.assert_allclose(np.asarray(l2_normalize(rows)), expected, rtol=1e-6)
    np.testing.assert_array_equal(np.asarray(l2_normalize_rows(rows)), np.asarray(l2_normalize(rows)).reshape(2, 15))


def test_below_the_least_norm_they_are_scaled_alike():
    np.testing.assert_allclose(
        np.asarray(l2_normalize([[3e-9, 0, 4e-9], [0, 0, 0]])), [[3e-3, 0, 4e-3], [0, 0, 0]], rtol=1e-6
    )


def test_a_norm_counts_for_at_least_what_is_asked():
    rows, least = [[[3.0, 4.0], [3.0, 4.0], [0.0, 0.0]]], [[[4.0], [10.0], [0.0]]]
    expected = [[[0.6, 0.8], [0.3, 0.4], [0, 0]]]
    np.testing.assert_allclose(np.asarray(l2_normalize(rows, least)), expected, rtol=1e-6)
    found = l2_normalize_rows(tf.constant(rows), tf.constant(least))
    np.testing.assert_allclose(np.asarray(found), np.reshape(expected, (1, 6)), rtol=1e-6)


@pytest.mark.parametrize("least", [1e-6, 3.0])
def test_normalizing_twice_is_one_after_the_other(least):
    """In double precision, and by differences; a row of zeros and one below the bound among them."""
    rng = np.random.default_rng(0)
    rows, upstream = rng.normal(size=(2, 3, 5)), rng.normal(size=(2, 15))
    rows[0, 1] = 0
    rows[1, 2] *= 1e-2

    def literal(rows):
        each = rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), least)
        return each.reshape(2, 15) / np.linalg.norm(each.reshape(2, 15), axis=-1, keepdims=True)

    with tf.GradientTape() as tape:
        tape.watch(values := tf.constant(rows, tf.float32))
        found = intra_normalize(values, least)
        total = tf.reduce_sum(found * upstream.astype(np.float32))
    np.testing.assert_allclose(np.asarray(found), literal(rows), rtol=1e-5, atol=1e-7)
    gradient, expected = np.asarray(tape.gradient(total, values)), np.zeros(rows.shape)
    for place in np.ndindex(rows.shape):
        if (np.linalg.norm(rows[place[:2]])) > 0:  # at 0 the least norm leaves no room for a difference
            change = np.zeros(rows.shape)
            change[place] = 1e-6
            expected[place] = ((literal(rows + change) - literal(rows - change)) * upstream).sum() / 2e-6
    nonzero = np.linalg.norm(rows, axis=-1) > 0
    assert np.linalg.norm((gradient - expected)[nonzero]) < 1e-5 * np.linalg.norm(expected)
    assert np.isfinite(gradient).all()


def test_half_precision_is_normalized_in_float32():
    half = tf.constant([[3.0, 4.0]], tf.bfloat16)
    np.testing.assert_allclose(np.asarray(l2_normalize(half)), np.float32([[0.6, 0.8]]), rtol=1e-6)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("value", [0.0, 1e-25, 1.0])
def test_the_gradient_is_finite_everywhere(value, compiled):
    """Also where the square of a value is too small for a float."""
    vectors = tf.Variable([[value, 0.0, 0.0]])

    @tf.function(jit_compile=compiled)
    def gradient():
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(l2_normalize(vectors))
        return tape.gradient(total, vectors)

    expected = [0, 1, 1] if value == 1 else [1e6] * 3
    np.testing.assert_allclose(gradient()[0].numpy(), expected, rtol=1e-5, atol=1e-6)
