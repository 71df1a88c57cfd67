"""NetVLAD: sums of residuals to learned centers, the baseline in table 1 of Kmiec et al. 2018."""

import keras
from keras import ops

from pipeline.models.layers.clustered import Clustered, SoftlyAssigned
from pipeline.models.layers.normalization import CLAMP, intra_normalize


class VLAD(Clustered):
    """Base of NetVLAD and related families: learned centers, and the sums of the frames' residuals to each of them.

    A subclass defines how frames are assigned. Its descriptor is [B,KF].
    """

    def build(self, frames_shape):
        size = frames_shape[-1]
        self.centers = self.add_weight(
            name="centres",
            shape=(self.clusters, size),
            initializer=keras.initializers.RandomNormal(stddev=size**-0.5),
        )

    def aggregate(self, assignment, frames):
        """assignment [B,T,K], of either sign, frames [B,T,F] -> V [B,K,F], the sums of residuals, in float32."""
        sums = ops.cast(ops.matmul(ops.transpose(assignment, (0, 2, 1)), frames), "float32")  # B,K,F
        mass = ops.sum(ops.cast(assignment, "float32"), axis=1)  # B,K
        return sums - mass[:, :, None] * ops.cast(self.centers, "float32")

    def least(self, assignment):
        """assignment [B,T,K] -> 0.01 ||sum_t a_tk c_k||, [B,K,1], the least norm of V_k, without a gradient.

        If every frame equals the center, V_k is 0, and without this bound rounding would decide its direction.
        """
        mass = ops.sum(ops.cast(assignment, "float32"), axis=1)  # B,K
        lengths = ops.norm(ops.cast(self.centers, "float32"), axis=-1)  # K
        return CLAMP * ops.stop_gradient(ops.abs(mass) * lengths)[:, :, None]

    def compute_output_shape(self, frames_shape):
        return (frames_shape[0], self.clusters * frames_shape[-1])


@keras.saving.register_keras_serializable(package="pipeline")
class NetVLAD(SoftlyAssigned, VLAD):
    """frames [B,T,F], mask [B,T] -> descriptor [B,KF].

        a_tk = m_t softmax_k(BN(x_t W))        V_k = sum_t a_tk (x_t - c_k) = (A^T X)_k - (sum_t a_tk) c_k

    Each V_k is L2-normalized (`least` bounds its norm); then the whole is flattened and L2-normalized again. The
    right-hand form never builds the residuals, a tensor of B x T x K x F. Parameters: 2KF + 2K; a video costs 4TKF
    FLOPs.

    Sources: Arandjelovic et al. 2016, equation 1; Miech, Laptev, Sivic 2017; Kmiec, Bae, An 2018, table 1.
    """

    source = "Arandjelovic et al. 2016; Kmiec et al. 2018"

    def __init__(self, clusters: int = 256, **kwargs):
        super().__init__(clusters, **kwargs)

    def describe(self, assignment, frames):
        return intra_normalize(self.aggregate(assignment, frames), self.least(assignment))
