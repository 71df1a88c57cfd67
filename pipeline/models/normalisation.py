"""L2 normalisation in float32, with a gradient at 0 as well."""

from keras import ops

LEAST_NORM = 1e-6


def unit(vectors, least=LEAST_NORM):
    """v [..,N] -> v / max(||v||_2, least, 1e-6); `least` is a number or [..,1].

    The bound is on the squares, before the root: with it after the root, as in `ops.normalize`, a vector of zeros has a
    gradient of NaN on JAX and wherever XLA compiles. A cluster that no frame belongs to is such a vector.
    """
    vectors = ops.cast(vectors, "float32")
    squares = ops.sum(ops.square(vectors), axis=-1, keepdims=True)
    return vectors * ops.rsqrt(ops.maximum(squares, ops.square(ops.maximum(least, LEAST_NORM))))


def unit_rows(rows, least=LEAST_NORM):
    """v [B,K,N] -> each row L2-normalised, side by side [B,KN]; `least`, of `unit`, is a number or [B,K,1]."""
    return ops.reshape(unit(rows, least), (-1, rows.shape[1] * rows.shape[2]))
