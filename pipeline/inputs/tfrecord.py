"""The TFRecord container: length, masked CRC32C of the length, payload, masked CRC32C of the payload."""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import google_crc32c

HEADER = struct.Struct("<QI")  # payload length, masked CRC of those eight bytes
FOOTER = struct.Struct("<I")  # masked CRC of the payload
_MASK_DELTA = 0xA282EAD8


@dataclass(frozen=True)
class Record:
    """One record of a file: its payload, or what is wrong with it."""

    offset: int
    """Of the payload, in bytes from the start of the file."""
    payload: memoryview
    """Empty when there is a fault."""
    fault: str | None = None


def masked_crc(data: bytes | memoryview) -> int:
    """CRC32C as TFRecord stores it: rotated right by 15 bits, plus a constant."""
    crc = google_crc32c.value(bytes(data))
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def scan(path: Path) -> Iterator[Record]:
    """Every record of a file, both checksums verified; the file is read once.

    A payload with a wrong checksum is yielded with its fault and the scan goes on. A wrong length cannot be skipped:
    its fault is the last thing yielded.
    """
    data = memoryview(path.read_bytes())
    position = 0
    if data[:2] == b"\x1f\x8b":
        yield Record(0, data[:0], "the file is gzipped; unpack it")
        return
    while position < len(data):
        start = position + HEADER.size
        if start > len(data):
            yield Record(position, data[:0], f"file ends inside a record header, {len(data) - position} bytes long")
            return
        length, length_crc = HEADER.unpack(data[position:start])
        if masked_crc(data[position : position + 8]) != length_crc:
            yield Record(position, data[:0], "checksum of the record length is wrong; what follows is unreadable")
            return
        end = start + length
        if end + FOOTER.size > len(data):
            yield Record(start, data[:0], f"file ends {end + FOOTER.size - len(data)} bytes before the record does")
            return
        (payload_crc,) = FOOTER.unpack(data[end : end + FOOTER.size])
        payload = data[start:end]
        if masked_crc(payload) == payload_crc:
            yield Record(start, payload)
        else:
            yield Record(start, data[:0], "checksum of the record is wrong")
        position = end + FOOTER.size


def write(file: BinaryIO, payloads: Iterable[bytes]) -> int:
    """Append records to an open file; returns how many."""
    count = 0
    for payload in payloads:
        length = struct.pack("<Q", len(payload))
        file.write(length + FOOTER.pack(masked_crc(length)))
        file.write(payload)
        file.write(FOOTER.pack(masked_crc(payload)))
        count += 1
    return count
