"""NetRVLAD: NetVLAD without residuals; it sums the frames themselves."""

import keras
from keras import ops

from pipeline.models.layers.clustered import SoftlyAssigned
from pipeline.models.layers.normalization import intra_normalize


@keras.saving.register_keras_serializable(package="pipeline")
class NetRVLAD(SoftlyAssigned):
    """frames [B,T,F], mask [B,T] -> descriptor [B,KF], as NetVLAD with every center at 0: V_k = (A^T X)_k.

    Parameters: KF + 2K; a video costs 4TKF FLOPs. Source: Miech, Laptev, Sivic 2017, section 3.2.
    """

    source = "Miech et al. 2017"

    def __init__(self, clusters: int = 256, **kwargs):
        super().__init__(clusters, **kwargs)

    def describe(self, assignment, frames):
        sums = ops.matmul(ops.transpose(assignment, (0, 2, 1)), frames)  # B,K,F
        return intra_normalize(ops.cast(sums, "float32"))

    def compute_output_shape(self, frames_shape):
        return (frames_shape[0], self.clusters * frames_shape[-1])
