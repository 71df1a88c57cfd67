"""The container of a bundle: a zip of entries stored as they are, checked before anything of it is read.

Nothing is ever unpacked to disk, so no name can lead elsewhere; nothing is compressed, so an entry is no larger than
the file that it lies in; nothing but JSON and numbers is read, so no code is run.
"""

import contextlib
import json
import re
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from pipeline.config import ConfigError
from pipeline.config.errors import StageError

HEADER, SCORES = "bundle.json", "scores.json"
_NAMES = re.compile(r"bundle\.json|scores\.json|weights/\d{4}\.bin", re.ASCII)
_LONGEST_JSON = 16 << 20
_ENCRYPTED = 1  # bit of an entry's flags
_FAULTS = (
    ConfigError,
    zipfile.BadZipFile,
    OSError,
    EOFError,
    ValueError,
    KeyError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    MemoryError,
    struct.error,
)
"""What the standard library raises, depending on which byte of a zip is damaged."""


class BundleError(StageError):
    """A file is no bundle, is damaged, or asks for more than it holds."""


def weights_name(member: int) -> str:
    """The entry that holds a member's weights."""
    return f"weights/{member:04d}.bin"


class Container:
    """A bundle's entries, opened for reading by `open_bundle`."""

    def __init__(self, path: Path, archive: zipfile.ZipFile):
        self.path = path
        self._archive = archive
        self.sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
        """Bytes of each entry."""
        self._check()

    def _check(self) -> None:
        entries = self._archive.infolist()
        for entry in entries:
            if not _NAMES.fullmatch(entry.filename):
                raise BundleError(f"{self.path} holds {entry.filename!r}, which no bundle does")
            if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
                raise BundleError(f"{self.path}: {entry.filename} is compressed; bundles are stored as they are")
            if entry.flag_bits & _ENCRYPTED:
                raise BundleError(f"{self.path}: {entry.filename} is encrypted")
        if len(self.sizes) < len(entries):
            raise BundleError(f"{self.path} holds an entry twice")
        held = self.path.stat().st_size
        if sum(self.sizes.values()) > held:
            raise BundleError(f"{self.path} declares {sum(self.sizes.values())} bytes and has {held}")
        if HEADER not in self.sizes:
            raise BundleError(f"{self.path} has no {HEADER}")

    def json(self, name: str) -> Any:
        """An entry of JSON values."""
        if self.sizes[name] > _LONGEST_JSON:
            raise BundleError(f"{self.path}: {name} is {self.sizes[name]} bytes long, {_LONGEST_JSON} at most are read")
        try:
            return json.loads(self._archive.read(name), parse_constant=_no_constant)
        except RecursionError:
            raise BundleError(f"{self.path}: {name} is nested too deeply") from None

    def open(self, name: str) -> BinaryIO:
        """An entry as a file; its checksum is verified when it has been read to its end."""
        return self._archive.open(name)


@contextlib.contextmanager
def open_bundle(path: Path) -> Iterator[Container]:
    """A bundle's container. Raises BundleError for what is wrong with it, also while it is read in the block."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield Container(path, archive)
    except StageError:
        raise
    except FileNotFoundError:
        raise BundleError(f"{path} is missing") from None
    except _FAULTS as error:
        raise BundleError(f"{path} is not a bundle, or is damaged ({error}): export it again") from error


def add_entry(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    """Write an entry; it bears no date, so the same content gives the same bytes."""
    archive.writestr(_entry(name, len(content)), content)


@contextlib.contextmanager
def new_entry(archive: zipfile.ZipFile, name: str) -> Iterator[BinaryIO]:
    """The same for an entry that is written bit by bit."""
    with archive.open(_entry(name, 0), "w", force_zip64=True) as file:
        yield file


def to_json(values: Any) -> bytes:
    return (json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _entry(name: str, size: int) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)  # of 1 January 1980
    entry.file_size = size
    entry.external_attr = 0o644 << 16
    return entry


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
