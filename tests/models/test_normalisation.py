"""L2 normalisation: its values, and its gradient where there is nothing to normalise."""

import numpy as np
import pytest
import tensorflow as tf

from pipeline.models.normalisation import unit, unit_rows


def test_vectors_become_of_length_1():
    rows = np.random.default_rng(0).normal(size=(2, 3, 5)).astype(np.float32) * np.float32([1e-5, 1, 1e5])[:, None]
    expected = rows / np.linalg.norm(rows, axis=-1, keepdims=True)
    np.testing.assert_allclose(np.asarray(unit(rows)), expected, rtol=1e-6)
    np.testing.assert_array_equal(np.asarray(unit_rows(rows)), np.asarray(unit(rows)).reshape(2, 15))


def test_below_the_least_norm_they_are_scaled_alike():
    np.testing.assert_allclose(np.asarray(unit([[3e-9, 0, 4e-9], [0, 0, 0]])), [[3e-3, 0, 4e-3], [0, 0, 0]], rtol=1e-6)


def test_a_norm_counts_for_at_least_what_is_asked():
    rows, least = [[[3.0, 4.0], [3.0, 4.0], [0.0, 0.0]]], [[[4.0], [10.0], [0.0]]]
    expected = [[[0.6, 0.8], [0.3, 0.4], [0, 0]]]
    np.testing.assert_allclose(np.asarray(unit(rows, least)), expected, rtol=1e-6)
    found = unit_rows(tf.constant(rows), tf.constant(least))
    np.testing.assert_allclose(np.asarray(found), np.reshape(expected, (1, 6)), rtol=1e-6)


def test_half_precision_is_normalised_in_float32():
    half = tf.constant([[3.0, 4.0]], tf.bfloat16)
    np.testing.assert_allclose(np.asarray(unit(half)), np.float32([[0.6, 0.8]]), rtol=1e-6)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("value", [0.0, 1e-25, 1.0])
def test_the_gradient_is_finite_everywhere(value, compiled):
    """Also where the square of a value is too small for a float."""
    vectors = tf.Variable([[value, 0.0, 0.0]])

    @tf.function(jit_compile=compiled)
    def gradient():
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(unit(vectors))
        return tape.gradient(total, vectors)

    expected = [0, 1, 1] if value == 1 else [1e6] * 3
    np.testing.assert_allclose(gradient()[0].numpy(), expected, rtol=1e-5, atol=1e-6)
