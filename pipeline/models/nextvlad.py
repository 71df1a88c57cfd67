"""NeXtVLAD: VLAD over groups of an expanded frame, with attention over the groups."""

import keras
from keras import ops

from pipeline.models.layers.frame_norm import FrameNorm
from pipeline.models.layers.normalization import l2_normalize_rows
from pipeline.models.netvlad import VLAD


@keras.saving.register_keras_serializable(package="pipeline")
class NeXtVLAD(VLAD):
    """frames [B,T,F], mask [B,T] -> descriptor [B,KN], N = lambda F / G.

        y_t = x_t W_y + b_y, of lambda F values, cut into G groups y_tg of N
        g_tg = m_t sigmoid(y_t W_g + b_g)        a_tgk = softmax_k(BN(y_t W_a))
        V_k = sum_tg g_tg a_tgk (y_tg - c_k)

    The groups share the centers, so this is VLAD over G T small vectors with the weights g_tg a_tgk. As in NetVLAD, the
    residuals are never built. Each V_k is L2-normalized; the whole is flattened, batch-normalized and, in training,
    subject to dropout. That batch norm has no shift, since it would be lost in the classifier's next batch norm.

    Parameters: lambda F (F + 1 + G + GK) + G + 2GK + 2KN. A video costs 2T lambda F (F + G + GK + K) FLOPs and keeps
    about 4 (2T lambda F + 5TGK + 4KN) bytes of activations.

    Source: Lin, Xiao, Fan 2018, sections 3.2 and 3.3; the batch norms are its authors'.
    """

    source = "Lin et al. 2018"
    scale_matters = False
    frames_apart = True

    def __init__(self, clusters: int = 128, groups: int = 8, expansion: int = 2, dropout: float = 0.5, **kwargs):
        super().__init__(clusters, **kwargs)
        self.groups = groups
        self.expansion = expansion
        self.dropout = dropout
        dtype = self.dtype_policy
        self.attention = keras.layers.Dense(groups, dtype=dtype, name="attention")
        self.logits = keras.layers.Dense(groups * clusters, use_bias=False, dtype=dtype, name="logits")
        self.norm = FrameNorm(dtype=dtype, name="norm")
        self.descriptor_norm = keras.layers.BatchNormalization(center=False, dtype=dtype, name="descriptor_norm")
        self.drop = keras.layers.Dropout(dropout, dtype=dtype, name="drop")

    def build(self, frames_shape):
        *rows, size = frames_shape
        expanded = self.expansion * size
        if expanded % self.groups:
            raise ValueError(
                f"{self.groups} groups do not divide a frame of {expanded} values ({size} expanded {self.expansion}"
                " times)"
            )
        super().build((rows[0], None, expanded // self.groups))
        self.expand = keras.layers.Dense(expanded, dtype=self.dtype_policy, name="expand")
        self.expand.build(frames_shape)
        self.attention.build((*rows, expanded))
        self.logits.build((*rows, expanded))
        self.norm.build((*rows, self.groups * self.clusters))
        self.descriptor_norm.build(self.compute_output_shape(frames_shape))
        self.drop.build(self.compute_output_shape(frames_shape))

    def call(self, frames, mask, training=False):
        expanded = self.expand(frames)  # B,T,GN
        return self._describe(self._weights(expanded, mask, training), expanded, training)

    def per_frame(self, frames, mask):
        expanded = self.expand(frames)
        weights = self._weights(expanded, mask, training=False)
        shape = (ops.shape(frames)[0], -1, self.groups * self.clusters)
        return [ops.reshape(weights, shape), expanded]  # B,T,GK; B,T,GN

    def pool(self, products, counts):
        weights, expanded = products
        weights = weights * ops.cast(counts, weights.dtype)[:, :, None]
        shape = (ops.shape(expanded)[0], -1, self.clusters)
        return self._describe(ops.reshape(weights, shape), expanded, training=False)

    def _describe(self, weights, expanded, training):
        """weights [B,TG,K], expanded [B,T,GN] -> descriptor [B,KN]."""
        vectors = ops.reshape(expanded, (ops.shape(expanded)[0], -1, self.centers.shape[-1]))  # B,TG,N
        descriptor = l2_normalize_rows(self.aggregate(weights, vectors), self.least(weights))  # B,KN
        return self.drop(self.descriptor_norm(descriptor, training=training), training=training)

    def frame_weights(self, frames, mask):
        """Return sum_g g_tg a_tgk, the total weight that a frame's groups give to each cluster."""
        weights = self._weights(self.expand(frames), mask, training=False)  # B,TG,K
        shape = (ops.shape(frames)[0], -1, self.groups, self.clusters)
        return ops.sum(ops.reshape(ops.cast(weights, "float32"), shape), axis=2)  # B,T,K

    def _weights(self, expanded, mask, training):
        """Return attention times assignment for every small vector, [B,TG,K]."""
        gates = ops.sigmoid(ops.cast(self.attention(expanded), "float32")) * ops.cast(mask, "float32")[:, :, None]
        logits = ops.cast(self.norm(self.logits(expanded), mask=mask, training=training), "float32")  # B,T,GK
        videos = ops.shape(expanded)[0]
        assignment = ops.softmax(ops.reshape(logits, (videos, -1, self.clusters)), axis=-1)  # B,TG,K
        return ops.cast(assignment * ops.reshape(gates, (videos, -1, 1)), self.compute_dtype)

    def compute_output_shape(self, frames_shape):
        return (frames_shape[0], self.clusters * (self.expansion * frames_shape[-1] // self.groups))

    def get_config(self):
        own = {"groups": self.groups, "expansion": self.expansion, "dropout": self.dropout}
        return {**super().get_config(), **own}
