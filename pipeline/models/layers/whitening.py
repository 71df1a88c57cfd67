"""Whiten triangulation embeddings: track their mean and (co)variance in each cluster, and take the inverse root."""

import keras
from keras import ops

from pipeline.models.layers.triangulation import (
    Triangle,
    shift_outer_diagonals,
    shift_outer_sums,
    shift_residual_sums,
    weighted_sums,
)

SHRINKAGE = 1e-3
"""Added to the (co)variances, relative to their mean, since unit vectors in F dimensions have variances near 1/F."""
ROUNDING = 4e-6
"""A covariance is a difference of two terms; an eigenvalue below this share of them may be nothing but rounding."""
ITERATIONS = 15


class _Whitening(keras.layers.Layer):
    """Base class: the statistics of r_tk = (x_t - c_k) / d_tk for each cluster, over the valid frames of a batch.

    Training uses the statistics of the batch, with gradients, and updates the tracked ones; inference uses the tracked
    ones. The spread is tracked in units of 1/F, so that its initial value of 1, as in batch norm, is of the right size.

    A (co)variance E[r r^T] - mu mu^T is the difference of two larger sums. If frames are all alike, or all near a
    center, it is 0 except for rounding of either sign, and a negative one has no root. So each sum is taken over each
    video first and then over the batch, which keeps the error near that of one video. If the spread is below `ROUNDING`
    times

        E[(||x_t||^2 + ||c_k||^2) / d_tk^2]

    the diagonal is raised to that. The spread of frames that differ does not change.
    """

    def __init__(self, momentum: float = 0.99, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.momentum = momentum
        self.supports_masking = True

    def build(self, centers_shape):
        self.moving_mean = self._statistic("moving_mean", centers_shape, "zeros")

    def _statistic(self, name, shape, initializer):
        return self.add_weight(name=name, shape=shape, initializer=initializer, trainable=False, autocast=False)

    def _move(self, tracked, value):
        tracked.assign(self.momentum * tracked + (1 - self.momentum) * value)

    def call(self, frames, products, distances, centers, mask, training=False):
        """frames [B,T,F], their products, distances [B,T,K], centers [K,F], mask [B,T] -> mean mu [K,F], U."""
        if not (training and self.trainable):
            return ops.convert_to_tensor(self.moving_mean), self.inverse_root(self._tracked_spread())
        mask = ops.cast(mask, "float32")
        shares = (mask / ops.maximum(ops.sum(mask), 1.0))[:, :, None] / distances  # B,T,K
        mean = shift_residual_sums(_sums(shares, frames), _mass(shares), centers)  # K,F
        shares = shares / distances
        spread, terms = self._spread(_sums(shares, products), _sums(shares, frames), _mass(shares), centers, mean)
        spread = self._raised(spread, ops.stop_gradient(terms))
        self._move(self.moving_mean, mean)
        self._move_spread(spread)
        return mean, self.inverse_root(spread)

    def compute_mask(self, frames, previous_mask=None):
        return None  # statistics have no frames

    def get_config(self):
        return {**super().get_config(), "momentum": self.momentum}


@keras.saving.register_keras_serializable(package="pipeline")
class DiagonalWhitening(_Whitening):
    """Divides each value by its standard deviation: U_k is diagonal, U [K,F]. It reads only the squares of `products`.

    It tracks 2KF values. A training step costs 6BTKF FLOPs more than inference.
    """

    def build(self, centers_shape):
        super().build(centers_shape)
        self.moving_variance = self._statistic("moving_variance", centers_shape, "ones")

    def _spread(self, products, sums, mass, centers, mean):
        squares = products[:, : centers.shape[-1]]  # `Triangle.products` begin with the squares
        variance = shift_outer_diagonals(squares, sums, mass, centers) - ops.square(mean)
        return ops.maximum(variance, 0.0), squares + mass[:, None] * ops.square(centers)  # K,F

    @staticmethod
    def _raised(variance, terms):
        least = ROUNDING * ops.mean(terms, axis=-1, keepdims=True)  # K,1
        return variance + ops.maximum(least - _shrinkage(variance), 0.0)

    def _move_spread(self, variance):
        self._move(self.moving_variance, variance * variance.shape[-1])

    def _tracked_spread(self):
        return self.moving_variance / self.moving_variance.shape[-1]

    @staticmethod
    def inverse_root(variance):
        """variance [K,F] -> U [K,F]. If frames are all alike there is no variance, and the last bound decides."""
        return ops.rsqrt(variance + ops.maximum(_shrinkage(variance), 1e-9))

    @staticmethod
    def whiten_first(sums, root):
        """sums [B,K,F], U [K,F] -> U_k sums_k [B,K,F]."""
        return sums * root

    @staticmethod
    def whiten_second(sums, root):
        """sums [B,K,F,F], U [K,F] -> U_k sums_k U_k^T [B,K,F,F]."""
        return sums * root[:, :, None] * root[:, None, :]


@keras.saving.register_keras_serializable(package="pipeline")
class ZCAWhitening(_Whitening):
    """Decorrelates without a rotation: U_k = C_k^(-1/2), symmetric, U [K,D,D]. `products` are those of `Triangle`.

    It tracks the mean and the different entries of the covariance, K D (D+3)/2 values. The inverse root takes no
    eigendecomposition and costs 90 K D^3 FLOPs per batch.
    """

    def build(self, centers_shape):
        super().build(centers_shape)
        clusters, size = centers_shape
        self.triangle = Triangle(size)

        def identity(shape, dtype=None):
            return ops.ones(shape, dtype) * ops.cast(ops.arange(shape[1]) < size, dtype)

        self.moving_covariance = self._statistic("moving_covariance", (clusters, self.triangle.entries), identity)

    def _spread(self, products, sums, mass, centers, mean):
        moments = shift_outer_sums(self.triangle.unpack(products), sums, mass, centers)  # K,D,D
        terms = products[:, : centers.shape[-1]] + mass[:, None] * ops.square(centers)  # K,D
        return moments - mean[:, :, None] * mean[:, None, :], terms

    @staticmethod
    def _raised(covariance, terms):
        least = ROUNDING * ops.sum(terms, axis=-1)  # K
        return covariance + _on_diagonal(ops.maximum(least - _shrinkage(_diagonal(covariance))[:, 0], 0.0), covariance)

    def _move_spread(self, covariance):
        self._move(self.moving_covariance, self.triangle.pack(covariance) * self.triangle.size)

    def _tracked_spread(self):
        return self.triangle.unpack(self.moving_covariance / self.triangle.size)

    @staticmethod
    def inverse_root(covariance):
        """covariance [K,D,D] -> U [K,D,D], after shrinkage, whose lower bound is for frames that are all alike."""
        shrinkage = ops.maximum(_shrinkage(_diagonal(covariance))[:, 0], 1e-6)  # K
        return newton_schulz(covariance + _on_diagonal(shrinkage, covariance))

    @staticmethod
    def whiten_first(sums, root):
        """sums [B,K,D], U [K,D,D] -> U_k sums_k [B,K,D]."""
        return ops.einsum("kij,bkj->bki", root, sums)

    @staticmethod
    def whiten_second(sums, root):
        """sums [B,K,D,D], U [K,D,D] -> U_k sums_k U_k^T [B,K,D,D]."""
        return ops.matmul(ops.matmul(root, sums), ops.swapaxes(root, -1, -2))


def _sums(weights, values):
    """weights [B,T,K], values [B,T,N] -> sum_bt w_btk v_bt, [K,N], summed over each video first."""
    return ops.sum(weighted_sums(weights, values), axis=0)


def _mass(weights):
    """weights [B,T,K] -> their sums [K], summed over each video first."""
    return ops.sum(ops.sum(weights, axis=1), axis=0)


def _shrinkage(variances):
    """variances [K,F] -> what is added to them, [K,1]."""
    return SHRINKAGE * ops.mean(variances, axis=-1, keepdims=True)


def _diagonal(matrices):
    return ops.diagonal(matrices, axis1=-2, axis2=-1)


def _on_diagonal(values, matrices):
    """values [K], matrices [K,D,D] -> values_k times the identity, [K,D,D]."""
    return values[:, None, None] * ops.eye(matrices.shape[-1])


WHITENING = {"diagonal": DiagonalWhitening, "zca": ZCAWhitening}


def newton_schulz(matrices):
    """symmetric positive definite matrices [..,D,D] -> their inverse square roots, computed by products only.

    In each step the smallest eigenvalue, relative to the Frobenius norm, grows 2.25 times. Fifteen steps suffice for
    eigenvalues above about 1/8000 of the norm. Source: Higham 2008, chapter 6.
    """
    identity = ops.eye(matrices.shape[-1])
    norm = ops.sqrt(ops.sum(ops.square(matrices), axis=(-2, -1), keepdims=True))
    root, inverse = matrices / norm, ops.broadcast_to(identity, ops.shape(matrices))
    for _ in range(ITERATIONS):
        step = 1.5 * identity - 0.5 * ops.matmul(inverse, root)
        root, inverse = ops.matmul(root, step), ops.matmul(step, inverse)
    return inverse / ops.sqrt(norm)
