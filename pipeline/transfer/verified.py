"""Verify files: checksums, the bytes so far in NAME.part, and the record of verified files."""

import contextlib
import hashlib
import os
import threading
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import google_crc32c

from pipeline.artifacts.files import sync, sync_descriptor
from pipeline.artifacts.stored_json import parse_json
from pipeline.runtime.output import printable_json
from pipeline.transfer.source import Refused, Remote, Source, Unavailable

LEDGER = "download.jsonl"
"""The record of verified files, in a dataset's folder."""
_CHUNK = 1 << 20

# ----------------------------------------------------------------------------------------------------------- checksums


class Checksums:
    """The size, MD5 and CRC32C of the bytes so far."""

    def __init__(self) -> None:
        self.size = 0
        self.crc32c = 0
        self._md5 = hashlib.md5(usedforsecurity=False)

    def update(self, chunk: bytes) -> None:
        self._md5.update(chunk)
        self.crc32c = google_crc32c.extend(self.crc32c, chunk)
        self.size += len(chunk)

    @property
    def md5(self) -> str:
        """The MD5 in hexadecimal digits."""
        return self._md5.hexdigest()


def checksums_of(path: Path, read: Callable[[int], None] = lambda count: None) -> Checksums:
    """Return a file's checksums; `read` is called with the number of bytes of each piece, and may raise to stop."""
    checksums = Checksums()
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(_CHUNK):
            checksums.update(chunk)
            read(len(chunk))
    return checksums


def difference(file: Remote, got: Checksums | Remote) -> str | None:
    """Return how a file differs from what its source says; None if it does not."""
    for what in ("size", "md5", "crc32c"):
        if (told := getattr(file, what)) not in (None, getattr(got, what)):
            return f"{what} should be {told}, got {getattr(got, what)}"
    return None


# ------------------------------------------------------------------------------------------------------- bytes so far


class PartialFile:
    """The bytes so far of a file, stored in NAME.part until the file is whole.

    Args:
        path: the final path.
        resume: keep what an earlier process left; only if a checksum will verify it.
        told: called with the number of bytes that arrived, negative for bytes that were discarded.
    """

    def __init__(self, path: Path, resume: bool, told: Callable[[int], None]):
        self.path = path
        self.checksums = Checksums()
        self.furthest = 0
        """The largest number of bytes that there ever were."""
        self._told = told
        path.parent.mkdir(parents=True, exist_ok=True)
        # O_NOFOLLOW: a link there would lead elsewhere.
        descriptor = os.open(partial_path(path), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        self._file = os.fdopen(descriptor, "r+b", buffering=0)
        if resume:
            while chunk := self._file.read(_CHUNK):
                self._count(chunk)
        else:
            self._file.truncate(0)

    @property
    def size(self) -> int:
        return self.checksums.size

    def fill(self, source: Source, file: Remote, foreseen: Callable[[int], None]) -> None:
        """Read the rest of the file, and verify all of it.

        Args:
            foreseen: called with the number of bytes to come, if the source says so.

        Raises:
            Unavailable: the transfer broke off, or its bytes are wrong.
            Refused: the file is not available, or cannot be verified.
        """
        if file.is_verifiable() and not difference(file, self.checksums):
            return
        if file.size is not None and self.size >= file.size:
            self.begin_anew()
        with source.open(file, self.size) as body:
            if body.start not in (0, self.size):
                raise Unavailable(f"{file.name}: bytes from {self.size} on were asked for, not from {body.start}")
            if body.start != self.size:
                self.begin_anew()
            whole = replace(file, size=body.size if file.size is None else file.size)
            if whole.size is None and not file.is_verifiable():
                raise Refused(f"{file.name}: neither its size nor a checksum is known, so that it cannot be verified")
            if body.size is not None:
                foreseen(body.size - self.size)
            for chunk in body.chunks:
                self.write(chunk)
                if whole.size is not None and self.size > whole.size:
                    break
            if whole.size is not None and self.size < whole.size:
                raise Unavailable(f"{file.name} broke off after {self.size} of {whole.size} bytes")
            # Raised inside the block, so that the source counts the wrong bytes as a failure.
            if fault := difference(whole, self.checksums):
                self.begin_anew()
                raise Unavailable(f"{file.name} has wrong bytes: {fault}")

    def write(self, chunk: bytes) -> None:
        left = memoryview(chunk)
        while left:
            left = left[self._file.write(left) :]
        self._count(chunk)

    def begin_anew(self) -> None:
        """Discard the bytes so far."""
        self._told(-self.size)
        self.checksums = Checksums()
        self._file.seek(0)
        self._file.truncate(0)

    def take_name(self) -> None:
        """Sync the file to the disk, and give it its final name."""
        with self._file:
            sync_descriptor(self._file.fileno())
        partial_path(self.path).replace(self.path)
        sync(self.path.parent)

    def close(self) -> None:
        """Close the file and keep its bytes for another attempt; an empty file is deleted."""
        self._file.close()
        if not self.size:
            partial_path(self.path).unlink(missing_ok=True)

    def _count(self, chunk: bytes) -> None:
        self.checksums.update(chunk)
        self.furthest = max(self.furthest, self.size)
        self._told(len(chunk))


def partial_path(path: Path) -> Path:
    """Return the path of a file's bytes so far."""
    return path.with_name(f"{path.name}.part")


# -------------------------------------------------------------------------------------------------------- the record


class Ledger:
    """The size, time and checksums of verified files, as JSON lines; the last line of a path counts.

    It only saves work: for a line that is cut short or cannot be written, a file is read again. Threads may share it.
    """

    def __init__(self, home: Path):
        self._home = home
        self._lock = threading.Lock()
        self._files: dict[str, tuple[int, Remote]] = {}
        path = home / LEDGER
        text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
        self._torn = bool(text) and not text.endswith("\n")
        for line in text.splitlines():
            with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError):
                values = parse_json(line)
                self._files[values["name"]] = values.pop("mtime_ns"), Remote(**values)

    def verified(self, path: Path) -> Remote | None:
        """Return what was recorded of a file; None if its size or time has changed since."""
        time, file = self._files.get(self._name(path), (0, None))
        try:
            status = path.stat()
        except OSError:
            return None
        return file if file and (file.size, time) == (status.st_size, status.st_mtime_ns) else None

    def record(self, path: Path, checksums: Checksums) -> None:
        """Record a file that has just been verified."""
        time, name = path.stat().st_mtime_ns, self._name(path)
        file = Remote(name, checksums.size, checksums.md5, checksums.crc32c)
        line = printable_json({**asdict(file), "mtime_ns": time}) + "\n"
        with self._lock:
            self._files[name] = time, file
            try:
                with (self._home / LEDGER).open("a", encoding="utf-8") as file:
                    file.write("\n" * self._torn + line)
                self._torn = False
            except OSError:  # a full disk
                self._torn = True

    def _name(self, path: Path) -> str:
        return path.relative_to(self._home).as_posix()
