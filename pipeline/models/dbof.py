"""Deep bag of frames: project each frame up to many units, and take each unit's maximum or mean over the frames."""

import keras
from keras import ops

from pipeline.models.layers.dense import FrameDense
from pipeline.models.layers.frame_norm import FrameNorm
from pipeline.models.pooling import Pooling


@keras.saving.register_keras_serializable(package="pipeline")
class DBoF(Pooling):
    """frames [B,T,F], mask [B,T] -> descriptor [B,K].

        h_t = ReLU6(BN(x_t W))        max: d = max_t h_t        mean: d = sum_t m_t h_t / sum_t m_t

    ReLU6 never decreases, so the maximum can be taken first, and ReLU6 of only one vector per video. This saves a
    tensor of B x T x K. Parameters: FK + K (max) or FK + 2K (mean, whose batch norm has a shift). A video costs 2TFK
    FLOPs and keeps 2TK values for the gradient.

    Source: Abu-El-Haija et al. 2016, "Deep Bag of Frame (DBoF) Pooling".
    """

    source = "Abu-El-Haija et al. 2016"
    scale_matters = False
    frames_apart = True

    def __init__(self, clusters: int = 8192, statistic: str = "max", **kwargs):
        super().__init__(**kwargs)
        if statistic not in ("max", "mean"):
            raise ValueError(f"statistic must be max or mean, not {statistic!r}")
        self.clusters = clusters
        self.statistic = statistic
        dtype = self.dtype_policy
        # Batch norm centers each unit. A unit is a sum over F values, however many units there are.
        self.projection = FrameDense(
            clusters, use_bias=False, kernel_initializer="lecun_normal", dtype=dtype, name="projection"
        )
        # The maximum over a video's frames is hardly ever clipped, and the next batch norm centers what is not clipped.
        # So a shift would have no gradient there. For the mean a shift matters, since half of the frames are clipped.
        self.norm = FrameNorm(center=statistic == "mean", dtype=dtype, name="norm")

    def build(self, frames_shape):
        self.projection.build(frames_shape)
        self.norm.build((*frames_shape[:2], self.clusters))

    def call(self, frames, mask, training=False):
        return self.pool([self._units(frames, mask, training)], mask)

    def per_frame(self, frames, mask):
        return [self._units(frames, mask, training=False)]  # B,T,K

    def pool(self, products, counts):
        (units,) = products
        counts = ops.cast(counts, units.dtype)
        if self.statistic == "max":
            # Padding at 0 changes nothing: if it is the maximum, all frames are below 0 and ReLU6 gives 0 too.
            return ops.relu6(ops.max(units * ops.sign(counts)[:, :, None], axis=1))  # B,K
        sums = ops.squeeze(ops.matmul(counts[:, None, :], ops.relu6(units)), axis=1)  # B,K
        count = ops.sum(ops.cast(counts, "float32"), axis=1, keepdims=True)  # B,1
        return ops.cast(ops.cast(sums, "float32") / ops.maximum(count, 1.0), self.compute_dtype)  # B,K

    def frame_weights(self, frames, mask):
        """Return the share of the descriptor that each frame contributes, [B,T,1].

        For max it is the share of all units whose maximum is this frame's; frames that tie divide a unit among them,
        and a unit that is 0 counts for no frame. For mean it is the frame's share of the sum of all units over all
        frames.
        """
        units = ops.cast(self._units(frames, mask, training=False) * mask[:, :, None], "float32")  # B,T,K
        if self.statistic == "max":
            highest = ops.maximum(ops.max(units, axis=1, keepdims=True), 1e-12)  # B,1,K
            units = ops.cast(units >= highest, "float32")
            return ops.mean(units / ops.maximum(ops.sum(units, axis=1, keepdims=True), 1.0), axis=-1, keepdims=True)
        sums = ops.sum(ops.relu6(units), axis=-1, keepdims=True)  # B,T,1
        return sums / ops.maximum(ops.sum(sums, axis=1, keepdims=True), 1e-12)

    def _units(self, frames, mask, training):
        """Return BN(x_t W) [B,T,K], padding included."""
        return self.norm(self.projection(frames), mask=mask, training=training)

    def compute_output_shape(self, frames_shape):
        return (frames_shape[0], self.clusters)

    def get_config(self):
        return {**super().get_config(), "clusters": self.clusters, "statistic": self.statistic}
