"""The container of a bundle: a zip of uncompressed entries that is checked before any entry is read.

It is safe to open a bundle from a stranger. Nothing is unpacked to disk, so no entry's name can lead elsewhere. Nothing
is compressed, so no entry is larger than the file. Only JSON and numbers are read, so no code is run.
"""

import contextlib
import json
import re
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from pipeline.artifacts.failures import is_refusal
from pipeline.artifacts.stored_json import parse_json
from pipeline.config import ConfigError
from pipeline.config.errors import StageError
from pipeline.inputs.records.file_kinds import kind_of_file
from pipeline.runtime.memory import is_out_of_memory

HEADER, SCORES = "bundle.json", "scores.json"
_NAMES = re.compile(r"bundle\.json|scores\.json|weights/\d{4}\.bin", re.ASCII)
LONGEST_JSON = 16 << 20
_ENCRYPTED = 1  # the bit of an entry's flags that says so
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
"""The exceptions that the standard library raises for a damaged zip, depending on which byte is damaged."""


class BundleError(StageError):
    """A file is not a bundle, is damaged, or asks for more than it holds."""


def weights_name(member: int) -> str:
    """Return the name of the entry that holds a member's weights."""
    return f"weights/{member:04d}.bin"


class Container:
    """The entries of a bundle that `open_zip` has opened for reading."""

    def __init__(self, path: Path, archive: zipfile.ZipFile):
        self.path = path
        self._archive = archive
        self.sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
        """The size of each entry in bytes."""
        self._check()

    def _check(self) -> None:
        entries = self._archive.infolist()
        for entry in entries:
            if not _NAMES.fullmatch(entry.filename):
                raise BundleError(f"{self.path} holds {entry.filename!r}, which does not belong in a bundle")
            if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
                raise BundleError(
                    f"{self.path}: {entry.filename} is compressed; the entries of a bundle must not be compressed"
                )
            if entry.flag_bits & _ENCRYPTED:
                raise BundleError(
                    f"{self.path}: {entry.filename} is encrypted; the entries of a bundle must not be encrypted"
                )
        if len(self.sizes) < len(entries):
            raise BundleError(f"{self.path} holds an entry twice")
        held = self.path.stat().st_size
        if sum(self.sizes.values()) > held:
            raise BundleError(f"{self.path} declares {sum(self.sizes.values())} bytes but has only {held}")
        if HEADER not in self.sizes:
            raise BundleError(f"{self.path} has no {HEADER}, so it is not a bundle")

    def json(self, name: str) -> Any:
        """Return the values of an entry that holds JSON."""
        if self.sizes[name] > LONGEST_JSON:
            raise BundleError(
                f"{self.path}: {name} is {self.sizes[name]} bytes long; it may have at most {LONGEST_JSON}"
            )
        return parse_json(self._archive.read(name), finite=True)

    def check_models(self, count: int) -> None:
        """Raise BundleError if the weights of one of so many models are missing, or there are others."""
        expected = {HEADER} | {weights_name(number) for number in range(count)}
        if differing := (self.sizes.keys() - {SCORES}) ^ expected:
            raise BundleError(f"{self.path}: {min(differing)} is missing, or belongs to no member")

    def open(self, name: str) -> BinaryIO:
        """Open an entry as a file; its checksum is verified once it has been read to the end."""
        return self._archive.open(name)


@contextlib.contextmanager
def open_zip(path: Path) -> Iterator[Container]:
    """Open the container of a zip. Raises BundleError if the file is faulty, also for faults found inside the block."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield Container(path, archive)
    except StageError:
        raise
    except FileNotFoundError:
        raise BundleError(f"{path} is missing") from None
    except _FAULTS as error:
        if is_refusal(error) or (is_out_of_memory(error) and not isinstance(error, MemoryError)):
            raise  # the machine's, not the file's; a MemoryError is what a damaged size gives
        if path.is_file() and (kind := kind_of_file(path)) and kind.format not in ("bundle", "zip", "empty", "text"):
            raise BundleError(f"{path}: {kind.is_not('a bundle', 'name one that `export` made')}") from error
        raise BundleError(f"{path} is not a bundle, or is damaged ({error}): export it again") from error


def add_entry(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    """Write an entry. It has no date, so the same content gives the same bytes."""
    archive.writestr(_entry(name, len(content)), content)


@contextlib.contextmanager
def new_entry(archive: zipfile.ZipFile, name: str) -> Iterator[BinaryIO]:
    """Open a new entry to be written piece by piece; like `add_entry` otherwise."""
    with archive.open(_entry(name, 0), "w", force_zip64=True) as file:
        yield file


def to_json(values: Any) -> bytes:
    return (json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _entry(name: str, size: int) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)  # zipfile dates it 1 January 1980
    entry.file_size = size
    entry.external_attr = 0o644 << 16
    return entry
