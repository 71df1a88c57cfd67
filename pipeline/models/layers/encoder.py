"""Transformer encoders over a set of rows: attention with batch norm in its inner layers, then a feed-forward."""

import keras
from keras import ops

from pipeline.models.layers.frame_norm import FrameNorm


@keras.saving.register_keras_serializable(package="pipeline")
class LogitScale(keras.layers.Layer):
    """queries [B,h,T,d], keys [B,h,S,d], 1 on valid rows of each [B,T], [B,S] -> batch norm's scale of the logits, [h].

        gamma_h / sqrt(var_h + epsilon),        var_h = variance of q_t . k_s over the valid pairs of all videos

    This is batch norm of the attention logits without a center, since a softmax ignores one. It replaces the fixed
    1/sqrt(d). The variance is exact, but is computed without the logits: with k~ the mean key of a video and k' its
    keys less k~, it is the mean over the pairs of

        (q_t . k'_s)^2, summed in a video: <Q^T Q, K'^T K'>_F        plus        (q_t . k~ - mean of the same)^2

    which are two non-negative terms, so nothing cancels. Statistics are float32 and tracked like those of batch norm.
    Parameters: h trained, h tracked. A video costs 4(T+S)Fd FLOPs; the logits themselves cost 2TSF.
    """

    def __init__(self, momentum: float = 0.99, epsilon: float = 1e-3, **kwargs):
        super().__init__(**kwargs)
        self.momentum = momentum
        self.epsilon = epsilon

    def build(self, queries_shape, keys_shape):
        heads = (queries_shape[1],)
        self.gamma = self.add_weight(name="gamma", shape=heads, initializer="ones", autocast=False)
        self.moving_variance = self.add_weight(
            name="moving_variance", shape=heads, initializer="ones", trainable=False, autocast=False
        )

    def call(self, queries, keys, valid_queries, valid_keys, training=False):
        variance = self.moving_variance
        if training and self.trainable:
            variance = logit_variance(*(ops.cast(x, "float32") for x in (queries, keys, valid_queries, valid_keys)))
            self.moving_variance.assign(self.moving_variance * self.momentum + variance * (1 - self.momentum))
        return self.gamma * ops.rsqrt(variance + self.epsilon)

    def compute_output_shape(self, queries_shape):
        return (queries_shape[1],)

    def get_config(self):
        return {**super().get_config(), "momentum": self.momentum, "epsilon": self.epsilon}


def logit_variance(queries, keys, valid_queries, valid_keys):
    """queries [B,h,T,d], keys [B,h,S,d], 1 on the valid rows of each [B,T], [B,S] -> variance of q_t . k_s, [h]."""
    rows, columns = valid_queries[:, None, :, None], valid_keys[:, None, :, None]
    counts = ops.sum(valid_keys, axis=1)[:, None, None, None]  # B,1,1,1
    queries = queries * rows
    mean_key = ops.sum(keys * columns, axis=2, keepdims=True) / ops.maximum(counts, 1.0)  # B,h,1,d
    keys = (keys - mean_key) * columns
    within = ops.sum(_gram(queries) * _gram(keys), axis=(0, 2, 3))  # h
    pairs = rows * counts  # B,1,T,1: the number of pairs that a query is in
    total = ops.maximum(ops.sum(pairs), 1.0)
    along = ops.sum(queries * mean_key, axis=3, keepdims=True)  # B,h,T,1
    mean = ops.sum(pairs * along, axis=(0, 2), keepdims=True) / total  # 1,h,1,1
    between = ops.sum(pairs * ops.square(along - mean), axis=(0, 2, 3))  # h
    return (within + between) / total


@keras.saving.register_keras_serializable(package="pipeline")
class MultiHeadAttention(keras.layers.Layer):
    """rows [B,T,F] attend to keys [B,S,G], or to each other when there are none -> [B,T,F].

        O = BN([softmax_s(scale_h q_t . k_s) V]_h) W_o        q, k, v = rows W_q, keys W_k, keys W_v, in heads of F/h

    `mask` is the mask of the rows and `keys_mask` that of the keys; None means that every row is valid. Keys that are
    padding get no weight. Rows that are padding give finite values and count in no statistic. `LogitScale` gives each
    head's scale. There are no biases, since the shift of the batch norm is the only one that matters. There is no
    dropout of attention weights (our choice), which would need another tensor of B x h x T x S. The scale is applied to
    the queries, so that only one such tensor is kept, the weights.

    Parameters: 2F^2 + 2GF + 2F + h. A video costs 4TF^2 + 4SGF + 4TSF FLOPs and keeps about hTS + 8TF values.

    Sources: Vaswani et al. 2017, section 3.2.2; Kmiec, Bae, An 2018, section 3.1 (batch norm in the inner layers).
    """

    def __init__(self, heads: int, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.heads = heads

    def build(self, rows_shape, keys_shape=None):
        keys_shape = keys_shape or rows_shape
        size = rows_shape[-1]
        if size % self.heads:
            raise ValueError(f"{self.heads} heads do not divide a row of {size} values")
        dtype = self.dtype_policy
        self.query = keras.layers.Dense(size, use_bias=False, dtype=dtype, name="query")
        self.key = keras.layers.Dense(size, use_bias=False, dtype=dtype, name="key")
        self.value = keras.layers.Dense(size, use_bias=False, dtype=dtype, name="value")
        self.scale = LogitScale(dtype=dtype, name="scale")
        self.norm = FrameNorm(dtype=dtype, name="norm")
        self.project = keras.layers.Dense(size, use_bias=False, dtype=dtype, name="project")
        self.query.build(rows_shape)
        self.key.build(keys_shape)
        self.value.build(keys_shape)
        split = (rows_shape[0], self.heads, None, size // self.heads)
        self.scale.build(split, split)
        self.norm.build(rows_shape)
        self.project.build(rows_shape)

    def call(self, rows, keys=None, mask=None, keys_mask=None, training=False):
        if keys is None:
            keys, keys_mask = rows, mask
        weights = self.attend(rows, keys, mask, keys_mask, training)  # B,h,T,S
        values = self._split(self.value(keys))  # B,h,S,d
        heads = ops.transpose(ops.matmul(weights, values), (0, 2, 1, 3))  # B,T,h,d
        heads = ops.reshape(heads, (-1, ops.shape(rows)[1], rows.shape[2]))  # B,T,F
        return self.project(self.norm(heads, mask=mask, training=training))

    def attend(self, rows, keys, mask=None, keys_mask=None, training=False):
        """Return the weights softmax_s(scale_h q_t . k_s), [B,h,T,S]; over the valid keys they sum to 1."""
        queries, keys = self._split(self.query(rows)), self._split(self.key(keys))  # B,h,T,d; B,h,S,d
        scale = self.scale(queries, keys, _valid(queries, mask), _valid(keys, keys_mask), training=training)  # h
        queries = queries * ops.cast(scale, queries.dtype)[:, None, None]
        logits = ops.cast(ops.matmul(queries, ops.transpose(keys, (0, 1, 3, 2))), "float32")  # B,h,T,S
        if keys_mask is not None:
            logits = logits + (ops.cast(keys_mask, "float32") - 1)[:, None, None, :] * 1e9
        return ops.cast(ops.softmax(logits, axis=-1), self.compute_dtype)

    def _split(self, rows):
        """[B,T,F] -> [B,h,T,F/h]."""
        heads = ops.reshape(rows, (-1, ops.shape(rows)[1], self.heads, rows.shape[2] // self.heads))
        return ops.transpose(heads, (0, 2, 1, 3))

    def compute_output_shape(self, rows_shape):
        return rows_shape

    def get_config(self):
        return {**super().get_config(), "heads": self.heads}


@keras.saving.register_keras_serializable(package="pipeline")
class AttentionBlock(keras.layers.Layer):
    """The first half of an encoder: LayerNorm(rows + dropout(MultiHeadAttention(rows, keys))), [B,T,F] -> [B,T,F]."""

    def __init__(self, heads: int, dropout: float = 0.1, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.heads = heads
        self.dropout = dropout
        self.attention = MultiHeadAttention(heads, dtype=self.dtype_policy, name="attention")
        self.drop = row_dropout(dropout, self.dtype_policy)
        self.norm = keras.layers.LayerNormalization(dtype=self.dtype_policy, name="norm")

    def build(self, rows_shape, keys_shape=None):
        self.attention.build(rows_shape, keys_shape)
        self.drop.build(rows_shape)
        self.norm.build(rows_shape)

    def call(self, rows, keys=None, mask=None, keys_mask=None, training=False):
        attended = self.attention(rows, keys, mask=mask, keys_mask=keys_mask, training=training)
        return self.norm(rows + self.drop(attended, training=training))

    def compute_output_shape(self, rows_shape):
        return rows_shape

    def get_config(self):
        return {**super().get_config(), "heads": self.heads, "dropout": self.dropout}


@keras.saving.register_keras_serializable(package="pipeline")
class TransformerEncoder(keras.layers.Layer):
    """rows [B,T,F] attend to keys [B,S,G], or to each other when there are none -> [B,T,F].

        h = AttentionBlock(rows, keys)        rows' = LayerNorm(h + dropout(W2 ReLU(W1 h + b1) + b2)),  W1: F -> 4F

    Masks are as in `MultiHeadAttention`. `center=False` omits the last shift, for rows that go on to a batch norm,
    which ignores it. Parameters: those of the attention and 8F^2 + 9F (F fewer without the shift); if the rows attend
    to each other, 12F^2 + 11F + h in all, and a video costs 24TF^2 + 4T^2 F FLOPs and keeps about hT^2 + 25TF values.

    Sources: Vaswani et al. 2017, section 3.1; Kmiec, Bae, An 2018, section 3.1.
    """

    def __init__(self, heads: int, dropout: float = 0.1, center: bool = True, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.heads = heads
        self.dropout = dropout
        self.center = center
        self.block = AttentionBlock(heads, dropout, dtype=self.dtype_policy, name="block")
        self.drop = row_dropout(dropout, self.dtype_policy)
        self.norm = keras.layers.LayerNormalization(center=center, dtype=self.dtype_policy, name="norm")

    def build(self, rows_shape, keys_shape=None):
        size = rows_shape[-1]
        self.block.build(rows_shape, keys_shape)
        self.widen = keras.layers.Dense(4 * size, activation="relu", dtype=self.dtype_policy, name="widen")
        self.narrow = keras.layers.Dense(size, dtype=self.dtype_policy, name="narrow")
        self.widen.build(rows_shape)
        self.narrow.build((*rows_shape[:-1], 4 * size))
        self.drop.build(rows_shape)
        self.norm.build(rows_shape)

    def call(self, rows, keys=None, mask=None, keys_mask=None, training=False):
        rows = self.block(rows, keys, mask=mask, keys_mask=keys_mask, training=training)
        return self.norm(rows + self.drop(self.narrow(self.widen(rows)), training=training))

    def compute_output_shape(self, rows_shape):
        return rows_shape

    def get_config(self):
        return {**super().get_config(), "heads": self.heads, "dropout": self.dropout, "center": self.center}


def row_dropout(rate: float, dtype) -> keras.layers.Dropout:
    """Return a dropout that drops the same values in all rows of a video.

    So neither padding nor the order of rows changes what is dropped (our choice).

    Source: Gal, Ghahramani 2016, section 4 (the same mask at every step).
    """
    return keras.layers.Dropout(rate, noise_shape=(None, 1, None), dtype=dtype, name="drop")


def _valid(rows, mask):
    """rows [B,h,T,d], mask [B,T] or None -> 1 on the valid rows, 0 on padding, [B,T]."""
    return ops.ones_like(rows[:, 0, :, 0]) if mask is None else mask


def _gram(rows):
    """rows [B,h,T,d] -> the products of pairs of columns, summed over the rows, [B,h,d,d]."""
    return ops.matmul(ops.transpose(rows, (0, 1, 3, 2)), rows)
