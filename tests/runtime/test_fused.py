"""Fused chains: the same numbers and gradients, one compiled kernel on TensorFlow whatever the shape."""

import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from pipeline.runtime.fused import fused


@fused
def spread(rows, weights):
    """The weighed sum of squares over the rows, and the rows' sigmoids."""
    return ops.sum(weights * ops.square(rows), axis=0), ops.sigmoid(rows)


@pytest.mark.parametrize("videos", [1, 5])
def test_it_gives_what_the_operations_give(videos):
    rng = np.random.default_rng(videos)
    rows, weights = rng.normal(size=(videos, 3)).astype(np.float32), rng.random((videos, 1)).astype(np.float32)
    sums, values = map(np.asarray, spread(tf.constant(rows), tf.constant(weights)))
    np.testing.assert_allclose(sums, (weights * rows**2).sum(axis=0), rtol=1e-6)
    np.testing.assert_allclose(values, 1 / (1 + np.exp(-rows)), rtol=1e-6)


def test_it_is_compiled_as_one_within_a_graph_of_any_number_of_videos():
    given = [tf.TensorSpec((None, 3), tf.float32), tf.TensorSpec((None, 1), tf.float32)]
    graph = tf.function(spread).get_concrete_function(*given).graph
    called = [operation for operation in graph.get_operations() if operation.type.endswith("PartitionedCall")]
    assert len(called) == 1
    (function,) = (graph._functions[name] for name in graph._functions)
    assert function.cached_definition.attr["_XlaMustCompile"].b
    assert not any(operation.type in ("Square", "Sum", "Sigmoid") for operation in graph.get_operations())


def test_it_has_the_gradient_of_the_operations():
    rows, weights = tf.constant([[1.0, -2.0], [0.5, 3.0]]), tf.constant([[2.0], [1.0]])
    with tf.GradientTape() as tape:
        tape.watch(rows)
        sums, _ = spread(rows, weights)
    np.testing.assert_allclose(tape.gradient(sums, rows), 2 * weights * rows, rtol=1e-6)


def test_on_another_backend_it_is_the_function_itself(monkeypatch):
    monkeypatch.setattr("keras.backend.backend", lambda: "jax")
    monkeypatch.setattr(tf, "function", lambda *_, **__: pytest.fail("compiled"))
    assert fused(lambda value: value + 1)(2) == 3
