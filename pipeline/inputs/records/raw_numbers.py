"""Detect floats and wide integers that were stored as raw bytes, by what the bytes look like.

A frame feature in bytes holds quantized values, one in each byte. A program that stores the memory of a float32 array
instead writes four bytes for each value, and nothing in the wire format tells the two apart. The values do: read as
floats they have ordinary sizes, and their first bytes (sign and exponent) vary little while those of the mantissa vary
much.
"""

import numpy as np

TYPES = {
    name: np.dtype(name).newbyteorder("<") for name in ("float32", "float64", "float16", "int32", "int64", "int16")
}
"""The types that are looked for, in this order."""
_LEAST, _LEAST_ALONE = 12, 48
"""The least number of values other than 0 that tell anything; the second applies if the row's size gives no hint."""
_RANGE = {"float16": (1e-4, 1e3), "float32": (1e-6, 1e6), "float64": (1e-6, 1e6)}
"""The bounds of the absolute values of features, except for zeros and one value in a hundred."""


def raw_type(rows: np.ndarray, size: int | None = None) -> str | None:
    """Return the name, in TYPES, of the type whose raw memory the bytes seem to be; None if they look like bytes.

    Args:
        rows: uint8 [n,bytes], the frames of a record.
        size: how many values a row should hold, if this gives the number of bytes of a value.
    """
    width = rows.shape[1]
    for name, dtype in TYPES.items():
        if width % dtype.itemsize or (size is not None and width != size * dtype.itemsize):
            continue
        values = rows.reshape(-1, dtype.itemsize)
        if np.count_nonzero(values.any(axis=1)) < (_LEAST_ALONE if size is None else _LEAST):
            continue
        if not (values[::2].any() and values[1::2].any()):  # these are halves of a wider type
            continue
        if _are_integers(values) if dtype.kind == "i" else _are_floats(values, name):
            return name
    return None


def _are_floats(values: np.ndarray, name: str) -> bool:
    """Return whether values, uint8 [n,bytes of a value], look like floats."""
    with np.errstate(invalid="ignore"):  # some bit patterns are NaN
        numbers = np.abs(np.ascontiguousarray(values).view(TYPES[name]).ravel().astype(np.float64))
    numbers = numbers[numbers != 0]
    low, high = _RANGE[name]
    if not np.isfinite(numbers).all() or np.mean((numbers < low) | (numbers > high)) > 0.01:
        return False
    *mantissa, exponent = (len(np.unique(values[:, place])) for place in range(values.shape[1]))
    return 2 * exponent <= max(mantissa)


def _are_integers(values: np.ndarray) -> bool:
    """Return whether values, uint8 [n,bytes of a value], are integers below 256: all bytes but the first are 0."""
    return not values[:, 1:].any() and len(np.unique(values[:, 0])) > 2
