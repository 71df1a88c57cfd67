"""NetFV: Fisher vectors, that is, first and second moments of residuals in units of learned widths."""

import math

import keras
from keras import ops

from pipeline.models.layers.clustered import SoftlyAssigned
from pipeline.models.layers.normalization import CLAMP, intra_normalize

LEAST_WIDTH = 0.1
"""The least width, in units of frames after batch norm; below it a rounding error of x^2 would weigh like a frame."""


@keras.saving.register_keras_serializable(package="pipeline")
class NetFV(SoftlyAssigned):
    """frames [B,T,F], mask [B,T] -> descriptor [fv1; fv2], float32 [B,2KF].

        a_tk = m_t softmax_k(BN(x_t W))                  s_k = 0.1 + softplus(w_k), one a feature, 1 at the beginning
        fv1_k = sum_t a_tk (x_t - c_k) / s_k           = (A^T X - (sum_t a_tk) c_k) / s_k
        fv2_k = sum_t a_tk ((x_t - c_k)^2 / s_k^2 - 1) = (A^T X^2 - 2 c_k A^T X + c_k^2 sum_t a_tk) / s_k^2 - sum_t a_tk

    fv1 and fv2 are each L2-normalized for each cluster, flattened and L2-normalized again, then put side by side. If
    every frame equals the center, fv1_k is 0 and has no direction. So its norm counts as at least 0.01 ||sum_t a_tk c_k
    / s_k||, a bound without a gradient.

    The right-hand forms never build the residuals, a tensor of B x T x K x F. They take small differences of large
    numbers, so everything except the assignments is float32 at any precision.

    Parameters: 3KF + 2K. A video costs 6TKF FLOPs and keeps about 4 (2TF + 3TK + 6KF) bytes of activations.

    Sources: Miech, Laptev, Sivic 2017, section 3.2; Perronnin, Dance 2007. The widths as a softplus with a floor are a
    choice of ours: the usual square has no gradient at 0, and may come near a division by 0.
    """

    source = "Miech et al. 2017"

    def __init__(self, clusters: int = 128, **kwargs):
        super().__init__(clusters, **kwargs)

    def build(self, frames_shape):
        super().build(frames_shape)
        size = frames_shape[-1]
        self.centers = self.add_weight(
            name="centres",
            shape=(self.clusters, size),
            initializer=keras.initializers.RandomNormal(stddev=size**-0.5),
            autocast=False,
        )
        self.widths = self.add_weight(
            name="widths",
            shape=(self.clusters, size),
            # The softplus of this value is 1 - LEAST_WIDTH, so that the initial width is 1.
            initializer=keras.initializers.Constant(math.log(math.expm1(1 - LEAST_WIDTH))),
            autocast=False,
        )

    def describe(self, assignment, frames):
        first, second, least = self.moments(ops.cast(assignment, "float32"), ops.cast(frames, "float32"))
        return ops.concatenate([intra_normalize(first, least), intra_normalize(second)], axis=-1)

    def moments(self, assignment, frames):
        """assignment [B,T,K], frames [B,T,F], float32 -> fv1, fv2 [B,K,F], unnormalized; least norm of fv1 [B,K,1]."""
        widths = LEAST_WIDTH + ops.softplus(self.widths)  # K,F
        weights = ops.transpose(assignment, (0, 2, 1))  # B,K,T
        mass = ops.sum(weights, axis=-1, keepdims=True)  # B,K,1
        sums = ops.matmul(weights, frames)  # B,K,F
        squares = ops.matmul(weights, ops.square(frames))  # B,K,F
        residuals = sums - mass * self.centers
        # c (A^T X + residuals) is 2 c A^T X - c^2 sum_t a_tk
        spread = squares - self.centers * (sums + residuals)
        least = CLAMP * ops.stop_gradient(mass * ops.norm(self.centers / widths, axis=-1, keepdims=True))  # B,K,1
        return residuals / widths, spread / ops.square(widths) - mass, least

    def compute_output_shape(self, frames_shape):
        return (frames_shape[0], 2 * self.clusters * frames_shape[-1])
