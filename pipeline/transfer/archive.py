"""AudioSet's features: where their archive is, and how its members get into place.

A gzip stream cannot be entered in its middle, and tells of a wrong byte only at its end. So the archive is brought
whole first, like any other file: a transfer that breaks goes on where it was, and the checksum is known before a member
is written. That takes 2.4 GB of disk for a while; unpacking it as it arrives would begin anew whenever it is stopped.
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
"""Label, machine's identifier, name."""
FOLDERS = {"train": "bal_train", "eval": "eval", "unbalanced": "unbal_train"}
"""Split -> its folder in the archive; the last has 2 million clips."""

UNPACKED = "unpacked.json"
"""In a folder whose members are all there: how many they are, and their bytes."""
_LARGEST = 64 << 20
"""Bytes of a member; AudioSet's have about a hundredth of that."""
_DAMAGE = (tarfile.TarError, BadGzipFile, EOFError, zlib.error, ValueError, OverflowError, RecursionError)


def is_unpacked(folder: Path) -> bool:
    """Whether a folder still holds all that `unpack` put there, by number and bytes."""
    record = folder / UNPACKED
    return record.exists() and read_json(record) == _present(folder)


def unpack(archive: Path, folders: Mapping[str, Path]) -> dict[str, int]:
    """Put the *.tfrecord members of a .tar.gz into place, each whole or not at all; how many were not there before.

    A file with its member's bytes is left alone, one with others is replaced: a killed unpacking goes on when it is
    called again. The archive stays.

    Args:
        archive: its members lie in folders, at any depth.
        folders: name of a folder in the archive -> where its files go; members of other folders are skipped.

    Raises:
        StageError: the archive is damaged or cut short, holds links or names that lead elsewhere, or nothing for a
            folder; a file system takes `a` for `A`; the disk is full; another process is at work on a folder.
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
    """Folder, name and bytes of each member that is asked for, in their order; one bar over the archive's bytes."""
    size = archive.stat().st_size
    with (
        archive.open("rb") as file,
        progress_bar(total=size, desc=f"unpack {archive.name}", unit="B", unit_scale=True) as bar,
        GzipFile(fileobj=file) as unzipped,
    ):
        try:
            # As a stream, so that no header leads back to what has been read.
            with tarfile.open(fileobj=unzipped, mode="r|", bufsize=1 << 20, tarinfo=_Header) as tar:
                while member := tar.next():
                    place, name = _place(member)
                    if place in folders and name.endswith(".tfrecord") and not is_hidden(member.name):
                        yield place, name, tar.extractfile(member).read()
                    bar.update(file.tell() - bar.n)
            while unzipped.read(1 << 20):  # gzip's checksum is behind the end
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
    """A header of a size that can be, and never the end where the archive has none."""

    @classmethod
    def frombuf(cls, buf: bytes, encoding: str, errors: str) -> tarfile.TarInfo:
        try:
            header = super().frombuf(buf, encoding, errors)
        # For tarfile these are the end, as a block of zeros is.
        except (tarfile.EmptyHeaderError, tarfile.TruncatedHeaderError, tarfile.InvalidHeaderError) as error:
            raise tarfile.ReadError(f"it has no end, but: {error}") from error
        _check_size(header)
        return header


def _place(member: tarfile.TarInfo) -> tuple[str, str]:
    """The folder of a member and its own name, both empty for what is no file; raises Refused."""
    if member.isdir():
        return "", ""
    if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
        raise Refused(f"its member {member.name!r} is neither a plain file nor a folder")
    _check_size(member)  # which extended headers may have changed
    parts = safe_name(member.name.removeprefix("./")).split("/")
    return (parts[-2], parts[-1]) if len(parts) > 1 else ("", "")


def _check_size(member: tarfile.TarInfo) -> None:
    if not 0 <= member.size <= _LARGEST:
        raise Refused(f"its member {member.name!r} has {member.size} bytes, and none may have more than {_LARGEST}")


# ----------------------------------------------------------------------------------------------------------- into place


def _put(path: Path, data: bytes) -> bool:
    """Whether it had to be written."""
    temporary = path.with_name(f".{path.name}.part")
    try:
        with contextlib.suppress(FileNotFoundError):
            status = path.lstat()
            if not stat.S_ISREG(status.st_mode):
                raise StageError(f"{path} is no file, and in the way of one: move it")
            if status.st_size == len(data) and path.read_bytes() == data:
                return False
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StageError(f"{path} cannot be written: {error.strerror}; the same command goes on from here") from error
    return True


def _check_case(folder: Path) -> None:
    """Names of AudioSet's files differ by case alone: where that counts for nothing, half of them would be lost."""
    small = folder / ".case.part"
    small.touch()
    alike = (folder / ".CASE.part").exists()
    small.unlink()
    if alike:
        raise StageError(
            f"{folder}: this file system takes `a` for `A`, and names of AudioSet's files differ by that alone; "
            "choose a --data-dir elsewhere"
        )


def _present(folder: Path) -> dict[str, Any]:
    sizes = [path.lstat().st_size for path in visible(folder, "*.tfrecord")]
    return {"files": len(sizes), "bytes": sum(sizes)}
