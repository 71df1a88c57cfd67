"""Store a weight in float32, in float16, or in 8 bits with a scale for each output channel.

The aim is a small file; the arithmetic stays as it is. Weights are stored coarsely and are dequantized when they are
loaded, on any backend. Keras's own `quantize` has another aim: it replaces Dense, EinsumDense and Embedding layers by
layers that multiply in 8 bits, and does not touch the other weights, which most poolings have.
"""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

Encoding = Literal["float32", "float16", "int8"]
LEAST_SIZE = 1024
"""The number of values in the smallest weight that is stored coarsely: smaller ones are a thousandth of a model."""
_LEAST_ROWS = 16
"""The least number of values that share a scale: with fewer, the scales would take more space than they save."""
_WORST = 2.0**-10
"""The relative error above which float16 is not used. Rounding alone gives 2^-12; a weight that overflows, or that
vanishes among the subnormal numbers, gives far more."""


def quantize_weight(values: np.ndarray, trainable: bool, wanted: Encoding) -> tuple[Encoding, bytes]:
    """Return how a weight is stored, and its bytes, little-endian.

    Only large trainable matrices are stored coarsely. Vectors (biases, scales) are small anyway. Running means,
    variances and covariances do not tolerate it: a variance may be tiny or beyond float16, and a rounded covariance may
    have no inverse.

    Raises:
        ValueError: a value is not a finite float32.
    """
    values = np.ascontiguousarray(values, "<f4")
    if not np.isfinite(values).all():
        raise ValueError("a weight is not finite")
    if wanted == "float32" or not trainable or values.ndim < 2 or values.size < LEAST_SIZE:
        return "float32", values.tobytes()
    if wanted == "int8" and values.size >= _LEAST_ROWS * values.shape[-1]:
        rows = values.reshape(-1, values.shape[-1])
        scales = (np.abs(rows).max(axis=0) / np.float32(127)).astype("<f4")  # symmetric: 0 stays 0
        steps = np.rint(rows / np.maximum(scales, np.finfo(np.float32).tiny))
        return "int8", scales.tobytes() + np.clip(steps, -127, 127).astype(np.int8).tobytes()
    with np.errstate(over="ignore"):
        halved = values.astype("<f2")
    error = np.linalg.norm((halved.astype(np.float32) - values).ravel().astype(np.float64))
    if error <= _WORST * np.linalg.norm(values.ravel().astype(np.float64)):  # False where it overflows
        return "float16", halved.tobytes()
    return "float32", values.tobytes()


def dequantize_weight(stored: bytes, shape: Sequence[int], encoding: Encoding) -> np.ndarray:
    """Return the weight, float32 of `shape`, from the `stored_weight_bytes` bytes that `quantize_weight` gave.

    Raises:
        ValueError: a value is not finite.
    """
    if encoding == "int8":
        scales = np.frombuffer(stored, "<f4", shape[-1])
        steps = np.frombuffer(stored, np.int8, offset=scales.nbytes)
        values = steps.reshape(-1, shape[-1]) * scales
    else:
        values = np.frombuffer(stored, "<f4" if encoding == "float32" else "<f2").astype(np.float32)
    if not np.isfinite(values).all():
        raise ValueError("a weight is not finite")
    return values.reshape(shape)


def stored_weight_bytes(shape: Sequence[int], encoding: Encoding) -> int:
    """Return the bytes that a stored weight takes. Raises ValueError if no weight of this shape is stored so."""
    size = math.prod(shape)
    if encoding == "int8":
        if len(shape) < 2 or not shape[-1]:
            raise ValueError(f"a weight of shape {list(shape)} has no channels to be stored as int8")
        return size + 4 * shape[-1]
    return size * (4 if encoding == "float32" else 2)
