"""Average pooling: statistics over the valid frames, the baseline that any pooling model has to beat."""

import keras
from keras import ops

from pipeline.models.pooling import Pooling


@keras.saving.register_keras_serializable(package="pipeline")
class Average(Pooling):
    """frames [B,T,F], mask [B,T] -> the mean of the valid frames [B,F].

    With `statistics="mean_std_max"` the result is the mean, standard deviation and maximum side by side, [B,3F]. Sums
    are taken in float32. There are no parameters; a video costs 2TF FLOPs (the mean).

    Source: Abu-El-Haija et al. 2016, whose video-level features are these statistics.
    """

    source = "Abu-El-Haija et al. 2016"
    scale_matters = False
    frames_apart = True

    def __init__(self, statistics: str = "mean", **kwargs):
        super().__init__(**kwargs)
        if statistics not in ("mean", "mean_std_max"):
            raise ValueError(f"statistics must be mean or mean_std_max, not {statistics!r}")
        self.statistics = statistics

    def build(self, frames_shape):
        """Do nothing, since there are no weights."""

    def call(self, frames, mask, training=False):
        return self.pool([frames], mask)

    def per_frame(self, frames, mask):
        return [frames]

    def pool(self, products, counts):
        frames = ops.cast(products[0], "float32")
        weights = _shares(counts)  # B,T
        mean = _weighted_sum(weights, frames)  # B,F
        if self.statistics == "mean":
            return ops.cast(mean, self.compute_dtype)
        variance = _weighted_sum(weights, ops.square(frames - mean[:, None, :]))  # B,F
        std = ops.sqrt(variance + 1e-6)  # a single frame has no variance, and a root at 0 no gradient
        maximum = ops.max(ops.where(counts[:, :, None] > 0, frames, -1e9), axis=1)  # B,F
        return ops.cast(ops.concatenate([mean, std, maximum], axis=-1), self.compute_dtype)  # B,3F

    def pool_windows(self, products, places, counts):
        if self.statistics != "mean":
            return super().pool_windows(products, places, counts)
        # One product, in place of a copy of each window's frames: windows overlap.
        frames = ops.cast(products[0], "float32")  # T,F
        windows = ops.broadcast_to(ops.arange(ops.shape(places)[0], dtype="int32")[:, None], ops.shape(places))
        where = ops.reshape(ops.stack([windows, places], axis=-1), (-1, 2))  # WN,2
        shape = (ops.shape(places)[0], ops.shape(frames)[0])
        shares = ops.scatter(where, ops.reshape(_shares(counts), (-1,)), shape)  # W,T
        return ops.cast(ops.matmul(shares, frames), self.compute_dtype)

    def frame_weights(self, frames, mask):
        """Return 1/n for each of n valid frames, [B,T,1]."""
        return _shares(mask)[:, :, None]

    def compute_output_shape(self, frames_shape):
        return (frames_shape[0], frames_shape[2] * (1 if self.statistics == "mean" else 3))

    def get_config(self):
        return {**super().get_config(), "statistics": self.statistics}


def _shares(mask):
    """mask [B,T] -> 1/n on each of a video's n valid frames, 0 on padding, [B,T]."""
    mask = ops.cast(mask, "float32")
    return mask / ops.maximum(ops.sum(mask, axis=1, keepdims=True), 1.0)


def _weighted_sum(weights, frames):
    """weights [B,T], frames [B,T,F] -> the weighted sum of the frames [B,F]."""
    return ops.squeeze(ops.matmul(weights[:, None, :], frames), axis=1)
