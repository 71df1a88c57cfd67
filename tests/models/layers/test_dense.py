"""Our dense layers beside Keras's: the same weights, outputs and gradients."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipeline.models.layers.dense import DescriptorDense, FrameDense


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("settings", [{}, {"use_bias": False}, {"activation": "relu"}], ids=str)
@pytest.mark.parametrize("ours, rows", [(DescriptorDense, (5,)), (FrameDense, (3, 5))], ids=["descriptor", "frame"])
def test_it_takes_the_place_of_the_layer_of_keras(ours, rows, settings, precision):
    rng = np.random.default_rng(0)
    values = tf.constant(rng.normal(size=(*rows, 7)), tf.float32)
    weights = [rng.normal(size=(7, 4)), rng.normal(size=4)][: 2 - ("use_bias" in settings)]
    upstream = tf.constant(rng.normal(size=(*rows, 4)), tf.float32)
    found = []
    for kind in (ours, keras.layers.Dense):
        layer = kind(4, dtype=precision, **settings)
        layer.build(values.shape)
        layer.set_weights(weights)
        with tf.GradientTape() as tape:
            tape.watch(values)
            outputs = layer(values)
            total = tf.reduce_sum(tf.cast(outputs, tf.float32) * upstream)
        assert outputs.dtype == layer.compute_dtype
        found.append([outputs, *tape.gradient(total, [values, *layer.trainable_weights])])
        found[-1] = [np.asarray(tf.cast(each, tf.float32)) for each in found[-1]]
    # Sums here are up to 8, and TensorFlow 2.19 rounds them to bfloat16's 8 bits on the way.
    relative, absolute = (1e-5, 1e-5) if precision == "float32" else (1e-2, 8 / 2**8)
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=relative, atol=absolute)
