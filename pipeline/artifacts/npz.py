"""Read NumPy's arrays from anybody: what an array asks for is compared with what there is before it is read.

`numpy.load` lays out whatever a header declares, reads a header of any length, and inflates a member of any size.
"""

import contextlib
import functools
import io
import math
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

_LONGEST_HEADER = 10_000
"""Bytes, as in numpy.load."""
_MOST_INFLATED = 4 << 30
"""Bytes that compressed arrays may have in all, if they have more than their file."""
_ENCRYPTED = 1
LONGEST_HEAD = 12 + _LONGEST_HEADER
"""Bytes of the beginning of an array in which its whole header lies."""


class ArrayHeader(NamedTuple):
    """What the header of an array declares."""

    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype
    begin: int
    """Bytes before the values, which are those of the header."""

    @property
    def end(self) -> int:
        """Bytes that the array has in all."""
        return self.begin + math.prod(self.shape) * self.dtype.itemsize

    def arrange(self, data: bytes | bytearray | memoryview | np.ndarray) -> np.ndarray:
        """Return the bytes of the values as the array that they are."""
        values = np.frombuffer(data, self.dtype)
        return values.reshape(self.shape[::-1]).T if self.fortran_order else values.reshape(self.shape)


@functools.lru_cache(256)
def parse_header(head: bytes) -> ArrayHeader:
    """Return what an array declares that begins with these bytes, 10,012 of them or fewer.

    Equal headers are parsed once, which counts where every file of many has the same.

    Raises:
        ValueError: the bytes are not the header of an array of numbers or text; the message goes on after the array's
            name.
    """
    length_format = {b"\x93NUMPY\x01\x00": "<H", b"\x93NUMPY\x02\x00": "<I"}.get(head[:8])
    if length_format is None or len(head) < 12:
        raise ValueError("is not in NumPy's format 1 or 2")
    width = struct.calcsize(length_format)
    (length,) = struct.unpack_from(length_format, head, 8)
    if length > _LONGEST_HEADER:
        raise ValueError(f"has a header of {length:,} bytes; the most is {_LONGEST_HEADER:,}")
    begin = 8 + width + length
    read = np.lib.format.read_array_header_1_0 if width == 2 else np.lib.format.read_array_header_2_0
    try:
        shape, fortran_order, dtype = read(io.BytesIO(head[8:begin]))
    except Exception as error:  # NumPy has Python parse it, and lets its errors through
        raise ValueError(f"has no valid header ({str(error)[:100]})") from None
    if dtype.kind not in "biufcSU" or not dtype.itemsize:
        raise ValueError(f"has values of type {dtype}; they must be numbers or text")
    if any(isinstance(size, bool) or size < 0 for size in shape):
        raise ValueError(f"is to be {dtype} {str(list(shape))[:100]}")
    return ArrayHeader(shape, fortran_order, dtype, begin)


def header_of_array(head: bytes, size: int) -> ArrayHeader:
    """Return what an array of `size` bytes declares, if its header agrees with that; `head` is how it begins.

    Raises:
        ValueError: as `parse_header`, or the array is to have more or fewer bytes.
    """
    header = parse_header(head[: header_bytes(head)])
    if header.end != size:
        there = size - header.begin
        raise ValueError(f"is to be {header.dtype} {str(list(header.shape))[:100]}, and has {there:,} bytes")
    return header


def header_bytes(head: bytes) -> int:
    """Return how many bytes of an array's beginning are its header, so that equal ones are known as such."""
    if len(head) < 12:
        return 12
    return 10 + int.from_bytes(head[8:10], "little") if head[6] == 1 else 12 + int.from_bytes(head[8:12], "little")


class ArrayFile:
    """The arrays of a .npz file that `open_npz` has opened."""

    def __init__(self, archive: zipfile.ZipFile, size: int):
        self._archive = archive
        self._members = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
        if len(self._members) < len(archive.infolist()):
            raise ValueError("it holds two arrays of one name")
        whole = sum(entry.file_size for entry in self._members.values())
        if whole > max(size, _MOST_INFLATED):
            raise ValueError(
                f"its {size:,} bytes are to become {whole:,}; compressed arrays may have {_MOST_INFLATED >> 30} GiB: "
                "write larger ones with numpy.savez"
            )
        if any(entry.compress_type == zipfile.ZIP_STORED and entry.file_size > size for entry in archive.infolist()):
            raise ValueError("an array is to have more bytes than the file")

    @property
    def names(self) -> list[str]:
        """The names of the arrays, in their order."""
        return list(self._members)

    def header(self, name: str) -> ArrayHeader:
        """Return what an array is, without reading it; raises KeyError, or ValueError as `read`."""
        with self._open(name) as file:
            return self._header(name, file)

    def dimensions(self, name: str) -> int:
        """Return how many dimensions an array has, without reading it; raises as `header`."""
        return len(self.header(name).shape)

    def read(self, name: str) -> np.ndarray:
        """Read an array, which is not writable; raises KeyError, or ValueError if it holds no numbers or text."""
        with self._open(name) as file:
            header = self._header(name, file)
            data = file.read()  # no more than the member is declared to have; its checksum is verified at its end
        return header.arrange(data)

    def begin(self, name: str) -> int | None:
        """Return the byte of the file at which an array begins with its header; None if the array is compressed."""
        entry = self._members[name]
        if entry.compress_type != zipfile.ZIP_STORED:
            return None
        file = self._archive.fp
        assert file is not None
        file.seek(entry.header_offset)
        local = file.read(30)
        if len(local) < 30 or local[:4] != b"PK\x03\x04":
            raise ValueError(f"array {name} does not lie where the file says")
        return entry.header_offset + 30 + sum(struct.unpack_from("<HH", local, 26))

    def open(self, name: str) -> BinaryIO:
        """Open an array to read its bytes, header first; raises KeyError, or ValueError if it is encrypted."""
        return self._open(name)

    def _open(self, name: str) -> BinaryIO:
        entry = self._members[name]
        if entry.flag_bits & _ENCRYPTED:
            raise ValueError(f"array {name} is encrypted")
        return self._archive.open(entry)  # type: ignore[return-value]

    def _header(self, name: str, file: BinaryIO) -> ArrayHeader:
        head = file.read(12)
        head += file.read(max(min(header_bytes(head), LONGEST_HEAD) - len(head), 0))
        try:
            return header_of_array(head, self._members[name].file_size)
        except ValueError as error:
            raise ValueError(f"array {name} {error}") from None


@contextlib.contextmanager
def open_npz(path: Path) -> Iterator[ArrayFile]:
    """Open a .npz file. Raises ValueError for whatever is wrong with it, also inside the block, and OSError."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield ArrayFile(archive, path.stat().st_size)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, struct.error) as error:
        raise ValueError(f"it is no .npz file, or is damaged ({error})") from error
