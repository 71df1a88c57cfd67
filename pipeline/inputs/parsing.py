"""The wire format of Example and SequenceExample: where a payload holds its id, its labels and its frames.

Protocol Buffers encoding: https://protobuf.dev/programming-guides/encoding/; the messages: tensorflow/core/example.
A field is a tag (number << 3 | wire type) and a value; a message is fields in any order, unknown ones to be skipped.

    SequenceExample { context = 1: Features; feature_lists = 2: FeatureLists }    Example { features = 1: Features }
    Features, FeatureLists: map<string, Feature or FeatureList> = 1               FeatureList { repeated Feature = 1 }
    Feature { one of: bytes_list = 1; float_list = 2; int64_list = 3 }            each list { repeated value = 1 }
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from pipeline.config import DatasetConfig
from pipeline.inputs.writing import varint
from pipeline.submission_lines import id_fault

Buffer = bytes | memoryview
Span = tuple[int, int]
"""Start and stop of a message within the payload. A singular message may come in several pieces, which merge."""

FIRST, SECOND = 0x0A, 0x12  # tags of fields 1 and 2 that hold bytes or a message
BYTES, FLOATS, INTEGERS = 0x0A, 0x12, 0x1A  # what a Feature holds, by the tag of its list
ONE_INTEGER, ONE_FLOAT = 0x08, 0x0D  # a value of a list that is not packed
KINDS = {0: "an empty feature", BYTES: "a bytes_list", FLOATS: "a float_list", INTEGERS: "an int64_list"}
WHATS = {BYTES: "bytes", FLOATS: "floats", INTEGERS: "integers"}


class ParseError(ValueError):
    """A payload is not what the dataset declares; the message is the reason, without the file."""


class ParsedRecord(NamedTuple):
    """One video. The features are views on the payload and keep it alive."""

    id: str
    labels: np.ndarray
    """int32, in the record's order, each once; empty where the record has none."""
    num_frames: int
    """Rows of each feature: those of the record, at most `max_frames`."""
    features: list[np.ndarray]
    """uint8 or float32 [num_frames, size], one a declared feature."""


def parse(payload: Buffer, dataset: DatasetConfig) -> ParsedRecord:
    """Read a record; raises ParseError where it is damaged, not as declared, or unfit for the challenge's CSV."""
    entries = messages_by_key(payload, FIRST)
    features = _features(payload, entries if dataset.level == "video" else messages_by_key(payload, SECOND), dataset)
    for declared, rows in zip(dataset.features, features):
        if declared.dtype == "float32" and not np.isfinite(rows).all():
            raise ParseError(f"feature {declared.name} holds values that are not finite")
    return ParsedRecord(
        read_id(payload, entries, dataset), read_labels(payload, entries, dataset), len(features[0]), features
    )


def parse_features(payload: Buffer, dataset: DatasetConfig) -> list[np.ndarray]:
    """The features alone, as in `parse`, of a record that passed it before: float values are not looked at again."""
    return _features(payload, messages_by_key(payload, FIRST if dataset.level == "video" else SECOND), dataset)


def read_varint(data: Buffer, position: int, end: int) -> tuple[int, int]:
    """The unsigned number at a position, and the position after it."""
    value = shift = 0
    while position < end and shift < 70:
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & 0xFFFFFFFFFFFFFFFF, position
        shift += 7
    raise ParseError(f"a number before byte {end} does not end; the record is damaged")


def fields(data: Buffer, position: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Every field of the message data[position:end]: its tag, and the start and stop of its value."""
    while position < end:
        tag = data[position]
        position += 1
        if tag > 127:
            tag, position = read_varint(data, position - 1, end)
        wire = tag & 7
        if wire == 2:
            size = data[position] if position < end else 128
            position += 1
            if size > 127:
                size, position = read_varint(data, position - 1, end)
            stop = position + size
        elif wire == 0:
            stop = read_varint(data, position, end)[1]
        elif wire in (1, 5):
            stop = position + (8 if wire == 1 else 4)
        else:
            raise ParseError(f"wire type {wire} before byte {position} occurs in no record; the record is damaged")
        if stop > end or not 8 <= tag <= 0xFFFFFFFF:
            raise ParseError(f"a field with tag {tag} runs from byte {position} to {stop}, in a message up to {end}")
        yield tag, position, stop
        position = stop


def fields_of(data: Buffer, pieces: list[Span], *tags: int) -> list[Span]:
    """The values of all fields with one of these tags."""
    return [(start, stop) for piece in pieces for tag, start, stop in fields(data, *piece) if tag in tags]


def messages_by_key(data: Buffer, section: int) -> dict[str, list[Span]]:
    """The map in field 1 (context, or an Example's features) or 2 (feature lists); of equal keys the last."""
    found = {}
    for entry in fields_of(data, fields_of(data, [(0, len(data))], section), FIRST):
        key, value = b"", []
        for tag, start, stop in fields(data, *entry):
            if tag == FIRST:
                key = data[start:stop]
            elif tag == SECOND:
                value.append((start, stop))
        try:
            found[str(key, "utf-8")] = value
        except UnicodeDecodeError:
            raise ParseError(f"the key {bytes(key)!r} is not UTF-8; the record is damaged") from None
    return found


def feature_values(data: Buffer, pieces: list[Span]) -> tuple[int, list[Span]]:
    """What a Feature holds: its kind (0 for nothing), and where its values lie; packed ones are one span."""
    kind, lists = 0, []
    for piece in pieces:
        for tag, start, stop in fields(data, *piece):
            if tag in WHATS:
                if tag != kind:  # one of: another kind replaces what was there
                    kind, lists = tag, []
                lists.append((start, stop))
    values = fields_of(data, lists, FIRST, {FLOATS: ONE_FLOAT, INTEGERS: ONE_INTEGER}.get(kind, FIRST))
    if kind == FLOATS and any((stop - start) % 4 for start, stop in values):
        raise ParseError("packed floats end within a float; the record is damaged")
    return kind, values


def read_id(data: Buffer, entries: dict[str, list[Span]], dataset: DatasetConfig) -> str:
    """The id in a context; raises ParseError where it is missing or cannot be written to a CSV."""
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


def read_labels(data: Buffer, entries: dict[str, list[Span]], dataset: DatasetConfig) -> np.ndarray:
    """The labels in a context, int32; raises ParseError where one is no class."""
    kind, values = feature_values(data, entries.get(dataset.labels_key, []))
    if kind not in (0, INTEGERS):
        raise ParseError(f"{dataset.labels_key} is {KINDS[kind]} where integers are declared")
    labels = {}
    for position, stop in values:
        while position < stop:
            label, position = read_varint(data, position, stop)
            if label >= dataset.num_classes:
                raise ParseError(f"label {label - (label >> 63 << 64)} is outside 0..{dataset.num_classes - 1}")
            labels[label] = None
    return np.array(list(labels), np.int32)


def _keys(entries: dict[str, list[Span]]) -> str:
    return f"there are: {', '.join(sorted(entries)) or 'none'}"


class _Layout(NamedTuple):
    """A declared feature, and the bytes that introduce each of its rows in the encoding that every writer produces."""

    name: str
    key: str
    size: int
    kind: int
    dtype: np.dtype
    header: bytes


@lru_cache(maxsize=64)
def _layouts(dataset: DatasetConfig) -> tuple[_Layout, ...]:
    layouts = []
    for feature in dataset.features:
        kind, dtype = (BYTES, np.dtype("u1")) if feature.dtype == "uint8" else (FLOATS, np.dtype("<f4"))
        header = b""
        for tag in (FIRST, kind, FIRST) if dataset.level == "frame" else (FIRST, kind):  # from the inmost out
            header = bytes([tag]) + varint(len(header) + feature.size * dtype.itemsize) + header
        layouts.append(_Layout(feature.name, feature.key, feature.size, kind, dtype, header))
    return tuple(layouts)


def _features(data: Buffer, holder: dict[str, list[Span]], dataset: DatasetConfig) -> list[np.ndarray]:
    features = []
    for layout in _layouts(dataset):
        pieces = holder.get(layout.key)
        if pieces is None:
            raise ParseError(f"no {dataset.level} feature under the key {layout.key}; {_keys(holder)}")
        rows = _strided_rows(data, pieces, layout)
        if rows is None or (dataset.level == "video" and len(rows) != 1):
            rows = _walked_rows(data, pieces, layout, dataset.level)
        if not len(rows):
            raise ParseError(f"feature {layout.name} has no frames")
        if features and len(rows) != len(features[0]):
            raise ParseError(f"{dataset.features[0].name} has {len(features[0])} frames but {layout.name} {len(rows)}")
        features.append(rows)
    return [rows[: dataset.max_frames] for rows in features]


def _strided_rows(data: Buffer, pieces: list[Span], layout: _Layout) -> np.ndarray | None:
    """A view on rows that are all encoded as expected; None where they are not, be they valid or wrong."""
    start, stop = pieces[0] if len(pieces) == 1 else (0, 0)
    skip = len(layout.header)
    stride = skip + layout.size * layout.dtype.itemsize
    count, rest = divmod(stop - start, stride)
    headers = np.ndarray((count, skip), np.uint8, data, start, (stride, 1))
    if rest or not count or headers.tobytes() != layout.header * count:
        return None
    return np.ndarray((count, layout.size), layout.dtype, data, start + skip, (stride, layout.dtype.itemsize))


def _walked_rows(data: Buffer, pieces: list[Span], layout: _Layout, level: str) -> np.ndarray:
    """A copy of rows in any valid encoding; names the first that is wrong."""
    found, what = bytearray(), WHATS[layout.kind]
    for number, row in enumerate([[span] for span in fields_of(data, pieces, FIRST)] if level == "frame" else [pieces]):
        where = f"feature {layout.name}" + (f": frame {number}" if level == "frame" else "")
        kind, spans = feature_values(data, row)
        if kind != layout.kind:
            raise ParseError(f"{where} is {KINDS[kind]} where {what} are declared")
        if kind == BYTES and len(spans) != 1:
            raise ParseError(f"{where} holds {len(spans)} values where one string of bytes is declared")
        count = sum(stop - start for start, stop in spans) // layout.dtype.itemsize
        if count != layout.size:
            raise ParseError(f"{where} has {count} {what}, {layout.size} are declared")
        found += b"".join(data[start:stop] for start, stop in spans)
    return np.frombuffer(bytes(found), layout.dtype).reshape(-1, layout.size)
