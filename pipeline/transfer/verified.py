"""A file until it is verified: its checksums, its bytes so far in NAME.part, and the record that it was right."""

import contextlib
import hashlib
import os
import threading
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import google_crc32c

from pipeline.artifacts.files import sync
from pipeline.artifacts.stored_json import parse_json
from pipeline.runtime.output import printable_json
from pipeline.transfer.source import Refused, Remote, Source, Unavailable

LEDGER = "download.jsonl"
"""In a dataset's folder: what was verified."""
_CHUNK = 1 << 20

# ----------------------------------------------------------------------------------------------------------- checksums


class Checksums:
    """Size, MD5 and CRC32C of the bytes so far."""

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
        """In hexadecimal digits."""
        return self._md5.hexdigest()


def checksums_of(path: Path, read: Callable[[int], None] = lambda count: None) -> Checksums:
    """Of a whole file; `read` is told the number of bytes of each piece, and may raise to end it."""
    checksums = Checksums()
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(_CHUNK):
            checksums.update(chunk)
            read(len(chunk))
    return checksums


def difference(file: Remote, got: Checksums | Remote) -> str | None:
    """What differs from what a source says of a file; None where everything that it says is right."""
    for what in ("size", "md5", "crc32c"):
        if (told := getattr(file, what)) not in (None, getattr(got, what)):
            return f"{what} should be {told}, got {getattr(got, what)}"
    return None


# ------------------------------------------------------------------------------------------------------- bytes so far


class PartialFile:
    """The bytes so far of the file that is to be `path`; it takes its name when it is whole.

    Args:
        path: the final one.
        resume: keep what an earlier process left; only where a checksum will tell whether it fits.
        told: is given the number of bytes that came, or less than 0 of those that were thrown away.
    """

    def __init__(self, path: Path, resume: bool, told: Callable[[int], None]):
        self.path = path
        self.checksums = Checksums()
        self.furthest = 0
        """Most bytes that there ever were."""
        self._told = told
        path.parent.mkdir(parents=True, exist_ok=True)
        # A link in its place would lead elsewhere.
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
        """Read on from what there is, to the end, and verify it.

        Args:
            foreseen: is given the number of bytes that are to come, where the source says so.

        Raises:
            Unavailable: the transfer broke off, or its bytes are wrong.
            Refused: it cannot be had, or not be verified.
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
            # Inside the block, so that the source learns of wrong bytes.
            if fault := difference(whole, self.checksums):
                self.begin_anew()
                raise Unavailable(f"{file.name} has wrong bytes: {fault}")

    def write(self, chunk: bytes) -> None:
        left = memoryview(chunk)
        while left:
            left = left[self._file.write(left) :]
        self._count(chunk)

    def begin_anew(self) -> None:
        """Throw away what there is."""
        self._told(-self.size)
        self.checksums = Checksums()
        self._file.seek(0)
        self._file.truncate(0)

    def take_name(self) -> None:
        """Make it the file, safe from a crash of the machine."""
        with self._file:
            os.fsync(self._file.fileno())
        partial_path(self.path).replace(self.path)
        sync(self.path.parent)

    def close(self) -> None:
        """Keep the bytes for another time; without any there is nothing to keep."""
        self._file.close()
        if not self.size:
            partial_path(self.path).unlink(missing_ok=True)

    def _count(self, chunk: bytes) -> None:
        self.checksums.update(chunk)
        self.furthest = max(self.furthest, self.size)
        self._told(len(chunk))


def partial_path(path: Path) -> Path:
    """Where the bytes so far of a file lie."""
    return path.with_name(f"{path.name}.part")


# -------------------------------------------------------------------------------------------------------- the record


class Ledger:
    """Size, time and checksums of files by their paths below a folder, a JSON line each; the last one of a path counts.

    It's a memory of work done and no more: a line that is torn or cannot be written costs reading a file again. Threads
    may share it.
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
        """What is known of a file that was verified, and has not changed since as far as its size and time tell."""
        time, file = self._files.get(self._name(path), (0, None))
        try:
            status = path.stat()
        except OSError:
            return None
        return file if file and (file.size, time) == (status.st_size, status.st_mtime_ns) else None

    def record(self, path: Path, checksums: Checksums) -> None:
        """Remember a file that has just been verified."""
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
