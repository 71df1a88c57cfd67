"""Attention-enhanced NetVLAD: NetVLAD with a transformer encoder over the frames before it and over clusters after."""

import keras
from keras import ops

from pipeline.models.layers.assignment import SoftAssignment
from pipeline.models.layers.encoder import TransformerEncoder
from pipeline.models.layers.normalization import l2_normalize
from pipeline.models.netvlad import VLAD


@keras.saving.register_keras_serializable(package="pipeline")
class AttentionEnhancedNetVLAD(VLAD):
    """frames [B,T,F], mask [B,T] -> descriptor [B,KF].

        Y = Encoder(X)        V_k = sum_t a_tk (y_t - c_k),  a_tk = m_t softmax_k(BN(y_t W))
        descriptor = flatten( Encoder( [sqrt(F) V_k / ||V_k||_2]_k ) )

    The clusters enter the second encoder with a mean square of 1 (our choice). Its attention contains a batch norm and
    so gives values near 1, and smaller values on the residual path would be lost beside them. The second encoder ends
    in a layer norm without a shift, since the classifier's batch norm would ignore one. The descriptor as a whole is
    not normalized.

    Parameters: 24F^2 + 21F + 2h of the encoders, 2KF + 2K of NetVLAD. A video costs 24(T+K)F^2 + 4(T^2 + K^2)F + 4TKF
    FLOPs and keeps about h(T^2 + K^2) + 25(T+K)F values.

    Source: Kmiec, Bae, An 2018, section 3.1.
    """

    source = "Kmiec et al. 2018"

    def __init__(self, clusters: int = 256, heads: int = 64, dropout: float = 0.1, **kwargs):
        super().__init__(clusters, **kwargs)
        self.heads = heads
        self.dropout = dropout
        dtype = self.dtype_policy
        self.frame_encoder = TransformerEncoder(heads, dropout, dtype=dtype, name="frame_encoder")
        self.assignment = SoftAssignment(clusters, dtype=dtype, name="assignment")
        self.cluster_encoder = TransformerEncoder(heads, dropout, center=False, dtype=dtype, name="cluster_encoder")

    def build(self, frames_shape):
        super().build(frames_shape)
        self.frame_encoder.build(frames_shape)
        self.assignment.build(frames_shape)
        self.cluster_encoder.build((frames_shape[0], self.clusters, frames_shape[-1]))

    def call(self, frames, mask, training=False):
        frames, assignment = self._assign(frames, mask, training)  # B,T,F; B,T,K
        size = frames.shape[-1]
        clusters = l2_normalize(self.aggregate(assignment, frames), self.least(assignment)) * size**0.5  # B,K,F
        clusters = self.cluster_encoder(clusters, training=training)
        return ops.reshape(clusters, (-1, self.clusters * size))

    def frame_weights(self, frames, mask):
        """Return the assignments a_tk of the encoded frames; those of a frame sum to 1."""
        return self._assign(frames, mask, training=False)[1]

    def _assign(self, frames, mask, training):
        """Return the encoded frames [B,T,F] and their assignments [B,T,K]."""
        frames = self.frame_encoder(frames, mask=mask, training=training)
        return frames, self.assignment(frames, mask, training=training)

    def get_config(self):
        return {**super().get_config(), "heads": self.heads, "dropout": self.dropout}
