"""Latent attention: learned queries attend to the frames, then to each other, and are averaged."""

import keras
from keras import ops

from pipeline.models.layers.encoder import TransformerEncoder
from pipeline.models.pooling import Pooling


@keras.saving.register_keras_serializable(package="pipeline")
class LatentAttention(Pooling):
    """frames [B,T,F], mask [B,T] -> descriptor [B,F], the mean of L latents.

        Z = Encoder(latents, frames)        `blocks` times: Z <- Encoder(Z)        d = mean_l Z_l

    Only the first encoder sees the frames, with L queries and T keys. The following ones are among the L latents only,
    so the cost grows with T and not with its square. The last encoder has no shift, since the mean goes on to a batch
    norm.

    Parameters: (blocks + 1)(12F^2 + 11F + heads) + (L - 1)F. A video costs 4TF^2 + 4LTF + 20LF^2 FLOPs for reading and
    24LF^2 + 4L^2 F for each block. It keeps 2TF + heads LT values, and about 25LF + heads L^2 for each encoder.

    Sources: Lee et al. 2019 (Set Transformer), section 3.2, pooling by multi-head attention; Jaegle et al. 2021
    (Perceiver), section 3.1, cross-attention to a learned array of latents.
    """

    source = "Lee et al. 2019; Jaegle et al. 2021"

    def __init__(self, latents: int = 64, heads: int = 16, blocks: int = 2, dropout: float = 0.1, **kwargs):
        super().__init__(**kwargs)
        self.latents = latents
        self.heads = heads
        self.blocks = blocks
        self.dropout = dropout
        names = ["read", *(f"block_{number}" for number in range(blocks))]
        self.encoders = [
            TransformerEncoder(heads, dropout, center=name != names[-1], dtype=self.dtype_policy, name=name)
            for name in names
        ]

    def build(self, frames_shape):
        size = frames_shape[-1]
        # The queries must differ, or they would stay alike. For frames of variance 1, this size gives logits of
        # variance 1, at which the encoder's statistics of the logits start.
        self.queries = self.add_weight(
            name="queries",
            shape=(1, self.latents, size),
            initializer=keras.initializers.RandomNormal(stddev=(self.heads / size) ** 0.5),
        )
        latents_shape = (frames_shape[0], self.latents, size)
        read, *blocks = self.encoders
        read.build(latents_shape, frames_shape)
        for block in blocks:
            block.build(latents_shape)

    def call(self, frames, mask, training=False):
        read, *blocks = self.encoders
        latents = read(self._queries(frames), frames, keys_mask=mask, training=training)  # B,L,F
        for block in blocks:
            latents = block(latents, training=training)
        return ops.cast(ops.mean(ops.cast(latents, "float32"), axis=1), self.compute_dtype)  # B,F

    def frame_weights(self, frames, mask):
        """Return the attention of each latent, averaged over its heads, [B,T,L]; it sums to 1 over the frames."""
        attention = self.encoders[0].block.attention.attend(self._queries(frames), frames, keys_mask=mask)  # B,h,L,T
        weights = ops.mean(ops.cast(attention, "float32"), axis=1) * ops.cast(mask, "float32")[:, None, :]  # B,L,T
        return ops.transpose(weights, (0, 2, 1))

    def _queries(self, frames):
        """Return the queries, the same for every video, [B,L,F]."""
        return ops.repeat(ops.cast(self.queries, self.compute_dtype), ops.shape(frames)[0], axis=0)

    def compute_output_shape(self, frames_shape):
        return (frames_shape[0], frames_shape[2])

    def get_config(self):
        settings = {name: getattr(self, name) for name in ("latents", "heads", "blocks", "dropout")}
        return {**super().get_config(), **settings}
