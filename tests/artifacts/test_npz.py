"""Arrays from anybody: read as NumPy reads them, and refused before anything is laid out for them."""

import io
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from pipeline.artifacts.npz import open_npz

GOOD = {
    "floats": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "fortran": np.asfortranarray(np.arange(12, dtype=np.uint8).reshape(3, 4)),
    "text": np.array(["é", "漢字", ""]),
    "scalar": np.array(7, np.int64),
    "none": np.zeros((0, 5), np.float64),
    "big endian": np.arange(3, dtype=">i4"),
}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_are_those_that_numpy_reads(tmp_path, save):
    save(tmp_path / "a.npz", **GOOD)
    with open_npz(tmp_path / "a.npz") as arrays:
        assert arrays.names == list(GOOD)
        for name, values in GOOD.items():
            assert arrays.header(name).shape == values.shape
            np.testing.assert_array_equal(arrays.read(name), values)
            assert arrays.read(name).dtype == values.dtype


def npy(header: str, data: bytes = b"", version: int = 1, length: int | None = None) -> bytes:
    """An array's member with a header of one's own."""
    text = header.encode()
    prefix = struct.pack("<H" if version == 1 else "<I", len(text) if length is None else length)
    return b"\x93NUMPY" + bytes([version, 0]) + prefix + text + data


def declared(dtype: str = "<f4", shape: str = "(2,)", data: bytes = b"\0" * 8) -> bytes:
    return npy(f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape}, }}", data)


def pickled() -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([{}], object), allow_pickle=True)
    return file.getvalue()


HOSTILE = {
    "huge shape": declared(shape="(4611686018427387904,)"),
    "huge product": declared(shape="(1048576, 1048576, 1048576)"),
    "huge integer": declared(shape=f"({10**400},)"),
    "negative": declared(shape="(-2,)"),
    "two negatives": declared(shape="(-1, -2)"),
    "float shape": declared(shape="(2.0,)"),
    "objects": pickled(),
    "structured": declared([("a", "<f4")]),
    "nothing a value": declared("<U0", "(4611686018427387904,)", b""),
    "void": declared("|V8", "(1,)"),
    "dates": declared("<M8[s]", "(1,)"),
    "too much data": declared(data=b"\0" * 9),
    "too little data": declared(data=b"\0" * 7),
    "deep header": npy("(" * 9000),
    "code": npy("__import__('os').system('true')"),
    "long header": npy("{}", b" " * 100, 2, 1 << 30),
    "version 3": npy("{}", version=3),
    "no array": b"<html>",
    "empty": b"",
}


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("member", HOSTILE.values(), ids=HOSTILE)
def test_what_an_array_asks_for_is_refused_by_name(tmp_path, member, compression):
    with zipfile.ZipFile(tmp_path / "a.npz", "w", compression) as archive:
        archive.writestr("frames.npy", member)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="frames") as error, open_npz(tmp_path / "a.npz") as arrays:
            arrays.read("frames")
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
    assert len(str(error.value)) < 300


def with_sizes(path: Path, size: int) -> None:
    """Have the directory of a zip say that the only member has so many bytes when it is inflated."""
    content = bytearray(path.read_bytes())
    struct.pack_into("<I", content, content.rindex(b"PK\x01\x02") + 24, size)
    path.write_bytes(content)


def test_a_bomb_is_not_inflated(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.artifacts.npz._MOST_INFLATED", 1 << 20)
    np.savez_compressed(tmp_path / "a.npz", frames=np.zeros(2 << 20, np.uint8))
    remedy = r"are to become 2,097,280; compressed arrays may have .*numpy\.savez"
    with pytest.raises(ValueError, match=remedy), open_npz(tmp_path / "a.npz"):
        pass


def test_a_size_that_is_not_true_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", frames=np.zeros(10, np.uint8))
    with_sizes(tmp_path / "a.npz", 1 << 30)
    with pytest.raises(ValueError, match="more bytes than the file"), open_npz(tmp_path / "a.npz"):
        pass
    np.savez_compressed(tmp_path / "b.npz", frames=np.zeros(10_000, np.uint8))
    with_sizes(tmp_path / "b.npz", 1 << 30)
    with pytest.raises(ValueError, match="frames"), open_npz(tmp_path / "b.npz") as arrays:
        arrays.read("frames")


@pytest.mark.parametrize("content", [b"", b"PK", b"<html>", pickled()])
def test_what_is_no_npz_at_all(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"no \.npz file"), open_npz(tmp_path / "a.npz"):
        pass


def test_a_flipped_bit_is_found(tmp_path):
    np.savez(tmp_path / "a.npz", frames=np.zeros(1000, np.uint8))
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[600] ^= 1
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(ValueError, match="damaged"), open_npz(tmp_path / "a.npz") as arrays:
        arrays.read("frames")
