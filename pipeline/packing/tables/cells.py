"""Cells of any Arrow type as text, so that equal values are equal whatever a file stores."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

_WHOLE = float(1 << 53)
"""Below it, all whole numbers are exact in float64."""


def as_text(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return cells as string, or as list<string> where they are lists; null where they are empty, spaces or NaN.

    Whole floats lose their point (17.0 is "17"), booleans are "True" and "False", as pandas writes them to CSV.
    Raises ValueError (ArrowInvalid is one) for cells that are neither text nor numbers nor lists of these.
    """
    kind = values.type
    if _is_list(kind):
        return pa.chunked_array([_lists(chunk) for chunk in values.chunks], pa.list_(pa.string()))
    if types.is_dictionary(kind):
        values = values.cast(kind.value_type)
    if types.is_struct(kind) or types.is_map(kind) or types.is_union(kind):
        raise ValueError(f"its cells are {kind}, where text, numbers or lists of them are expected")
    if types.is_floating(values.type):
        text = _floats(values.cast(pa.float64()))
    elif types.is_boolean(values.type):
        text = pc.if_else(values, "True", "False")
    else:
        text = values.cast(pa.string())
    blank = pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(text)), 0)
    text = pc.if_else(blank, pa.scalar(None, pa.string()), text)
    return text if isinstance(text, pa.ChunkedArray) else pa.chunked_array([text], pa.string())


def holds_vectors(kind: pa.DataType) -> bool:
    """Return whether cells of a type are features, or records: neither ids nor labels."""
    if types.is_struct(kind) or types.is_map(kind) or types.is_union(kind):
        return True
    if not _is_list(kind):
        return False
    inner = kind.value_type
    return types.is_floating(inner) or _is_list(inner) or holds_vectors(inner)


def _is_list(kind: pa.DataType) -> bool:
    return (
        types.is_list(kind)
        or types.is_large_list(kind)
        or types.is_fixed_size_list(kind)
        or types.is_list_view(kind)
        or types.is_large_list_view(kind)
    )


def _lists(chunk: pa.Array) -> pa.Array:
    if not types.is_list(chunk.type):
        inner = chunk.type.value_type
        chunk = pa.array(chunk.to_pylist(), pa.list_(inner.value_type if types.is_dictionary(inner) else inner))
    if _is_list(chunk.type.value_type):
        raise ValueError("its cells are lists of lists, where text, numbers or lists of them are expected")
    inside = as_text(pa.chunked_array([chunk.flatten()])).combine_chunks()
    lengths = pc.fill_null(pc.list_value_length(chunk), 0).to_numpy(zero_copy_only=False)
    offsets = pa.array(np.cumsum([0, *lengths]), pa.int32())
    return pa.ListArray.from_arrays(offsets, inside, mask=chunk.is_null() if chunk.null_count else None)


def _floats(values: pa.ChunkedArray) -> pa.ChunkedArray:
    values = pc.if_else(pc.is_nan(values), pa.scalar(None, pa.float64()), values)
    whole = pc.and_(pc.equal(pc.floor(values), values), pc.less(pc.abs(values), _WHOLE))
    numbers = pc.if_else(whole, values, pa.scalar(None, pa.float64())).cast(pa.int64()).cast(pa.string())
    return pc.if_else(whole, numbers, values.cast(pa.string()))
