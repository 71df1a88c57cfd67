"""Soft bag of frames (NetBoW): a histogram of how much of a video belongs to each cluster."""

import keras
from keras import ops

from pipeline.models.layers.clustered import SoftlyAssigned
from pipeline.models.layers.normalization import l2_normalize


@keras.saving.register_keras_serializable(package="pipeline")
class SoftDBoF(SoftlyAssigned):
    """frames [B,T,F], mask [B,T] -> descriptor [B,K], a histogram of soft assignments, L2-normalized in float32.

        a_tk = m_t softmax_k(BN(x_t W))        d_k = sum_t a_tk / || sum_t a_t ||_2

    Parameters: FK + 2K; a video costs 2TFK FLOPs and keeps 3TK values for the gradient.

    Source: Miech, Laptev, Sivic 2017 (NetBoW, the soft bag of words).
    """

    source = "Miech et al. 2017"
    scale_matters = False

    def __init__(self, clusters: int = 8000, **kwargs):
        super().__init__(clusters, **kwargs)

    def describe(self, assignment, frames):
        histogram = ops.sum(ops.cast(assignment, "float32"), axis=1)  # B,K
        return l2_normalize(histogram)

    def compute_output_shape(self, frames_shape):
        return (frames_shape[0], self.clusters)
