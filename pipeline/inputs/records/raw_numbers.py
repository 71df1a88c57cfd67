"""Which numbers a string of bytes holds, by their look: floats and wide integers that were stored as raw bytes.

Frame features in bytes are quantized values, one a byte. A program that stores the memory of a float32 array instead
gives four bytes a value, and nothing in the wire format tells one from the other. The values do: as floats they are of
ordinary size, and their first bytes (sign and exponent) differ little while those of the mantissa differ much.
"""

import numpy as np

TYPES = {
    name: np.dtype(name).newbyteorder("<") for name in ("float32", "float64", "float16", "int32", "int64", "int16")
}
"""What is looked for, in this order."""
_LEAST, _LEAST_ALONE = 12, 48
"""Values other than 0; fewer tell nothing. More are asked for where the size of a row does not speak for it too."""
_RANGE = {"float16": (1e-4, 1e3), "float32": (1e-6, 1e6), "float64": (1e-6, 1e6)}
"""Between which the absolute values of features lie, but for zeros and one in a hundred."""


def raw_type(rows: np.ndarray, size: int | None = None) -> str | None:
    """The type of which bytes are the raw memory, as a name of TYPES; None where they look like bytes.

    Args:
        rows: uint8 [n,bytes], the frames of a record.
        size: values that a row should hold, if the bytes of a value follow from it.
    """
    width = rows.shape[1]
    for name, dtype in TYPES.items():
        if width % dtype.itemsize or (size is not None and width != size * dtype.itemsize):
            continue
        values = rows.reshape(-1, dtype.itemsize)
        if np.count_nonzero(values.any(axis=1)) < (_LEAST_ALONE if size is None else _LEAST):
            continue
        if not (values[::2].any() and values[1::2].any()):  # halves of a wider type
            continue
        if _are_integers(values) if dtype.kind == "i" else _are_floats(values, name):
            return name
    return None


def _are_floats(values: np.ndarray, name: str) -> bool:
    """Whether values, uint8 [n,bytes of one], are floats."""
    with np.errstate(invalid="ignore"):  # what is not a number by its bits
        numbers = np.abs(np.ascontiguousarray(values).view(TYPES[name]).ravel().astype(np.float64))
    numbers = numbers[numbers != 0]
    low, high = _RANGE[name]
    if not np.isfinite(numbers).all() or np.mean((numbers < low) | (numbers > high)) > 0.01:
        return False
    *mantissa, exponent = (len(np.unique(values[:, place])) for place in range(values.shape[1]))
    return 2 * exponent <= max(mantissa)


def _are_integers(values: np.ndarray) -> bool:
    """Whether values, uint8 [n,bytes of one], are integers below 256: all bytes but the first are 0."""
    return not values[:, 1:].any() and len(np.unique(values[:, 0])) > 2
