"""Describe what a record holds, and compare it with what the dataset declares."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from pipeline.config import DatasetConfig, FeatureConfig
from pipeline.config.wording import counted
from pipeline.inputs.records import tfrecord
from pipeline.inputs.records.labels import NoClassError, read_labels
from pipeline.inputs.records.raw_numbers import TYPES, raw_type
from pipeline.inputs.records.wire import (
    BYTES,
    FIRST,
    FLOATS,
    INTEGERS,
    Buffer,
    ParseError,
    Span,
    feature_values,
    messages_by_key,
    values_of_message,
)

Kind = Literal["empty", "bytes", "strings", "float", "int64", "mixed"]
_KINDS: dict[int, Kind] = {0: "empty", BYTES: "bytes", FLOATS: "float", INTEGERS: "int64"}
_DTYPES: dict[Kind, str] = {"bytes": "uint8", "float": "float32"}
_OF_WIDTH = {2: "float16", 4: "float32", 8: "float64"}
"""Floats by their bytes."""


class SchemaError(ValueError):
    """The records are not as the dataset declares; the message says what they hold and what to change."""


@dataclass(frozen=True)
class FoundFeature:
    """One feature of a record."""

    name: str
    level: Literal["frame", "video"]
    """frame for a feature list; video for a feature of an Example, or of a SequenceExample's context."""
    kind: Kind
    """bytes: each row is one string. strings: a row has several. mixed: the rows are of different kinds."""
    rows: int
    """The number of rows; 1 at video level."""
    widths: tuple[int, ...]
    """The distinct sizes of the rows, ascending: the bytes of a string, or the number of values."""

    def __str__(self) -> str:
        widths = " or ".join([str(width) for width in self.widths[:3]] + ["..."] * (len(self.widths) > 3))
        rows = f"{counted(self.rows, 'frame')} of " if self.level == "frame" else ""
        return f"{self.name}: {rows}{widths} {self.kind}".replace("  ", " ")


def describe_record(payload: Buffer) -> list[FoundFeature]:
    """Return every feature of an Example or SequenceExample, by level and name; raises ParseError if it is neither."""
    context, lists = messages_by_key(payload)
    found = [_describe(payload, key, "video", [context[key]]) for key in sorted(context)]
    for key in sorted(lists):
        found.append(_describe(payload, key, "frame", values_of_message(payload, lists[key], FIRST)))
    return found


def check_first_record(payload: Buffer, dataset: DatasetConfig, where: str) -> None:
    """Compare the first record of a split with what the dataset declares.

    Faults that only this record may have (a frame cut short, an unusable id) are left to `parsing.parse`.

    Args:
        payload: the record.
        dataset: the declaration.
        where: the file or split, and that it is the first record, for the message.

    Raises:
        SchemaError: the record differs. The message lists every difference, what to change, and what the record holds.
    """
    try:
        found = describe_record(payload)
    except ParseError as error:
        raise SchemaError(f"{where}: neither an Example nor a SequenceExample: {error}") from error
    faults = [*_feature_faults(payload, dataset, found), *_id_faults(dataset, found), *_label_faults(payload, dataset)]
    if faults:
        listed = "".join(f"\n  * {fault}" for fault in faults)
        held = "".join(f"\n  - {feature}" for feature in found) or "\n  - nothing"
        raise SchemaError(f"{where}: not what dataset {dataset.name} declares:{listed}\nThe record holds:{held}")


def check_first_records(paths: Iterable[Path], dataset: DatasetConfig) -> None:
    """Call `check_first_record` with the first readable record of a split's files; raises SchemaError or OSError."""
    for path in paths:
        for record in tfrecord.scan_records(path):
            if record.fault is None:
                check_first_record(record.payload, dataset, f"{path}, first record")
                return


def _describe(payload: Buffer, key: str, level: Literal["frame", "video"], rows: list[Span]) -> FoundFeature:
    kinds, widths = set(), set()
    for row in rows:
        tag, spans = feature_values(payload, row)
        kind = _KINDS[tag] if tag != BYTES or len(spans) == 1 else "strings"
        size = sum(stop - start for start, stop in spans)
        if kind == "strings":
            size = len(spans)
        elif kind == "float":
            size //= 4
        elif kind == "int64":  # each integer ends with its only byte below 128
            size = sum(byte < 128 for start, stop in spans for byte in payload[start:stop])
        kinds.add(kind)
        widths.add(size)
    kind = "empty" if not kinds else kinds.pop() if len(kinds) == 1 else "mixed"
    return FoundFeature(key, level, kind, len(rows), tuple(sorted(widths)))


def _feature_faults(payload: Buffer, dataset: DatasetConfig, found: list[FoundFeature]) -> list[str]:
    level, faults = dataset.level, []
    keys = {feature.key for feature in dataset.features}
    held = {feature.name for feature in found if feature.level == level}
    if level == "frame" and not held:
        level = "video"
        faults.append("an Example where a SequenceExample is declared: set --dataset.level video")
    elif level == "video" and not keys & held and any(feature.level == "frame" for feature in found):
        level = "frame"
        faults.append("a SequenceExample where an Example is declared: set --dataset.level frame")
    there = {feature.name: feature for feature in found if feature.level == level}
    for number, feature in enumerate(dataset.features):
        flag = f"--dataset.features.{number}"
        if feature.key in there:
            raw = _raw_numbers(payload, feature, there[feature.key], flag)
            faults += raw or _differences(feature, there[feature.key], flag)
            continue
        others = [f for f in there.values() if f.name not in {*keys, *dataset.id_keys} and f.kind in _DTYPES]
        fits = [f"{f.name} ({f.widths[0]} {f.kind})" for f in others if f.widths == (_width(feature),)]
        remedy = f"; set {flag}.source to its key" + (f", perhaps {' or '.join(fits)}" if fits else "")
        if not others:
            remedy = ": write zeros where a video has none, or do not declare it"
        faults.append(f"feature {feature.key} is missing{remedy}")
    return faults


def _raw_numbers(payload: Buffer, declared: FeatureConfig, found: FoundFeature, flag: str) -> list[str]:
    """Return the fault of a feature whose bytes are the raw memory of wider numbers; an empty list if they are not."""
    if found.kind != "bytes" or len(found.widths) != 1 or found.widths == (0,):
        return []
    (width,) = found.widths
    rows = np.stack([np.frombuffer(row, np.uint8) for row in _strings(payload, found)])
    times = width // declared.size if width % declared.size == 0 and width != declared.size else 0
    name = raw_type(rows, declared.size if times else None)
    if name is None and declared.dtype == "float32":  # as wide as the declared floats, but silent or too few to tell
        name = _OF_WIDTH.get(times)
    if name is None or (name, width) == (declared.dtype, _width(declared)):
        return []
    count = width // TYPES[name].itemsize
    size = "" if count == declared.size else f" and {flag}.size {count}"
    if name == "float16":
        remedy = f"set {flag}.size {count}" if declared.dtype == name else f"set {flag}.dtype float16{size}"
    elif name.startswith("float"):
        float_list = "" if declared.dtype == "float32" else f" and set {flag}.dtype float32"
        remedy = f"write them as a float_list{float_list}{size}, or quantize them"
    else:
        remedy = f"write each as one byte{f' and set {flag}.dtype uint8' * (declared.dtype == 'float16')}{size}"
    there = f"{times} times the {declared.size} declared" if times else f"where {declared.size} are declared"
    if declared.dtype == "float16":
        there = f"where {_width(declared)} are declared, {declared.size} float16 values"
    return [
        f"feature {found.name} has {counted(width, 'byte')} a row, {there}: {name} values stored as bytes; {remedy}"
    ]


def _width(declared: FeatureConfig) -> int:
    """Return what `FoundFeature.widths` holds for a declared feature."""
    return declared.size * (2 if declared.dtype == "float16" else 1)


def _strings(payload: Buffer, found: FoundFeature) -> list[Buffer]:
    """Return the rows of a feature of bytes."""
    context, lists = messages_by_key(payload)
    rows = values_of_message(payload, lists[found.name], FIRST) if found.level == "frame" else [context[found.name]]
    return [payload[slice(*feature_values(payload, row)[1][0])] for row in rows]


def _differences(declared: FeatureConfig, found: FoundFeature, flag: str) -> list[str]:
    if not found.rows:
        return []
    faults = []
    dtype = _DTYPES.get(found.kind)
    if dtype is None:
        faults.append(f"feature {found.name} is {found.kind}, which cannot be read as {declared.dtype}")
    elif dtype != ("uint8" if declared.dtype == "float16" else declared.dtype):
        faults.append(
            f"feature {found.name} is {found.kind} where {declared.dtype} is declared: set {flag}.dtype {dtype}"
        )
    if declared.dtype == "float16" and found.kind == "bytes":
        if _width(declared) not in found.widths:
            faults.append(_other_halves(declared, found, flag))
    elif declared.size not in found.widths:
        widths = " or ".join(map(str, found.widths))
        remedy = f"set {flag}.size {widths}" if len(found.widths) == 1 else "rows that differ in size cannot be read"
        faults.append(f"feature {found.name} has {widths} values a row where {declared.size} are declared: {remedy}")
    return faults


def _other_halves(declared: FeatureConfig, found: FoundFeature, flag: str) -> str:
    """Return the fault of a feature that is declared as float16 and has rows of another number of bytes."""
    widths = " or ".join(map(str, found.widths))
    (width, *others) = found.widths
    remedy = f"set {flag}.size {width // 2}"
    if others or (width % 2 and width != declared.size):
        remedy = "rows that differ in size cannot be read" if others else "a float16 value has two bytes"
    elif width == declared.size:
        remedy = f"set {flag}.dtype uint8"
    return (
        f"feature {found.name} has {widths} bytes a row where {_width(declared)} are declared, {declared.size} "
        f"float16 values: {remedy}"
    )


def _id_faults(dataset: DatasetConfig, found: list[FoundFeature]) -> list[str]:
    there = {feature.name: feature for feature in found if feature.level == "video"}
    key = next((key for key in dataset.id_keys if key in there), None)
    if key is None:
        fits = [feature.name for feature in there.values() if feature.kind == "bytes"]
        remedy = f": set --dataset.id-keys, perhaps to {' or '.join(fits)}" if fits else ""
        return [f"no id under the keys {', '.join(dataset.id_keys)}{remedy}"]
    if there[key].kind != "bytes":
        return [f"{key} is {there[key].kind} where the bytes of an id are declared: set --dataset.id-keys"]
    return []


def _label_faults(payload: Buffer, dataset: DatasetConfig) -> list[str]:
    try:
        read_labels(payload, messages_by_key(payload)[0], dataset)
    except NoClassError as error:
        return [f"{error}: set --dataset.num-classes or --dataset.labels-key"]
    except ParseError as error:
        return [f"{error}, or set --dataset.labels-key"]
    return []
