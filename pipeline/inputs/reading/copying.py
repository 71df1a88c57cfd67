"""Records to rows of a batch in machine code, without the interpreter's lock: those encoded as every writer does.

What is read here is a part of what `inputs.records.parsing` reads, and read alike. Any other record, be it oddly
encoded, damaged or cut short, is left to it: nothing is judged here. No byte outside of a record is looked at, and none
outside of its rows of the batch is written, whatever the record holds.
"""

import ctypes
from typing import NamedTuple

import numpy as np
from numba.types import ExternalFunction, int32, int64, uintp

from pipeline.config import DatasetConfig
from pipeline.inputs.reading.streaming import WIDTH, copy_streaming, fence_streaming_stores
from pipeline.inputs.records.parsing import feature_layouts
from pipeline.inputs.records.wire import FIRST, SECOND
from pipeline.runtime.compiled import compile_numba

# Of the C library that the process runs on: a file is read, and bytes are moved, without a turn of the interpreter.
_pread = ExternalFunction("pread", int64(int32, uintp, uintp, int64))
_posix_fadvise = ExternalFunction("posix_fadvise", int32(int32, int64, int64, int32))  # of Linux alone, as the next
_preadv2 = ExternalFunction("preadv2", int64(int32, uintp, int32, int64, int32))
_CAN_ADVISE = hasattr(ctypes.CDLL(None), "posix_fadvise") and hasattr(ctypes.CDLL(None), "preadv2")
_memcpy = ExternalFunction("memcpy", uintp(uintp, uintp, uintp))
_memset = ExternalFunction("memset", uintp(uintp, int32, uintp))
_WILL_NEED, _NO_WAIT = 3, 8  # POSIX_FADV_WILLNEED, RWF_NOWAIT


class Encoding(NamedTuple):
    """How a dataset's features lie in a record, for the compiled code; G features."""

    section: int
    """Tag of the field whose map holds them."""
    most_rows: int
    """Rows that a feature may have in a record; 1 at video level."""
    keys: np.ndarray
    """uint8, one after the other."""
    key_ends: np.ndarray
    """int64 [G]"""
    headers: np.ndarray
    """uint8, the bytes before each row of a feature, one feature's after the other's."""
    header_ends: np.ndarray
    """int64 [G]"""
    sizes: np.ndarray
    """int64 [G], bytes of a row without its header."""

    @classmethod
    def of(cls, dataset: DatasetConfig) -> "Encoding":
        found = feature_layouts(dataset)
        keys, headers = [layout.key.encode() for layout in found], [layout.header for layout in found]
        section, most_rows = (FIRST, 1) if dataset.level == "video" else (SECOND, np.iinfo(np.int64).max)
        return cls(
            section,
            most_rows,
            np.frombuffer(b"".join(keys), np.uint8),
            np.cumsum([len(key) for key in keys], dtype=np.int64),
            np.frombuffer(b"".join(headers), np.uint8),
            np.cumsum([len(header) for header in headers], dtype=np.int64),
            np.array([layout.size * layout.dtype.itemsize for layout in found], np.int64),
        )


def advise_readahead(descriptors: np.ndarray, offsets: np.ndarray, lengths: np.ndarray) -> None:
    """Ask the system, if it can be asked, to have these parts of open files in memory soon: int32, int64, int64 [n].

    What is there already, by the look of one byte in its middle, is passed over: to ask costs ten times as much.
    """
    if _CAN_ADVISE:
        _advise(descriptors, offsets, lengths)


@compile_numba
def _advise(descriptors: np.ndarray, offsets: np.ndarray, lengths: np.ndarray) -> None:
    byte = np.empty(1, np.uint8)
    vector = np.array([byte.ctypes.data, 1], np.uintp)  # struct iovec
    for record in range(len(descriptors)):
        descriptor, offset, length = descriptors[record], offsets[record], lengths[record]
        if _preadv2(descriptor, vector.ctypes.data, np.int32(1), offset + length // 2, np.int32(_NO_WAIT)) != 1:
            _posix_fadvise(descriptor, offset, length, np.int32(_WILL_NEED))


@compile_numba
def read_records(
    descriptors: np.ndarray,
    offsets: np.ndarray,
    lengths: np.ndarray,
    num_frames: np.ndarray,
    chosen: np.ndarray,
    counts: np.ndarray,
    encoding: Encoding,
    alignment: int,
    buffer: np.ndarray,
    frames: np.ndarray,
    left: np.ndarray,
) -> None:
    """Read records, and copy the chosen rows of their features side by side into a batch.

    Args:
        descriptors, offsets, lengths: int32, int64, int64 [B]; the open file, and where in it the payload lies.
        num_frames: int32 [B], the rows that each must have.
        chosen: int32 [B,T], which of them to copy: the first `counts`, int32 [B], at most T, of each video's.
        alignment: in a file, of what is read: 1, or what direct reads ask for.
        buffer: uint8, begins and ends at a multiple of the alignment, and holds the longest record so read.
        frames: uint8 [B,T,sum of the encoding's sizes], written where the record is not left, zero on padding.
        left: bool [B], becomes which records are left to the general parser.
    """
    places = np.empty((len(encoding.sizes), 2), np.int64)
    for record in range(len(descriptors)):
        before = offsets[record] % alignment
        data = buffer[before : before + lengths[record]]
        left[record] = not (
            _read(descriptors[record], offsets[record] - before, before + lengths[record], alignment, buffer)
            and _find(data, encoding, places)
            and _regular(data, encoding, places, num_frames[record])
            and _copy(data, encoding, places, num_frames[record], chosen[record, : counts[record]], frames[record])
        )
    fence_streaming_stores()


@compile_numba
def _read(descriptor: int, offset: int, length: int, alignment: int, buffer: np.ndarray) -> bool:
    whole = (length + alignment - 1) // alignment * alignment
    if whole > len(buffer):
        return False
    done = 0
    while done < length:
        got = _pread(descriptor, buffer.ctypes.data + np.uintp(done), np.uintp(whole - done), offset + done)
        if got <= 0:
            return False
        done += got
    return True


@compile_numba
def _find(data: np.ndarray, encoding: Encoding, places: np.ndarray) -> bool:
    """Note where each feature starts and stops; False if one is missing, or anything else is out of the ordinary."""
    places[:] = -1
    position, end = 0, len(data)
    while position < end:
        section = data[position]
        position, section_end = _enter(data, position, section, end)
        if position < 0 or (section != FIRST and section != SECOND):
            return False
        while position < section_end:
            entry, entry_end = _enter(data, position, FIRST, section_end)
            if entry < 0:
                return False
            key, key_end = _enter(data, entry, FIRST, entry_end)
            if key < 0:
                return False
            value, value_end = _enter(data, key_end, SECOND, entry_end)
            if value < 0 or value_end != entry_end:
                return False
            for place in range(key, key_end):
                if data[place] > 127:  # UTF-8, or not
                    return False
            if section == encoding.section:
                feature = _feature(data, key, key_end, encoding)
                if feature >= 0:
                    places[feature, 0], places[feature, 1] = value, value_end  # of equal keys the last counts
            position = entry_end
    return places.min() >= 0


@compile_numba
def _enter(data: np.ndarray, position: int, tag: int, end: int) -> tuple[int, int]:
    """Start and stop of the value of a field with this tag; a start of -1 where there is none that ends by `end`."""
    if position >= end or data[position] != tag:
        return -1, -1
    position += 1
    value = shift = 0
    while position < end and shift < 35:
        byte = np.int64(data[position])
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return (position, position + value) if value <= end - position else (-1, -1)
        shift += 7
    return -1, -1


@compile_numba
def _feature(data: np.ndarray, key: int, key_end: int, encoding: Encoding) -> int:
    """Which feature has this key; -1 where none has."""
    first = 0
    for feature in range(len(encoding.key_ends)):
        last = encoding.key_ends[feature]
        if last - first == key_end - key:
            same = 0
            while same < last - first and data[key + same] == encoding.keys[first + same]:
                same += 1
            if same == last - first:
                return feature
        first = last
    return -1


@compile_numba
def _regular(data: np.ndarray, encoding: Encoding, places: np.ndarray, num_frames: int) -> bool:
    """Whether the features have as many rows as they must, each behind the header that every writer gives it."""
    first = most = 0
    for feature in range(len(encoding.sizes)):
        last = encoding.header_ends[feature]
        start, stop = places[feature, 0], places[feature, 1]
        stride = last - first + encoding.sizes[feature]
        rows = (stop - start) // stride
        if feature == 0:
            most = rows
        if rows * stride != stop - start or rows != most or rows < 1 or rows > encoding.most_rows:
            return False
        for row in range(start, stop, stride):
            for place in range(last - first):
                if data[row + place] != encoding.headers[first + place]:
                    return False
        first = last
    return most == num_frames


@compile_numba
def _copy(
    data: np.ndarray, encoding: Encoding, places: np.ndarray, num_frames: int, chosen: np.ndarray, frames: np.ndarray
) -> bool:
    """Rows of `_regular` features to frames [T,...]; False where one is asked for that is not there."""
    for row in chosen:
        if row < 0 or row >= num_frames:
            return False
    source, target, width = data.ctypes.data, frames.ctypes.data, frames.shape[1]
    column = first = 0
    for feature in range(len(encoding.sizes)):
        header, size = encoding.header_ends[feature] - first, encoding.sizes[feature]
        start = places[feature, 0] + header
        for position in range(len(chosen)):
            place = start + chosen[position] * (header + size)
            _move(target + np.uintp(position * width + column), source + np.uintp(place), np.uintp(size))
        column += size
        first += header
    padding = len(chosen) * width
    _memset(target + np.uintp(padding), np.int32(0), np.uintp(frames.size - padding))
    return True


@compile_numba
def _move(target: int, source: int, size: int) -> None:
    if (target | size) % np.uintp(WIDTH):
        _memcpy(target, source, size)
        return
    for place in range(np.uintp(0), size, np.uintp(WIDTH)):
        copy_streaming(target + place, source + place)
