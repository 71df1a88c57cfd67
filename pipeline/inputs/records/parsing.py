"""Parse a record's payload into its id, labels and frames, as the dataset declares them."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from pipeline.config import DatasetConfig
from pipeline.config.ranges import MOST_FRAMES
from pipeline.config.wording import counted, listed
from pipeline.inputs.index.ids import id_fault
from pipeline.inputs.records.encoding import encode_varint
from pipeline.inputs.records.labels import read_labels
from pipeline.inputs.records.recipes import check_recipes
from pipeline.inputs.records.wire import (
    BYTES,
    FIRST,
    FLOATS,
    INTEGERS,
    KINDS,
    WHATS,
    Buffer,
    ParseError,
    Span,
    feature_values,
    messages_by_key,
    read_varint,
    values_of_message,
)

_STORED: dict[str, tuple[int, np.dtype]] = {
    "uint8": (BYTES, np.dtype("u1")),
    "float16": (BYTES, np.dtype("<f2")),
    "float32": (FLOATS, np.dtype("<f4")),
}
"""The kind of list that holds each type, and how."""
LARGEST = 1e15
"""The largest absolute float value allowed: float32 can just hold the sum of squares of a batch of such values."""


class ParsedRecord(NamedTuple):
    """A parsed record. The features are views on the payload, and keep it alive."""

    id: str
    labels: np.ndarray
    """int32, in the record's order, each once; empty where the record has none."""
    labeled: bool
    """Whether the record has the key of labels, be it with none: without the key it is not known which apply."""
    num_frames: int
    """The number of rows of each feature."""
    features: list[np.ndarray]
    """uint8, float16 or float32 [num_frames, size], one for each declared feature."""
    peaks: list[float]
    """The largest absolute value of each feature; 0 for bytes, which are bounded anyway."""
    group: str
    """What the video belongs to, by the dataset's `group_key`; the id where it has none."""


def parse_record(payload: Buffer, dataset: DatasetConfig) -> ParsedRecord:
    """Parse a record.

    Raises ParseError if it is damaged, not as declared, or has an id that no CSV can hold; with the task single_label,
    also if it says which labels it has, and they are none or several.
    """
    entries, lists = messages_by_key(payload)
    check_recipes(payload, entries, dataset)
    features = _features(payload, entries if dataset.level == "video" else lists, dataset)
    peaks = [_peak(layout, rows) for layout, rows in zip(feature_layouts(dataset), features)]
    id, labels = read_id(payload, entries, dataset), read_labels(payload, entries, dataset)
    if dataset.task == "single_label" and dataset.labels_key in entries and len(labels) != 1:
        raise ParseError(
            f"{dataset.labels_key} holds {_listed(labels)} where dataset.task single_label declares exactly one: leave "
            "the key out where the label is not known, or set --dataset.task multi_label"
        )
    group = _read_group(payload, entries, dataset.group_key) or id
    return ParsedRecord(id, labels, dataset.labels_key in entries, len(features[0]), features, peaks, group)


def parse_features(payload: Buffer, dataset: DatasetConfig) -> list[np.ndarray]:
    """Parse only the features of a record that passed `parse_record` before; float values are not checked again."""
    entries, lists = messages_by_key(payload)
    check_recipes(payload, entries, dataset)
    return _features(payload, entries if dataset.level == "video" else lists, dataset)


def readable_id(payload: Buffer, dataset: DatasetConfig) -> str:
    """Return the id of a record that may be damaged elsewhere; empty if the id cannot be read."""
    try:
        return read_id(payload, messages_by_key(payload)[0], dataset)
    except ParseError:
        return ""


def read_id(data: Buffer, entries: dict[str, Span], dataset: DatasetConfig) -> str:
    """Read the id in a context; raises ParseError if it is missing or cannot be written to a CSV."""
    key = next((key for key in dataset.id_keys if key in entries), None)
    if key is None:
        raise ParseError(f"no id under the keys {', '.join(dataset.id_keys)}; {_keys(entries)}")
    kind, values = feature_values(data, entries[key])
    if kind != BYTES:
        raise ParseError(f"{key} is {KINDS[kind]} where the bytes of an id are declared")
    if len(values) != 1:
        raise ParseError(f"{key} holds {len(values)} values where one id is declared")
    raw = bytes(data[slice(*values[0])])
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise ParseError(f"id {raw!r} is not UTF-8") from None
    if fault := id_fault(text):
        raise ParseError(f"{key} is {text!r}, an id that the challenge's CSV cannot hold: {fault}")
    return text


def _read_group(data: Buffer, entries: dict[str, Span], key: str) -> str:
    """Read the group in a context, a string or an integer; empty if there is none, ParseError if there are several."""
    if not key or key not in entries:
        return ""
    kind, values = feature_values(data, entries[key])
    if kind == BYTES and len(values) == 1:
        return bytes(data[slice(*values[0])]).decode("utf-8", "backslashreplace")
    if kind == INTEGERS and len(values) == 1:
        number, end = read_varint(data, *values[0])
        if end == values[0][1]:
            return str(number - (number >> 63 << 64))
    if kind and values:
        raise ParseError(f"{key} is {KINDS[kind]} of several values where one group, bytes or an integer, is declared")
    return ""


def _listed(labels: np.ndarray) -> str:
    shown = listed([*map(str, labels[:5].tolist())], count=len(labels))
    return f"{len(labels)} labels ({shown})" if len(labels) else "no label"


def _keys(entries: dict[str, Span]) -> str:
    return f"there are: {', '.join(sorted(entries)) or 'none'}"


class Layout(NamedTuple):
    """A declared feature, and the bytes that precede each of its rows in the encoding that every writer produces."""

    name: str
    key: str
    size: int
    kind: int
    dtype: np.dtype
    header: bytes


@lru_cache(maxsize=64)
def feature_layouts(dataset: DatasetConfig) -> tuple[Layout, ...]:
    """Return the layout of each declared feature, in order."""
    found = []
    for feature in dataset.features:
        kind, dtype = _STORED[feature.dtype]
        header = b""
        for tag in (FIRST, kind, FIRST) if dataset.level == "frame" else (FIRST, kind):  # from the innermost outward
            header = bytes([tag]) + encode_varint(len(header) + feature.size * dtype.itemsize) + header
        found.append(Layout(feature.name, feature.key, feature.size, kind, dtype, header))
    return tuple(found)


def _features(data: Buffer, holder: dict[str, Span], dataset: DatasetConfig) -> list[np.ndarray]:
    features: list[np.ndarray] = []
    for layout in feature_layouts(dataset):
        place = holder.get(layout.key)
        if place is None:
            remedy = "write zeros where a video has none, or do not declare it"
            raise ParseError(f"no {dataset.level} feature under the key {layout.key}: {remedy}; {_keys(holder)}")
        rows = _strided_rows(data, place, layout)
        if rows is None or (dataset.level == "video" and len(rows) != 1):
            rows = _walked_rows(data, place, layout, dataset.level)
        if not len(rows):
            raise ParseError(f"feature {layout.name} has no frames")
        if len(rows) > MOST_FRAMES:
            raise ParseError(f"feature {layout.name} has {len(rows)} frames; the most is {MOST_FRAMES}: cut the video")
        if features and len(rows) != len(features[0]):
            first, least = dataset.features[0].name, min(len(features[0]), len(rows))
            raise ParseError(
                f"{first} has {counted(len(features[0]), 'frame')} but {layout.name} {len(rows)}: cut both to {least}"
            )
        features.append(rows)
    return features


def _peak(layout: Layout, rows: np.ndarray) -> float:
    """Return the largest absolute value of a feature; raises ParseError if float32 cannot calculate with it."""
    if layout.dtype.kind == "u":
        return 0.0
    if layout.dtype.itemsize == 2:
        # Without their sign, the bits of halves ascend as the values do, up to infinity and NaN; NumPy compares the
        # values themselves twenty times as slowly.
        peak = float((rows.view("<u2") & np.uint16(0x7FFF)).max().view(np.float16))
    else:
        peak = float(np.abs(rows).max())
    if not np.isfinite(peak):
        raise ParseError(f"feature {layout.name} holds values that are not finite")
    if peak > LARGEST:
        raise ParseError(
            f"feature {layout.name} reaches {peak:.1e}; float32 cannot sum squares of values beyond {LARGEST:.0e}"
        )
    return peak


def _strided_rows(data: Buffer, place: Span, layout: Layout) -> np.ndarray | None:
    """Return a view on rows that are all encoded as expected; None if they are not, whether valid or wrong."""
    start, stop = place
    skip = len(layout.header)
    stride = skip + layout.size * layout.dtype.itemsize
    count, rest = divmod(stop - start, stride)
    headers = np.ndarray((count, skip), np.uint8, data, start, (stride, 1))
    if rest or not count or headers.tobytes() != layout.header * count:
        return None
    return np.ndarray((count, layout.size), layout.dtype, data, start + skip, (stride, layout.dtype.itemsize))


def _walked_rows(data: Buffer, place: Span, layout: Layout, level: str) -> np.ndarray:
    """Return a copy of rows in any valid encoding; raises ParseError that names the first wrong row."""
    found, what = bytearray(), WHATS[layout.kind]
    for number, row in enumerate(values_of_message(data, place, FIRST) if level == "frame" else [place]):
        where = f"feature {layout.name}" + (f": frame {number}" if level == "frame" else "")
        kind, spans = feature_values(data, row)
        if kind != layout.kind:
            raise ParseError(f"{where} is {KINDS[kind]} where {what} are declared")
        if kind == BYTES and len(spans) != 1:
            raise ParseError(f"{where} holds {len(spans)} values where one string of bytes is declared")
        width = 4 if kind == FLOATS else 1
        count, declared = sum(stop - start for start, stop in spans) // width, layout.size * layout.dtype.itemsize
        if count != declared // width:
            raise ParseError(f"{where} has {count} {what}, {declared // width} are declared")
        found += b"".join(data[start:stop] for start, stop in spans)
    return np.frombuffer(bytes(found), layout.dtype).reshape(-1, layout.size)
