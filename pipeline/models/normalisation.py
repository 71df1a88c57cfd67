"""L2 normalisation in float32, with a gradient at 0 as well."""

from keras import ops

LEAST_NORM = 1e-6
CLAMP = 1e-4
"""The square of a difference of two vectors is at least this share of theirs: below it rounding would decide."""


def unit(vectors, least=0.0):
    """v [..,N] -> v / max(||v||_2, sqrt(least), 1e-6), where `least` [..,1] is a square as well.

    The bound is on the squares, before the root: with it after the root, as in `ops.normalize`, a vector of zeros has a
    gradient of NaN on JAX and wherever XLA compiles. A cluster that no frame belongs to is such a vector.
    """
    vectors = ops.cast(vectors, "float32")
    return vectors * ops.rsqrt(ops.maximum(_squares(vectors), ops.maximum(least, LEAST_NORM**2)))


def unit_rows(rows):
    """v [B,K,N] -> each row L2-normalised, side by side [B,KN]."""
    return ops.reshape(unit(rows), (-1, rows.shape[1] * rows.shape[2]))


def unit_difference_rows(left, right):
    """p, q [B,K,N] -> rows (p - q) / max(||p - q||_2, 0.01 (||p||_2^2 + ||q||_2^2)^(1/2), 1e-6) side by side, [B,KN].

    Of equal p and q rounding errors are all that is left, if anything; without the bound they would be made as long as
    any other difference.
    """
    rows = unit(left - right, CLAMP * (_squares(left) + _squares(right)))
    return ops.reshape(rows, (-1, left.shape[1] * left.shape[2]))


def _squares(vectors):
    """v [..,N] -> ||v||_2^2 [..,1]."""
    return ops.sum(ops.square(vectors), axis=-1, keepdims=True)
