"""Read NumPy's .npz files from anybody: what an array asks for is compared with what there is before it is read.

`numpy.load` lays out whatever a header declares, reads a header of any length, and inflates a member of any size.
"""

import contextlib
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


class ArrayHeader(NamedTuple):
    """What the header of an array declares; it has been compared with the size of the array's member."""

    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype


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
        values = np.frombuffer(data, header.dtype)
        if header.fortran_order:
            return values.reshape(header.shape[::-1]).T
        return values.reshape(header.shape)

    def _open(self, name: str) -> BinaryIO:
        entry = self._members[name]
        if entry.flag_bits & _ENCRYPTED:
            raise ValueError(f"array {name} is encrypted")
        return self._archive.open(entry)  # type: ignore[return-value]

    def _header(self, name: str, file: BinaryIO) -> ArrayHeader:
        magic = file.read(8)
        length_format = {b"\x93NUMPY\x01\x00": "<H", b"\x93NUMPY\x02\x00": "<I"}.get(magic)
        if length_format is None:
            raise ValueError(f"array {name} is not in NumPy's format 1 or 2")
        prefix = file.read(struct.calcsize(length_format))
        (length,) = struct.unpack(length_format, prefix)
        if length > _LONGEST_HEADER:
            raise ValueError(f"array {name} has a header of {length:,} bytes; the most is {_LONGEST_HEADER:,}")
        text = io.BytesIO(prefix + file.read(length))
        read = np.lib.format.read_array_header_1_0 if len(prefix) == 2 else np.lib.format.read_array_header_2_0
        try:
            header = ArrayHeader(*read(text))
        except Exception as error:  # NumPy has Python parse it, and lets its errors through
            raise ValueError(f"array {name} has no valid header ({str(error)[:100]})") from None
        shape, dtype = header.shape, header.dtype
        if dtype.kind not in "biufcSU" or not dtype.itemsize:
            raise ValueError(f"array {name} has values of type {dtype}; they must be numbers or text")
        there = self._members[name].file_size - len(magic) - len(prefix) - length
        if any(isinstance(size, bool) or size < 0 for size in shape) or math.prod(shape) * dtype.itemsize != there:
            raise ValueError(f"array {name} is to be {dtype} {str(list(shape))[:100]}, and has {there:,} bytes")
        return header


@contextlib.contextmanager
def open_npz(path: Path) -> Iterator[ArrayFile]:
    """Open a .npz file. Raises ValueError for whatever is wrong with it, also inside the block, and OSError."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield ArrayFile(archive, path.stat().st_size)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, struct.error) as error:
        raise ValueError(f"it is no .npz file, or is damaged ({error})") from error
