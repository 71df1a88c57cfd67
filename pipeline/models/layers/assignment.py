"""Softly assign frames to clusters; shared by the families that have clusters."""

import keras
from keras import ops

from pipeline.models.layers.frame_norm import FrameNorm


@keras.saving.register_keras_serializable(package="pipeline")
class SoftAssignment(keras.layers.Layer):
    """frames [B,T,F], mask [B,T] -> a_tk = m_t softmax_k(BN(x_t W)), [B,T,K].

    The weights of a valid frame sum to 1 over the clusters; those of padding are 0. The softmax is taken in float32.
    Source: Arandjelovic et al. 2016, equation 3, in the decoupled form of Miech et al. 2017 (batch norm on the logits,
    the centers not tied to W).
    """

    def __init__(self, clusters: int, **kwargs):
        super().__init__(**kwargs)
        self.clusters = clusters
        self.supports_masking = True
        dtype = self.dtype_policy
        self.logits = keras.layers.Dense(
            clusters, use_bias=False, dtype=dtype, name="logits"
        )  # the shift of the batch norm is the bias
        self.norm = FrameNorm(dtype=dtype, name="norm")

    def build(self, frames_shape):
        self.logits.build(frames_shape)
        self.norm.build((*frames_shape[:2], self.clusters))

    def call(self, frames, mask, training=False):
        logits = self.norm(self.logits(frames), mask=mask, training=training)  # B,T,K
        assignment = ops.softmax(ops.cast(logits, "float32"), axis=-1)
        return ops.cast(assignment, self.compute_dtype) * ops.expand_dims(mask, -1)  # B,T,K

    def compute_output_shape(self, frames_shape):
        return (*frames_shape[:2], self.clusters)

    def get_config(self):
        return {**super().get_config(), "clusters": self.clusters}
