"""L2 normalization in float32 that has a gradient at 0 too."""

from keras import ops

from pipeline.models.layers.custom_gradient import custom_gradient

LEAST_NORM = 1e-6
CLAMP = 0.01
"""The norm of a sum of residuals counts as at least this share of its centers' part: below it rounding decides."""


def l2_normalize(vectors, least=LEAST_NORM):
    """v [..,N] -> v / max(||v||_2, least, 1e-6); `least` is a number or [..,1].

    The bound is applied to the squares, before the root. If it came after the root, as in `ops.normalize`, a vector of
    zeros would have a gradient of NaN on JAX and wherever XLA compiles. A cluster without frames is such a vector.
    """
    vectors = ops.cast(vectors, "float32")
    return vectors * _inverse(_squares(vectors), least)


def l2_normalize_rows(rows, least=LEAST_NORM):
    """v [B,K,N] -> each row L2-normalized, side by side [B,KN]; `least` as in `l2_normalize`, a number or [B,K,1]."""
    return _side_by_side(l2_normalize(rows, least))


def intra_normalize(rows, least=LEAST_NORM):
    """v [B,K,N] -> each row L2-normalized (intra-normalization), then all of them together, [B,KN].

    The result is that of `l2_normalize(l2_normalize_rows(rows, least))`. The second norm is computed from the norms of
    the rows, so that the large tensor is scaled only once.
    """
    rows = ops.cast(rows, "float32")
    squares = _squares(rows)  # B,K,1
    scales = _inverse(squares, least)  # B,K,1
    total = ops.sum(squares * ops.square(scales), axis=1, keepdims=True)  # B,1,1
    return _side_by_side(rows * (scales * _inverse(total)))


@custom_gradient
def _squares(vectors):
    """v [..,N] -> ||v||_2^2, [..,1]. The automatic gradient would make one more tensor as large as v."""

    def gradient(upstream):
        return (2 * upstream) * vectors

    return ops.sum(ops.square(vectors), axis=-1, keepdims=True), gradient


def _inverse(squares, least=LEAST_NORM):
    return ops.rsqrt(ops.maximum(squares, ops.square(ops.maximum(least, LEAST_NORM))))


def _side_by_side(rows):
    return ops.reshape(rows, (-1, rows.shape[1] * rows.shape[2]))
