"""Encode records as Example and SequenceExample in protobuf's wire format, whole arrays of frames at once."""

import functools
from collections.abc import Mapping, Sequence

import numpy as np

Value = bytes | str | Sequence[bytes] | Sequence[int] | Sequence[float] | np.ndarray
"""What a Feature can hold: one or several strings (BytesList), integers (Int64List) or floats (FloatList)."""

# Tags, named message_field as in example.proto: field number << 3 | 2, the wire type of everything that has a length.
_EXAMPLE_FEATURES = _SEQUENCE_CONTEXT = _MAP_KEY = _LIST_VALUE = _FEATURE_BYTES = b"\x0a"
_SEQUENCE_LISTS = _MAP_VALUE = _FEATURE_FLOATS = b"\x12"
_FEATURE_INTS = b"\x1a"
_DIGITS = [bytes((digit,)) for digit in range(0x80)]


def encode_example(features: Mapping[str, Value]) -> bytes:
    """Return a serialized tf.train.Example with sorted keys, byte for byte protobuf's deterministic serialization.

    A float16 array becomes one string of its bytes, little-endian; other floats become a FloatList.

    Raises TypeError for values that are neither strings, integers nor floats, and for an empty list, which has no type
    (give an empty array of the right dtype). Raises ValueError for integers beyond int64. The message names the key.
    """
    return _field(_EXAMPLE_FEATURES, _features(features))


def encode_sequence_example(context: Mapping[str, Value], feature_lists: Mapping[str, np.ndarray]) -> bytes:
    """Return a serialized tf.train.SequenceExample with sorted keys.

    Args:
        context: the features of the whole video, as for `encode_example`.
        feature_lists: an array [n,F] for each key. Each frame becomes one Feature: F bytes if the array is uint8,
            2F bytes if it is float16, F floats if it is float32. n may differ between keys, and may be 0.

    Raises TypeError or ValueError, naming the key, for arrays of another dtype or rank.
    """
    lists = _entries({key: _feature_list(key, frames) for key, frames in feature_lists.items()})
    size = encode_varint(sum(map(len, lists)))
    return b"".join([_field(_SEQUENCE_CONTEXT, _features(context)), _SEQUENCE_LISTS, size, *lists])


def _features(features: Mapping[str, Value]) -> bytes:
    return b"".join(_entries({key: _feature(key, value) for key, value in features.items()}))


def _entries(values: Mapping[str, bytes]) -> list[bytes]:
    """Return the entries of a protobuf map, field 1 of its message, in parts: values may be large, and are not copied.

    They are in the order of their encoded keys.
    """
    parts = []
    for key, value in sorted([(key.encode(), value) for key, value in values.items()]):
        head = _field(_MAP_KEY, key) + _MAP_VALUE + encode_varint(len(value))
        parts += [b"\x0a" + encode_varint(len(head) + len(value)) + head, value]
    return parts


def _feature(key: str, value: Value) -> bytes:
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes):
        return _field(_FEATURE_BYTES, _field(_LIST_VALUE, value))
    if not isinstance(value, np.ndarray):
        if not len(value):
            raise TypeError(f"{key}: an empty list has no type; give an empty NumPy array of the right dtype")
        texts = [item for item in value if isinstance(item, bytes)]
        if len(texts) == len(value):
            return _field(_FEATURE_BYTES, b"".join(_field(_LIST_VALUE, item) for item in texts))
        value = np.asarray(value)
    if value.dtype.kind in "iu":
        if value.dtype == np.uint64 and value.size and value.max() >= 1 << 63:
            raise ValueError(f"{key}: {value.max()} is beyond int64")
        packed = b"".join(encode_varint(item) for item in value.ravel().tolist())
        return _field(_FEATURE_INTS, _field(_LIST_VALUE, packed) if packed else b"")
    if value.dtype == np.float16:
        return _field(_FEATURE_BYTES, _field(_LIST_VALUE, value.astype("<f2").tobytes()))
    if value.dtype.kind == "f":
        packed = value.astype("<f4").tobytes()
        return _field(_FEATURE_FLOATS, _field(_LIST_VALUE, packed) if packed else b"")
    raise TypeError(f"{key}: a feature holds strings, integers or floats, not {value.dtype}")


def _feature_list(key: str, frames: np.ndarray) -> bytes:
    """Return an encoded FeatureList. All frames have the same length, so they share a prefix, which is broadcast."""
    if frames.ndim != 2:
        raise ValueError(f"{key}: frames must be an array [n,F], not of shape {frames.shape}")
    if frames.dtype == np.uint8:
        kind, rows = _FEATURE_BYTES, frames
    elif frames.dtype == np.float16:
        kind, rows = _FEATURE_BYTES, np.ascontiguousarray(frames, dtype="<f2").view(np.uint8)
    elif frames.dtype == np.float32:
        kind, rows = _FEATURE_FLOATS, np.ascontiguousarray(frames, dtype="<f4").view(np.uint8)
    else:
        raise TypeError(f"{key}: frames must be uint8, float16 or float32, not {frames.dtype}")
    prefix = _frame_prefix(kind, rows.shape[1])
    records = np.empty((len(rows), len(prefix) + rows.shape[1]), np.uint8)  # n,prefix+F
    records[:, : len(prefix)] = prefix
    records[:, len(prefix) :] = rows
    return records.tobytes()


@functools.lru_cache(256)
def _frame_prefix(kind: bytes, size: int) -> np.ndarray:
    """Return what precedes the `size` bytes of a frame in a FeatureList, uint8."""
    innermost = _LIST_VALUE + encode_varint(size)
    if kind == _FEATURE_FLOATS and not size:
        innermost = b""  # a packed field without values isn't written
    feature = kind + encode_varint(len(innermost) + size) + innermost
    return np.frombuffer(b"\x0a" + encode_varint(len(feature) + size) + feature, np.uint8)


def _field(tag: bytes, payload: bytes) -> bytes:
    return tag + encode_varint(len(payload)) + payload


def encode_varint(value: int) -> bytes:
    """Encode an int64 in base 128, least significant digit first; a negative one takes ten bytes, two's complement."""
    if 0 <= value < 0x80:
        return _DIGITS[value]
    value &= 0xFFFFFFFFFFFFFFFF
    digits = bytearray()
    while value >= 0x80:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    digits.append(value)
    return bytes(digits)
