"""Attention NetVLAD: the assignments are the output of a transformer encoder, and may be negative."""

import keras
from keras import ops

from pipeline.models.layers.encoder import AttentionBlock, TransformerEncoder
from pipeline.models.layers.frame_norm import FrameNorm
from pipeline.models.layers.normalization import intra_normalize
from pipeline.models.netvlad import VLAD


@keras.saving.register_keras_serializable(package="pipeline")
class AttentionAssignment(keras.layers.Layer):
    """frames [B,T,F], mask [B,T] -> A [B,T,K], "Transformer Encoder (*)" of the paper.

        h = AttentionBlock(frames)        A = m * BN(ReLU(W2 BN(ReLU(W1 h + b1)))),  W1: F -> 4F, W2: 4F -> K

    The encoder's feed-forward projects to K values and so has neither a residual of its own nor dropout. W2 needs no
    bias, since the shift of the batch norm before it acts as one. The last batch norm has no scale: intra-normalization
    ignores a factor on a cluster's weights, and the classifier absorbs its sign.

    Parameters: 4F^2 + 4F + h of the block, and 4F^2 + 12F + 4KF + K. A video costs 16TF^2 + 4T^2 F + 8TKF FLOPs and
    keeps about hT^2 + 26TF values.

    Source: Kmiec, Bae, An 2018, section 3.2.
    """

    def __init__(self, clusters: int, heads: int, dropout: float = 0.1, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.clusters = clusters
        self.heads = heads
        self.dropout = dropout
        dtype = self.dtype_policy
        self.block = AttentionBlock(heads, dropout, dtype=dtype, name="block")
        self.norm = FrameNorm(dtype=dtype, name="norm")
        self.narrow = keras.layers.Dense(clusters, activation="relu", use_bias=False, dtype=dtype, name="narrow")
        self.last_norm = FrameNorm(scale=False, dtype=dtype, name="last_norm")

    def build(self, frames_shape):
        *rows, size = frames_shape
        self.widen = keras.layers.Dense(4 * size, activation="relu", dtype=self.dtype_policy, name="widen")
        self.block.build(frames_shape)
        self.widen.build(frames_shape)
        self.norm.build((*rows, 4 * size))
        self.narrow.build((*rows, 4 * size))
        self.last_norm.build((*rows, self.clusters))

    def call(self, frames, mask, training=False):
        frames = self.block(frames, mask=mask, training=training)  # B,T,F
        widened = self.norm(self.widen(frames), mask=mask, training=training)  # B,T,4F
        assignment = self.last_norm(self.narrow(widened), mask=mask, training=training)  # B,T,K
        return assignment * ops.expand_dims(mask, -1)

    def compute_output_shape(self, frames_shape):
        return (*frames_shape[:2], self.clusters)

    def get_config(self):
        return {**super().get_config(), "clusters": self.clusters, "heads": self.heads, "dropout": self.dropout}


@keras.saving.register_keras_serializable(package="pipeline")
class AttentionNetVLAD(VLAD):
    """frames [B,T,F], mask [B,T] -> descriptor [B,KF].

        A = AttentionAssignment(Encoder(X))        V_k = sum_t a_tk (x_t - c_k) = (A^T X)_k - (sum_t a_tk) c_k

    Each V_k is L2-normalized; then the whole is flattened and L2-normalized again. The weights do not come from a
    softmax and may be negative, and the right-hand form is exact for these too. `encoders=1` omits the encoder before
    the one that assigns, as the authors' code does.

    Parameters: 12F^2 + 11F + h of the encoder, 8F^2 + 16F + h + 4KF + K of the assignment, KF of the centers. A video
    costs 40TF^2 + 8T^2 F + 10TKF FLOPs and keeps about 2hT^2 + 51TF values.

    Source: Kmiec, Bae, An 2018, section 3.2.
    """

    source = "Kmiec et al. 2018"

    def __init__(self, clusters: int = 256, heads: int = 64, encoders: int = 2, dropout: float = 0.1, **kwargs):
        super().__init__(clusters, **kwargs)
        if encoders not in (1, 2):
            raise ValueError(f"encoders must be 1 or 2, not {encoders!r}")
        self.heads = heads
        self.encoders = encoders
        self.dropout = dropout
        if encoders == 2:
            self.encoder = TransformerEncoder(heads, dropout, dtype=self.dtype_policy, name="encoder")
        self.assignment = AttentionAssignment(clusters, heads, dropout, dtype=self.dtype_policy, name="assignment")

    def build(self, frames_shape):
        super().build(frames_shape)
        if self.encoders == 2:
            self.encoder.build(frames_shape)
        self.assignment.build(frames_shape)

    def call(self, frames, mask, training=False):
        assignment = self._assign(frames, mask, training)  # B,T,K
        return intra_normalize(self.aggregate(assignment, frames), self.least(assignment))

    def frame_weights(self, frames, mask):
        """Return the assignments A, which may be negative."""
        return self._assign(frames, mask, training=False)

    def _assign(self, frames, mask, training):
        """Return the assignments A [B,T,K]."""
        encoded = self.encoder(frames, mask=mask, training=training) if self.encoders == 2 else frames
        return self.assignment(encoded, mask, training=training)

    def get_config(self):
        return {**super().get_config(), "heads": self.heads, "encoders": self.encoders, "dropout": self.dropout}
