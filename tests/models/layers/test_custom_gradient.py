"""Gradients written out: TensorFlow takes them for those of the value, and any way of calling them gives the same."""

import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from pipeline.models.layers.custom_gradient import custom_gradient


@custom_gradient
def weighed(values, weights):
    """v * w, with gradients three and five times what they are."""
    return values * weights, lambda upstream: (3 * weights * upstream, 5 * values * upstream)


@pytest.mark.parametrize("compiled", [False, True])
def test_the_gradient_is_the_one_written(compiled):
    values, weights = tf.constant([1.0, 2.0]), tf.constant([4.0, -1.0])

    @tf.function(jit_compile=compiled)
    def step():
        with tf.GradientTape() as tape:
            tape.watch([values, weights])
            outputs = weighed(values, weights)
            total = tf.reduce_sum(outputs * [1.0, 10.0])
        return outputs, *tape.gradient(total, [values, weights])

    outputs, by_values, by_weights = map(np.asarray, step())
    np.testing.assert_array_equal(outputs, [4, -2])
    np.testing.assert_array_equal(by_values, [12, -30])
    np.testing.assert_array_equal(by_weights, [5, 100])


def test_it_is_called_by_position_or_with_all_arguments_and_the_gradient_by_name(monkeypatch):
    """The first is TensorFlow's and JAX's way, the second PyTorch's."""
    monkeypatch.setattr(ops, "custom_gradient", lambda function: function)
    value, gradient = custom_gradient(lambda v, w: (v * w, lambda upstream: (w * upstream, v * upstream)))(2.0, 3.0)
    assert value == 6 and gradient(7.0) == gradient(2.0, 3.0, upstream=7.0) == (21, 14)
