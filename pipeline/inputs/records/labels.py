"""The labels of a record: the numbers of its classes, and what else is found in their place."""

import numpy as np

from pipeline.config import DatasetConfig
from pipeline.inputs.records.wire import FLOATS, INTEGERS, KINDS, Buffer, ParseError, Span, feature_values, read_varint

_VECTOR = 2
"""More than this many values, all 0 or 1, must be a multi-hot vector: the numbers of classes would be distinct."""


class NoClassError(ParseError):
    """A label is beyond the declared classes."""


def read_labels(data: Buffer, entries: dict[str, Span], dataset: DatasetConfig) -> np.ndarray:
    """Read the labels in a context, int32, each once; raises ParseError if they are not numbers of classes."""
    key = dataset.labels_key
    kind, values = feature_values(data, entries.get(key))
    if kind not in (0, INTEGERS):
        vector = ", a multi-hot vector," if kind == FLOATS and _is_vector(data, values) else ""
        remedy = "write the indices of the classes as an int64_list"
        raise ParseError(f"{key} is {KINDS[kind]}{vector} where integers are declared: {remedy}")
    labels: dict[int, None] = {}  # serves as a set that keeps the order
    count = 0
    for position, stop in values:
        while position < stop:
            label, position = read_varint(data, position, stop)
            if label >= dataset.num_classes:
                first = ", classes count from 0" if label == dataset.num_classes else ""
                label -= label >> 63 << 64
                raise NoClassError(f"label {label} is outside 0..{dataset.num_classes - 1}{first}")
            labels[label] = None
            count += 1
    if count > _VECTOR and labels.keys() <= {0, 1}:
        raise ParseError(f"{key} holds {count} values of 0 and 1, a multi-hot vector: write the indices of the classes")
    return np.array(list(labels), np.int32)


def _is_vector(data: Buffer, values: list[Span]) -> bool:
    numbers = np.frombuffer(b"".join(data[start:stop] for start, stop in values), "<f4")
    return len(numbers) > _VECTOR and bool(np.isin(numbers, (0, 1)).all())
