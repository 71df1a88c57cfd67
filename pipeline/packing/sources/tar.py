"""Features in WebDataset's tars: an .npy a video, among members of other kinds."""

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pipeline.artifacts.files import read_at
from pipeline.artifacts.hidden import is_hidden
from pipeline.artifacts.npz import ArrayHeader
from pipeline.packing.sources.npy import opened, read_bytes, read_head
from pipeline.packing.sources.source import ANEW, FAULTS, Found, VideoFile
from pipeline.packing.sources.stacked import Contents

_BLOCK = 512
_LONGEST_HEADER = 1 << 20
"""Bytes of a member's long name and other attributes, at most."""
_SUFFIX = ".npy"


class TarFile(VideoFile):
    """Members of a tar, each the .npy of a video."""

    def __init__(self, path: Path, names: list[str], begins: list[int], headers: list[ArrayHeader]):
        super().__init__(path)
        self._names, self._begins, self._headers = names, np.array(begins, np.int64), headers

    def where(self, entry: int) -> str:
        return f"{self.path}, member {self._names[entry]}"

    def read(self, entry: int) -> np.ndarray:
        if self._opened is None:
            self._opened = self.path.open("rb", buffering=0)
        header, begin = self._headers[entry], int(self._begins[entry])
        size = header.end - header.begin
        return header.arrange(read_bytes(self._opened.fileno(), size, begin + header.begin, self.where(entry)))


def open_tar(path: Path, feature: str) -> Contents:
    """Return the videos of a tar: KEY.<feature>.npy, or KEY.npy if no member is named so; the key is the id.

    Its headers are read once; members are read where they lie.
    """
    faults: list[tuple[str, str]] = []
    members = [member for member in _members(path, faults) if not is_hidden(member.name)]
    tail = f".{feature}{_SUFFIX}"
    if not any(member.name.endswith(tail) for member in members):
        tail = _SUFFIX
    members = [member for member in members if member.name.endswith(tail)]
    file = TarFile(path, [], [], [])
    names: list[str] = []
    begins: list[int] = []
    headers: list[ArrayHeader] = []
    with opened(path) as descriptor:
        for member in members:
            where = f"{path}, member {member.name}"
            if not member.isreg() or member.issparse():
                faults.append((where, "it is a link, or no plain file: put the array itself into the tar"))
                continue
            try:
                header = read_head(descriptor, member.offset_data, member.size)
            except ValueError as error:
                faults.append((where, f"the array {error}; {ANEW}"))
                continue
            names.append(member.name)
            begins.append(member.offset_data)
            headers.append(header)
    file = TarFile(path, names, begins, headers)
    ids = [name[: -len(tail)].removeprefix("./") for name in names]
    found = Found.of(file, [(id, header.shape, header.dtype) for id, header in zip(ids, headers)])
    found.faults.extend(faults)
    if not found.ids and not found.faults:
        found.faults.append((str(path), f"no member is named KEY{_SUFFIX} or KEY.{feature}{_SUFFIX}: name them so"))
    return Contents(found, named=tail != _SUFFIX)


class _HeadersOnly(io.FileIO):
    """A tar as it is searched: a header that wants more than headers have, or less than nothing, is refused."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= _LONGEST_HEADER:
            raise tarfile.ReadError(f"a header is to have {size:,} bytes")
        return super().read(size)


def _members(path: Path, faults: list[tuple[str, str]]) -> Iterator[tarfile.TarInfo]:
    """Yield the members that lie whole in a tar, and note how it is damaged."""
    size, reached = path.stat().st_size, -1
    try:
        with _HeadersOnly(path) as file, tarfile.open(fileobj=file, mode="r:") as tar:
            while member := tar.next():
                tar.members.clear()  # type: ignore[attr-defined]  # it keeps all of them
                if member.offset <= reached or member.size < 0 or member.offset_data + member.size > size:
                    faults.append((f"{path}, member {member.name}", f"it does not lie in the tar as a whole; {ANEW}"))
                    return
                reached = member.offset
                yield member
            end = tar.offset
        with opened(path) as descriptor:
            if read_at(descriptor, _BLOCK, end) != bytes(_BLOCK):
                faults.append((str(path), f"it has no end mark, so that the last videos may be missing; {ANEW}"))
    except FAULTS as error:
        faults.append((str(path), f"it is damaged after byte {max(reached, 0):,} ({str(error)[:100]}); {ANEW}"))
