"""Tars from anybody: members of many kinds, links, sizes that lie, and ends that are missing."""

import io
import re
import tarfile
import tracemalloc

import numpy as np
import pytest
from fixtures.feature_files import npy_bytes

from pipeline.config.errors import StageError
from pipeline.packing.sources.opening import open_features

GOOD = np.arange(12, dtype=np.float32).reshape(4, 3)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "00000.tar"


def write(path, members, format=tarfile.PAX_FORMAT):
    with tarfile.open(path, "w", format=format) as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
            else:
                member.type, member.linkname = content
                tar.addfile(member)


def open_one(path, name="rgb"):
    return open_features(name, str(path), None, None, 1)


@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_keys_of_any_length_and_folder(path, format):
    names = ["./x/1", "ü", "a.b", "long/" * 20 + "name" * 10]
    write(path, {f"{name}.npy": npy_bytes(GOOD * number) for number, name in enumerate(names)}, format)
    source = open_one(path)
    assert source.ids == ["x/1", *names[1:]] and source.faults == []
    for number in (3, 0, 1, 2):
        np.testing.assert_array_equal(source.read(number), GOOD * number)


def test_other_members_are_passed_over(path):
    good = npy_bytes(GOOD)
    write(path, {"a.jpg": b"x", "a.rgb.npy": good, "._a.rgb.npy": b"x", "a.audio.npy": b"x", "b.npy": b"x"})
    assert open_one(path).ids == ["a"] and open_one(path).faults == []


HOSTILE = {
    "symbolic link": ((tarfile.SYMTYPE, "/etc/passwd"), "is a link.*put the array"),
    "hard link": ((tarfile.LNKTYPE, "good.npy"), "is a link.*put the array"),
    "device": ((tarfile.CHRTYPE, ""), "no plain file"),
    "folder": ((tarfile.DIRTYPE, ""), "no plain file"),
    "pickle": (npy_bytes(np.array([{}], object)), "object; they must be numbers.*again"),
    "truncated array": (npy_bytes(GOOD)[:-1], "47 bytes; write or copy the file again"),
    "no array": (b"words", "format 1 or 2; write or copy"),
    "empty": (b"", "format 1 or 2; write or copy"),
    "three dimensions": (npy_bytes(np.ones((1, 2, 3))), r"\[1, 2, 3\]; a video is"),
}


@pytest.mark.parametrize(("content", "told"), HOSTILE.values(), ids=HOSTILE)
def test_a_member_that_cannot_be_read_is_named(path, content, told):
    write(path, {"good.npy": npy_bytes(GOOD), "bad.npy": content, "last.npy": npy_bytes(GOOD)})
    source = open_one(path)
    ((where, reason),) = source.faults
    assert source.ids == ["good", "last"] and where.rstrip("/") == f"{path}, member bad.npy"
    assert re.search(told, reason)


def test_a_tar_without_arrays(path):
    write(path, {"a.jpg": b"x"})
    with pytest.raises(StageError, match=r"no member is named KEY\.npy or KEY\.rgb\.npy: name them so"):
        open_one(path)


@pytest.mark.parametrize("cut", [600, 1024, 1536, 1600, 2048, 2500])
def test_a_tar_that_is_cut_off_anywhere(path, cut):
    write(path, {f"{number}.npy": npy_bytes(GOOD) for number in range(3)})
    path.write_bytes(path.read_bytes()[:cut])
    faults = open_one(path).faults if cut >= 1024 else []
    if cut < 1024:
        with pytest.raises(StageError, match="write or copy the file again"):
            open_one(path)
    assert all(where.startswith(str(path)) and "write or copy the file again" in reason for where, reason in faults)
    assert faults or cut < 1024


def with_field(path, offset: int, value: bytes, member: int = 0) -> None:
    """Change a field of a header, and its checksum."""
    content = bytearray(path.read_bytes())
    header = content[member : member + 512]
    header[offset : offset + len(value)] = value
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    content[member : member + 512] = header
    path.write_bytes(content)


@pytest.mark.parametrize(
    "size",
    [b"\x80" + (1 << 60).to_bytes(11, "big"), b"\xff" * 10 + b"\xfe\x00", b"77777777777\0", b"\xff" * 12],
    ids=["huge", "minus 512", "octal", "minus 1"],
)
@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE])
def test_sizes_that_lie_end_the_search(path, size, kind):
    write(path, {"a.npy": npy_bytes(GOOD), "b.npy": npy_bytes(GOOD)}, tarfile.GNU_FORMAT)
    with_field(path, 124, size, 1024)
    with_field(path, 156, kind, 1024)
    tracemalloc.start()
    try:
        source = open_one(path)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
    assert source.ids == ["a"] and all("again" in reason for _, reason in source.faults) and source.faults
