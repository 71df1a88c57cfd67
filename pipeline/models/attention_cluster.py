"""Attention clusters: each has its own attention over the frames, and a shifting operation keeps them different."""

import keras
from keras import ops

from pipeline.models.layers.frame_norm import FrameNorm
from pipeline.models.layers.normalization import l2_normalize_rows
from pipeline.models.pooling import Pooling


@keras.saving.register_keras_serializable(package="pipeline")
class AttentionCluster(Pooling):
    """frames [B,T,F], mask [B,T] -> descriptor [B,KF], float32, of length 1.

        a_k = softmax_t(BN(tanh(X W1 + b1) W2))        psi_k = (alpha_k a_k X + beta_k) / (sqrt(K) ||.||_2)

    The softmax is over the valid frames; padding gets no weight, and a video without any frame has a_k X = 0. Batch
    norm of the logits is our choice, as for the assignments of NetVLAD. It has no shift and W2 has no bias, since a
    softmax ignores both. The initial scalars are our choice too: alpha is 1, and beta is drawn at random with either
    sign and size K^(-1/4), so that no two clusters start alike. At beta = 0 the norm would cancel alpha and its
    gradient.

    Parameters: H (F + 1 + K) + 3K, of a hidden layer of H. A video costs 2T (FH + HK + KF) FLOPs and keeps about
    4 (TF + TH + 4TK + 3KF) bytes of activations.

    Sources: Kmiec, Bae, An 2018, section 2.1, equation 1, whose N is the number of clusters; Long et al. 2018.
    """

    source = "Long et al. 2018; Kmiec et al. 2018"
    frames_apart = True

    def __init__(self, clusters: int = 256, hidden: int = 256, **kwargs):
        super().__init__(**kwargs)
        self.clusters = clusters
        self.hidden = hidden
        dtype = self.dtype_policy
        self.inner = keras.layers.Dense(hidden, activation="tanh", dtype=dtype, name="inner")
        self.logits = keras.layers.Dense(clusters, use_bias=False, dtype=dtype, name="logits")
        self.norm = FrameNorm(center=False, dtype=dtype, name="norm")

    def build(self, frames_shape):
        rows = frames_shape[:2]
        self.inner.build(frames_shape)
        self.logits.build((*rows, self.hidden))
        self.norm.build((*rows, self.clusters))
        self.alpha = self.add_weight(name="alpha", shape=(self.clusters,), initializer="ones", autocast=False)
        self.beta = self.add_weight(
            name="beta",
            shape=(self.clusters,),
            initializer=keras.initializers.RandomNormal(stddev=self.clusters**-0.25),
            autocast=False,
        )

    def call(self, frames, mask, training=False):
        return self._describe(self.attend(frames, mask, training), frames)

    def per_frame(self, frames, mask):
        return [self._logits(frames, mask, training=False), frames]

    def pool(self, products, counts):
        logits, frames = products
        return self._describe(self._attention(logits, counts), frames)

    def _describe(self, attention, frames):
        """attention [B,K,T], frames [B,T,F] -> descriptor [B,KF]."""
        attended = ops.cast(ops.matmul(attention, frames), "float32")  # B,K,F
        return l2_normalize_rows(attended * self.alpha[:, None] + self.beta[:, None]) * self.clusters**-0.5

    def attend(self, frames, mask, training=False):
        """frames [B,T,F], mask [B,T] -> a_k of each frame, [B,K,T]; over the valid frames they sum to 1."""
        return self._attention(self._logits(frames, mask, training), mask)

    def _logits(self, frames, mask, training):
        """Return BN(tanh(X W1 + b1) W2), [B,T,K]."""
        return self.norm(self.logits(self.inner(frames)), mask=mask, training=training)

    def _attention(self, logits, counts):
        """logits [B,T,K], counts [B,T] -> a_k of each frame, [B,K,T]; a frame that counts twice attracts twice."""
        counts = ops.cast(counts, "float32")[:, None, :]  # B,1,T
        valid = ops.sign(counts)
        bias = ops.log(ops.maximum(counts, 1.0)) + (valid - 1) * 1e9
        attention = ops.softmax(ops.transpose(ops.cast(logits, "float32"), (0, 2, 1)) + bias)  # B,K,T
        return ops.cast(attention * valid, self.compute_dtype)  # for a video without frames the softmax is over padding

    def frame_weights(self, frames, mask):
        """Return each cluster's attention a_k, which sums to 1 over the frames of a video."""
        return ops.transpose(self.attend(frames, mask), (0, 2, 1))  # B,T,K

    def compute_output_shape(self, frames_shape):
        return (frames_shape[0], self.clusters * frames_shape[-1])

    def get_config(self):
        return {**super().get_config(), "clusters": self.clusters, "hidden": self.hidden}
