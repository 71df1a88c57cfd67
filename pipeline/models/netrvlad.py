"""NetRVLAD: NetVLAD without the residual; sums of the frames themselves."""

import keras
from keras import ops

from pipeline.models.layers.assignment import SoftAssignment
from pipeline.models.layers.normalization import unit_twice
from pipeline.models.pooling import Pooling


@keras.saving.register_keras_serializable(package="pipeline")
class NetRVLAD(Pooling):
    """frames [B,T,F], mask [B,T] -> descriptor [B,KF], as NetVLAD with every centre at 0: V_k = (A^T X)_k.

    Parameters: KF + 2K; a video costs 4TKF FLOPs. Source: Miech, Laptev, Sivic 2017, section 3.2.
    """

    source = "Miech et al. 2017"

    def __init__(self, clusters: int = 256, **kwargs):
        super().__init__(**kwargs)
        self.clusters = clusters
        self.assignment = SoftAssignment(clusters, dtype=self.dtype_policy, name="assignment")

    def build(self, frames_shape):
        self.assignment.build(frames_shape)

    def call(self, frames, mask, training=False):
        assignment = self.assignment(frames, mask, training=training)  # B,T,K
        sums = ops.matmul(ops.transpose(assignment, (0, 2, 1)), frames)  # B,K,F
        return unit_twice(ops.cast(sums, "float32"))

    def frame_weights(self, frames, mask):
        """The assignments a_tk: those of a frame sum to 1."""
        return self.assignment(frames, mask, training=False)  # B,T,K

    def compute_output_shape(self, frames_shape):
        return (frames_shape[0], self.clusters * frames_shape[-1])

    def get_config(self):
        return {**super().get_config(), "clusters": self.clusters}
