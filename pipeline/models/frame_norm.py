"""Batch norm over the valid frames of a batch, with a gradient of its own: half of the memory traffic."""

import keras
from keras import ops

from pipeline.models.own_gradient import own_gradient


@keras.saving.register_keras_serializable(package="pipeline")
class FrameNorm(keras.layers.BatchNormalization):
    """frames x [B,T,K], mask m [B,T] -> y [B,T,K], padding normalised like the rest.

        mu_k = sum m x_k / n        var_k = sum m (x_k - mu_k)^2 / n        y = gamma (x - mu) / sqrt(var + e) + beta

    in training, sums over all frames of the batch, n = sum m; at inference mu and var are the moving averages. It gives
    what Keras's layer gives under a mask, and has its weights. That layer is bound by memory: in training it spreads
    the mask over the features, twice, and makes some thirty tensors of the size of x, the gradient's included. Here it
    is eight, since the gradient is written out. With p = sum dy, q = sum dy (x - mu), over padding too:

        dbeta = p        dgamma = q r        dx = gamma r (dy - m (p + (x - mu) q r^2) / n)        r = 1 / sqrt(var + e)

    All of it is float32 at any precision.

    Source: Ioffe, Szegedy 2015.
    """

    def call(self, frames, training=None, mask=None):
        if mask is None or not (training and self.trainable):
            return super().call(frames, training=training)
        size = frames.shape[-1]
        rows = ops.reshape(ops.cast(frames, "float32"), (-1, size))  # BT,K
        weights = ops.reshape(ops.cast(mask, "float32"), (1, -1))  # 1,BT
        weights = weights / ops.maximum(ops.sum(weights), 1.0)
        mean = ops.stop_gradient(ops.matmul(weights, rows))  # 1,K
        variance = ops.stop_gradient(ops.matmul(weights, ops.square(rows - mean)))  # 1,K
        for tracked, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            tracked.assign(self.momentum * tracked + (1 - self.momentum) * value[0])
        scale = ops.reshape(self.gamma, (1, size)) if self.scale else ops.ones((1, size))
        shift = ops.reshape(self.beta, (1, size)) if self.center else ops.zeros((1, size))
        normalised = _normalise(rows, weights, mean, ops.rsqrt(variance + self.epsilon), scale, shift)
        return ops.cast(ops.reshape(normalised, ops.shape(frames)), self.compute_dtype)


@own_gradient
def _normalise(rows, weights, mean, inverse, scale, shift):
    """(x - mu) * inverse * scale + shift, [N,K]; mean and inverse [1,K] are those of the rows by weights [1,N].

    Their gradients are in that of the rows, since they are made of them.
    """
    centred = rows - mean  # N,K
    factor = inverse * scale  # 1,K

    def gradient(upstream):
        sums = ops.sum(upstream, axis=0, keepdims=True)  # 1,K
        products = ops.sum(upstream * centred, axis=0, keepdims=True)  # 1,K
        by_rows = ops.transpose(weights) * (centred * (products * ops.square(inverse)) + sums)  # N,K
        return (
            factor * (upstream - by_rows),
            ops.zeros_like(weights),
            ops.zeros_like(mean),
            ops.zeros_like(inverse),
            products * inverse,
            sums,
        )

    return centred * factor + shift, gradient
