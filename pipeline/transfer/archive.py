"""Unpack the archive of AudioSet's features into the folders of its splits.

A gzip stream can only be read from its start, and shows a wrong byte only at its end. So the archive is downloaded
whole first, like any other file: a broken transfer resumes, and the checksum is verified before any member is written.
This takes 2.4 GB of disk for a while. Unpacking during the download would start again after every interruption.
"""

import contextlib
import os
import stat
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from gzip import BadGzipFile, GzipFile
from pathlib import Path
from typing import Any

from pipeline.artifacts.files import read_json, write_json
from pipeline.artifacts.hidden import is_hidden, visible
from pipeline.artifacts.locks import locked
from pipeline.config.errors import StageError
from pipeline.inputs.records.file_kinds import kind_of_file
from pipeline.runtime.progress import progress_bar
from pipeline.transfer.names import safe_name
from pipeline.transfer.source import Refused

ARCHIVE = "youtube_corpus/v1/features/features.tar.gz"
"""In AudioSet's bucket."""
CLASS_NAMES = "youtube_corpus/v1/csv/class_labels_indices.csv"
"""A CSV of label, machine identifier and name."""
FOLDERS = {"train": "bal_train", "eval": "eval", "unbalanced": "unbal_train"}
"""The folder of each split in the archive; `unbalanced` has 2 million clips."""

UNPACKED = "unpacked.json"
"""A file in a folder that is unpacked to its end: the number of members and their bytes."""
_LARGEST = 64 << 20
"""The most bytes of a member; AudioSet's have about a hundredth of that."""
_DAMAGE = (tarfile.TarError, BadGzipFile, EOFError, zlib.error, ValueError, OverflowError, RecursionError)


def is_unpacked(folder: Path) -> bool:
    """Return whether a folder still holds the files that `unpack` wrote, by their number and bytes."""
    record = folder / UNPACKED
    return record.exists() and read_json(record) == _present(folder)


def unpack(archive: Path, folders: Mapping[str, Path]) -> dict[str, int]:
    """Unpack the *.tfrecord members of a .tar.gz, each whole or not at all; return how many files each folder gained.

    A file that equals its member is kept, and any other file of that name is replaced, so a killed call resumes when it
    is made again. The archive stays.

    Args:
        archive: the .tar.gz; its members lie in folders, at any depth.
        folders: where the files of each folder of the archive go; members of other folders are skipped.

    Raises:
        StageError: the archive is damaged or cut short, holds links or unsafe names, or has no members for a folder;
            the file system ignores case; the disk is full; another process is at work on a folder.
    """
    new, seen = dict.fromkeys(folders, 0), {name: set[str]() for name in folders}
    with contextlib.ExitStack() as stack:
        for folder in folders.values():
            stack.enter_context(locked(folder))
            folder.mkdir(parents=True, exist_ok=True)
            for leftover in folder.glob(".*.part"):
                leftover.unlink()
            _check_case(folder)
            (folder / UNPACKED).unlink(missing_ok=True)
        for place, name, data in _members(archive, folders):
            if name in seen[place]:
                raise StageError(f"{archive} is not AudioSet's: it has {place}/{name} twice")
            seen[place].add(name)
            new[place] += _put(folders[place] / name, data)
        if missing := [name for name, names in seen.items() if not names]:
            raise StageError(f"{archive} is not AudioSet's: it has no *.tfrecord in {', '.join(missing)}")
        os.sync()  # once for thousands of small files, before it is said that they are there
        for folder in folders.values():
            write_json(folder / UNPACKED, _present(folder))
    return new


# --------------------------------------------------------------------------------------------------- out of the archive


def _members(archive: Path, folders: Mapping[str, Path]) -> Iterator[tuple[str, str, bytes]]:
    """Yield folder, name and bytes of each wanted member in the archive's order, with a bar over its bytes."""
    size = archive.stat().st_size
    with (
        archive.open("rb") as file,
        progress_bar(total=size, desc=f"unpack {archive.name}", unit="B", unit_scale=True) as bar,
        GzipFile(fileobj=file) as unzipped,
    ):
        try:
            # Read as a stream, so that no header can point back to bytes that were read.
            with tarfile.open(fileobj=unzipped, mode="r|", bufsize=1 << 20, tarinfo=_Header) as tar:
                while member := tar.next():
                    place, name = _place(member)
                    if place in folders and name.endswith(".tfrecord") and not is_hidden(member.name):
                        yield place, name, tar.extractfile(member).read()
                    bar.update(file.tell() - bar.n)
            while unzipped.read(1 << 20):  # gzip's checksum follows the tar's end
                pass
        except Refused as error:
            raise StageError(f"{archive} is not AudioSet's: {error}") from error
        except _DAMAGE as error:
            if (kind := kind_of_file(archive)) and kind.format not in ("gzip", "empty"):
                told = f"{archive} is {kind.name}, not AudioSet's archive"
                raise StageError(f"{told}: delete it, and download it again") from error
            raise StageError(f"{archive} is damaged ({error}): delete it, and download it again") from error
        bar.update(size - bar.n)


class _Header(tarfile.TarInfo):
    """A header whose size is plausible; a damaged header is an error, not the archive's end."""

    @classmethod
    def frombuf(cls, buf: bytes, encoding: str, errors: str) -> tarfile.TarInfo:
        try:
            header = super().frombuf(buf, encoding, errors)
        # tarfile takes these errors for the end of the archive, as it does a block of zeros.
        except (tarfile.EmptyHeaderError, tarfile.TruncatedHeaderError, tarfile.InvalidHeaderError) as error:
            raise tarfile.ReadError(f"it is cut short: {error}") from error
        _check_size(header)
        return header


def _place(member: tarfile.TarInfo) -> tuple[str, str]:
    """Return a member's folder and name, both empty if it is a folder; raise Refused for links and unsafe names."""
    if member.isdir():
        return "", ""
    if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
        raise Refused(f"its member {member.name!r} is neither a plain file nor a folder")
    _check_size(member)  # extended headers may have changed it
    parts = safe_name(member.name.removeprefix("./")).split("/")
    return (parts[-2], parts[-1]) if len(parts) > 1 else ("", "")


def _check_size(member: tarfile.TarInfo) -> None:
    if not 0 <= member.size <= _LARGEST:
        raise Refused(f"its member {member.name!r} has {member.size} bytes, and none may have more than {_LARGEST}")


# ----------------------------------------------------------------------------------------------------------- into place


def _put(path: Path, data: bytes) -> bool:
    """Write a file unless it is there already; return whether it was written."""
    temporary = path.with_name(f".{path.name}.part")
    try:
        with contextlib.suppress(FileNotFoundError):
            status = path.lstat()
            if not stat.S_ISREG(status.st_mode):
                raise StageError(f"{path} is not a file, but a file of this name is to be written: move it away")
            if status.st_size == len(data) and path.read_bytes() == data:
                return False
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StageError(f"{path} cannot be written: {error.strerror}; the same command goes on from here") from error
    return True


def _check_case(folder: Path) -> None:
    """Raise StageError if the file system ignores case: names of AudioSet's files differ by case alone."""
    small = folder / ".case.part"
    small.touch()
    alike = (folder / ".CASE.part").exists()
    small.unlink()
    if alike:
        raise StageError(
            f"{folder}: this file system takes `a` for `A`, and some names of AudioSet's files differ by case alone; "
            "choose a --data-dir on another one"
        )


def _present(folder: Path) -> dict[str, Any]:
    sizes = [path.lstat().st_size for path in visible(folder, "*.tfrecord")]
    return {"files": len(sizes), "bytes": sum(sizes)}
