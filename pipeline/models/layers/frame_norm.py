"""Batch norm over the valid frames of a batch, in five passes over the frames, of which the gradient takes two."""

import keras
from keras import ops

from pipeline.models.layers.custom_gradient import custom_gradient
from pipeline.runtime.fused import fused


@keras.saving.register_keras_serializable(package="pipeline")
class FrameNorm(keras.layers.BatchNormalization):
    """frames x [B,T,K], mask m [B,T] -> y [B,T,K], padding normalized like the rest.

        mu_k = sum m x_k / n        var_k = sum m (x_k - mu_k)^2 / n        y = gamma (x - mu) / sqrt(var + e) + beta

    This is for training; the sums are over all frames of the batch, and n = sum m. At inference mu and var are the
    moving averages. The layer gives what Keras's layer gives with a mask, and has the same weights. Keras's layer is
    bound by memory: in training it spreads the mask over the features, twice, and makes some thirty tensors of the size
    of x, including those of the gradient. This layer makes only y and dx: the gradient is written out by hand, and
    every pass over the frames is a `fused` loop. With p = sum dy and q = sum dy (x - mu), which include padding:

        dbeta = p        dgamma = q r        dx = gamma r (dy - m (p + (x - mu) q r^2) / n)        r = 1 / sqrt(var + e)

    All of it is float32 at any precision.

    Source: Ioffe, Szegedy 2015.
    """

    def call(self, frames, training=None, mask=None):
        if mask is None or not (training and self.trainable):
            return super().call(frames, training=training)
        rows = ops.reshape(frames, (-1, frames.shape[-1]))  # BT,K
        weights = ops.reshape(ops.cast(mask, "float32"), (-1, 1))  # BT,1
        weights = weights / ops.maximum(ops.sum(weights), 1.0)
        mean = ops.stop_gradient(_mean(rows, weights))  # K
        variance = ops.stop_gradient(_variance(rows, weights, mean))  # K
        for tracked, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            tracked.assign(self.momentum * tracked + (1 - self.momentum) * value)
        scale = ops.reshape(self.gamma, (-1,)) if self.scale else ops.ones_like(mean)
        shift = ops.reshape(self.beta, (-1,)) if self.center else ops.zeros_like(mean)
        normalized = _normalize(rows, weights, mean, ops.rsqrt(variance + self.epsilon), scale, shift)
        return ops.reshape(normalized, ops.shape(frames))


@custom_gradient
def _normalize(rows, weights, mean, inverse, scale, shift):
    """Return (x - mu) * inverse * scale + shift, [N,K]; mean and inverse [K] are of the rows, by weights [N,1].

    The gradient by the rows includes the part through mean and inverse, since these are computed from the rows.
    """

    def gradient(upstream):
        sums, products = _sums(upstream, rows, mean)  # K
        by_rows = _by_rows(upstream, rows, weights, mean, inverse, scale, sums, products)
        nothing = (ops.zeros_like(each) for each in (weights, mean, inverse))
        return by_rows, *nothing, products * inverse, sums

    return _transformed(rows, mean, inverse * scale, shift), gradient


# Each function takes one pass over the rows: within one loop, XLA would compute a sum anew for every row that uses it.


@fused
def _mean(rows, weights):
    return ops.sum(weights * ops.cast(rows, "float32"), axis=0)


@fused
def _variance(rows, weights, mean):
    return ops.sum(weights * ops.square(ops.cast(rows, "float32") - mean), axis=0)


@fused
def _transformed(rows, mean, factor, shift):
    return ops.cast((ops.cast(rows, "float32") - mean) * factor + shift, rows.dtype)


@fused
def _sums(upstream, rows, mean):
    """Return p and q, each [K]."""
    upstream = ops.cast(upstream, "float32")
    return ops.sum(upstream, axis=0), ops.sum(upstream * (ops.cast(rows, "float32") - mean), axis=0)


@fused
def _by_rows(upstream, rows, weights, mean, inverse, scale, sums, products):
    centered = ops.cast(rows, "float32") - mean
    by_statistics = weights * (centered * (products * ops.square(inverse)) + sums)
    return ops.cast((inverse * scale) * (ops.cast(upstream, "float32") - by_statistics), rows.dtype)
