"""Batch norm of float features that is robust against a few videos with values of another size."""

import keras
from keras import ops

from pipeline.runtime.fused import fused

FAR = 5.0
"""More than this many times the usual distance from the center is too far, for a video's feature and for a frame."""
SHOWN = 64
"""The number of videos that define what is usual: the first of the batch, whose order is random."""
ROUNDING = 1e-10
"""Squares below this share of the center's square are 0 except for rounding."""


@keras.saving.register_keras_serializable(package="pipeline")
class InputNorm(keras.layers.BatchNormalization):
    """frames x [B,T,F] that were read, mask [B,T] -> gamma z min(1, 5 / rms(z)), z = (x - mu) / sqrt(var + e).

    The layer has the weights of Keras's layer without the shift, and on data of one kind it gives what that layer gives
    with the mask. Bytes are of one kind, but floats need not be: if one video in 500 has values 1000 times as large as
    the others', the tracked variance is 2000 times what the others need, and they are lost. So, for each feature,

        c: the median of the videos' means        q_b: the mean of (x - c)^2 over video b's frames
        mu, var: of the frames of the videos with q_b <= 5^2 max(Q, e), Q the upper quartile of q_b

    and a frame whose root mean square over the features is above 5 is scaled down to 5, in the same direction. This
    keeps its own prediction finite, and protects the statistics of the layers after this one. Up to a quarter of a
    batch's videos may be of another size. If most videos are constant, Q is 0 and says nothing of size, so all count.

    The center is only a point to measure from; it is near enough that var + (mu - c)^2, the mean of the q_b, loses no
    precision. Frames are data, so there is no gradient by them. A training step passes over the frames three times, as
    `FrameNorm` does, and sorts two arrays of 64 x F values.
    """

    def __init__(self, center: bool = False, **kwargs):
        super().__init__(center=center, **kwargs)

    def call(self, frames, mask, training=False):
        if not (training and self.trainable):
            return self._normalized(_normalize, frames, self.moving_mean, self.moving_variance)
        mean, variance = map(ops.stop_gradient, masked_moments(frames, ops.cast(mask, "float32"), self.epsilon))
        for tracked, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            tracked.assign(self.momentum * tracked + (1 - self.momentum) * value)
        return self._normalized(fused(_normalize), frames, mean, variance)

    def _normalized(self, normalize, frames, mean, variance):
        scale = ops.reshape(self.gamma, (-1,)) if self.scale else ops.ones_like(mean)
        return normalize(frames, ops.convert_to_tensor(mean), ops.rsqrt(variance + self.epsilon), scale)


def masked_moments(frames, mask, epsilon):
    """frames [B,T,F], mask [B,T] -> mean and variance [F] of the valid frames of the videos of usual size."""
    counts = ops.sum(mask, axis=1, keepdims=True)  # B,1
    shares = mask / ops.maximum(counts, 1.0)
    means = _means(frames, shares)  # B,F
    center = _ranked(means, counts, 0.5)  # F
    squares = _squares(frames, shares, center)  # B,F
    usual = _ranked(squares, counts, 0.75)  # F
    told = usual > ROUNDING * ops.square(center)
    counted = ops.logical_or(squares <= FAR**2 * ops.maximum(usual, epsilon), ops.logical_not(told))  # B,F
    weights = counts * ops.cast(counted, "float32")
    weights = weights / ops.maximum(ops.sum(weights, axis=0), 1.0)
    shift = ops.sum(weights * (means - center), axis=0)  # F
    variance = ops.sum(weights * squares, axis=0) - ops.square(shift)
    return center + shift, ops.maximum(variance, 0.0)


def _ranked(values, counts, share):
    """values [B,F], counts [B,1] -> for each feature the quantile `share` over the videos that have frames, [F]."""
    values, valid = values[:SHOWN], counts[:SHOWN] > 0
    ordered = ops.sort(ops.where(valid, values, 1e38), axis=0)  # videos without frames come last
    last = ops.sum(ops.cast(valid, "int32")) - 1
    place = ops.cast(ops.ceil(share * ops.cast(last, "float32")), "int32")
    return ops.where(last < 0, 0.0, ops.take(ordered, ops.maximum(place, 0), axis=0))


@fused
def _means(frames, shares):
    return ops.sum(shares[:, :, None] * ops.cast(frames, "float32"), axis=1)


@fused
def _squares(frames, shares, center):
    return ops.sum(shares[:, :, None] * ops.square(ops.cast(frames, "float32") - center), axis=1)


def _normalize(frames, mean, inverse, scale):
    values = (ops.cast(frames, "float32") - mean) * inverse
    lengths = ops.mean(ops.square(values), axis=-1, keepdims=True)  # B,T,1
    shortened = ops.where(lengths > FAR**2, values * (FAR * ops.rsqrt(lengths + 1e-30)), values)
    return ops.cast(shortened * scale, frames.dtype)
