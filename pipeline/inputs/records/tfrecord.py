"""The TFRecord container: length, masked CRC32C of the length, payload, masked CRC32C of the payload."""

import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import google_crc32c

from pipeline.config.wording import counted

HEADER = struct.Struct("<QI")  # payload length, masked CRC of those eight bytes
FOOTER = struct.Struct("<I")  # masked CRC of the payload
LONGEST = 2**31 - 1
"""Bytes of a payload; a longer one is not read."""
_MASK_DELTA = 0xA282EAD8


class Record(NamedTuple):
    """A record of a file: its payload, or what is wrong with it."""

    offset: int
    """Where the payload begins, in bytes from the start of the file."""
    payload: bytes
    """The content; empty if there is a fault."""
    fault: str | None = None
    checksum: int = 0
    """The masked CRC of the payload; 0 if there is a fault."""


def masked_crc(data: bytes | memoryview) -> int:
    """Return the CRC32C as TFRecord stores it: rotated right by 15 bits, plus a constant."""
    crc = google_crc32c.value(bytes(data))  # copies only what is not bytes
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def begins_record(head: bytes) -> bool:
    """Return whether bytes begin as a record does: with a length, and the checksum of it."""
    return len(head) >= HEADER.size and masked_crc(head[:8]) == HEADER.unpack_from(head)[1]


def scan_records(path: Path) -> Iterator[Record]:
    """Yield every record of a file and verify both checksums; the file is read once, one record in memory at a time.

    For a payload with a wrong checksum the fault is yielded, and the scan goes on. A record with a wrong length cannot
    be skipped, so its fault is the last one yielded. No memory is allocated for a length beyond the end of the file.
    Raises OSError if the file cannot be read.
    """
    with path.open("rb") as file:
        size, position = os.fstat(file.fileno()).st_size, 0
        while header := file.read(HEADER.size):
            start = position + HEADER.size
            if len(header) < HEADER.size:
                yield Record(position, b"", f"file ends inside a record header, {counted(len(header), 'byte')} long")
                return
            if not begins_record(header):
                yield Record(position, b"", "checksum of the record length is wrong; what follows is unreadable")
                return
            length, _ = HEADER.unpack(header)
            end = start + length + FOOTER.size
            if length > LONGEST and end <= size:
                yield Record(start, b"", f"the record has {length} bytes; protobuf allows at most 2 GiB")
                file.seek(position := end)
                continue
            payload, footer = (file.read(length), file.read(FOOTER.size)) if end <= size else (b"", b"")
            if len(footer) < FOOTER.size:
                yield Record(start, b"", f"file ends {counted(max(1, end - size), 'byte')} before the record does")
                return
            (payload_crc,) = FOOTER.unpack(footer)
            if masked_crc(payload) == payload_crc:
                yield Record(start, payload, None, payload_crc)
            else:
                yield Record(start, b"", "checksum of the record is wrong")
            position = end


def count_records(path: Path) -> int:
    """Return how many records `scan_records` yields, from their lengths alone. Raises OSError."""
    count = 0
    with path.open("rb") as file:
        size, position = os.fstat(file.fileno()).st_size, 0
        while position < size:
            file.seek(position)
            header = file.read(HEADER.size)
            count += 1
            if not begins_record(header):
                break
            position += HEADER.size + HEADER.unpack(header)[0] + FOOTER.size
    return count


def write_records(file: BinaryIO, payloads: Iterable[bytes]) -> int:
    """Append records to an open file; return how many."""
    count = 0
    for payload in payloads:
        length = struct.pack("<Q", len(payload))
        file.write(length + FOOTER.pack(masked_crc(length)))
        file.write(payload)
        file.write(FOOTER.pack(masked_crc(payload)))
        count += 1
    return count
