"""NumPy's files from anybody: headers that lie, pickles, zips that are damaged; nothing of them is loaded."""

import os
import pickle
import re
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from fixtures.feature_files import Rows, npy_bytes

from pipeline.artifacts import npz
from pipeline.config.errors import StageError
from pipeline.packing.sources.opening import open_features
from pipeline.packing.sources.source import UnreadableFeature

GOOD = np.arange(12, dtype=np.float32).reshape(4, 3)


def open_all(folder: Path, rows: Rows | None = None):
    return open_features("rgb", str(folder), rows, None, 1)


class Trap:
    """A pickle that leaves a file where it is loaded."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def declared(descr: object, shape: str, data: bytes = b"", version: int = 1, length: int | None = None) -> bytes:
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    size = struct.pack("<H" if version == 1 else "<I", len(text) if length is None else length)
    return b"\x93NUMPY" + bytes([version, 0]) + size + text + data


HOSTILE = {
    "huge": (declared("<f4", f"({1 << 60}, 8)", bytes(96)), "has 96 bytes"),
    "endless": (declared("<f4", f"({10**400}, 8)"), "has 0 bytes"),
    "negative": (declared("<f4", "(-2, 3)"), "is to be float32"),
    "both negative": (declared("<f4", "(-2, -2)", bytes(16)), "is to be float32"),
    "true": (declared("<f4", "(True, 2)", bytes(8)), "is to be float32"),
    "float": (declared("<f4", "(2.0, 3)", bytes(24)), "no valid header"),
    "code": (declared("<f4", "__import__('os').abort()"), "no valid header"),
    "deep": (declared("<f4", "(" * 5000), "no valid header"),
    "long header": (declared("<f4", "(2, 3)", version=2, length=1 << 30), "header of 1,073,741,824 bytes"),
    "cut header": (npy_bytes(GOOD)[:40], "no valid header"),
    "only the mark": (b"\x93NUMPY", "format 1 or 2"),
    "version 9": (b"\x93NUMPY\x09\x00" + bytes(100), "format 1 or 2"),
    "truncated": (npy_bytes(GOOD)[:-1], "has 47 bytes"),
    "longer": (npy_bytes(GOOD) * 2, "bytes"),
    "scalar": (npy_bytes(np.float32(3)), r"the array is \[\]; a video is"),
    "four dimensions": (npy_bytes(np.ones((1, 2, 3, 4))), r"\[1, 2, 3, 4\]; a video is"),
    "no frames": (npy_bytes(np.ones((0, 3))), "no frames"),
    "no values": (npy_bytes(np.ones((3, 0))), "no values"),
    "nothing": (npy_bytes(np.ones(0)), "no values"),
    "bool": (npy_bytes(np.ones((2, 3), bool)), "bool; they must be integers or floats: convert"),
    "complex": (npy_bytes(np.ones((2, 3), complex)), "complex128; they must be"),
    "text": (npy_bytes(np.array([["a"]])), "<U1; they must be"),
    "dates": (npy_bytes(np.zeros((2, 3), "M8[s]")), "numbers or text"),
    "records": (npy_bytes(np.zeros(2, [("a", "<f4")])), "numbers or text"),
    "void": (npy_bytes(np.zeros((2, 3), "V4")), "numbers or text"),
    "three dimensions by columns": (npy_bytes(np.asfortranarray(np.ones((2, 3, 4)))), "ascontiguousarray"),
}


@pytest.mark.parametrize(("content", "told"), HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("kind", ["npy", "npz"])
def test_an_array_that_cannot_be_read_is_named_with_its_remedy(tmp_path, content, told, kind):
    np.save(tmp_path / "b.npy", GOOD)
    (tmp_path / "a").write_bytes(content)
    if kind == "npz":
        (tmp_path / "a").unlink()
        with zipfile.ZipFile(tmp_path / "a", "w") as archive:
            archive.writestr("rgb.npy", content)
    tracemalloc.start()
    try:
        source = open_all(tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    ((where, reason),) = source.faults
    assert source.ids == ["b"] and where.startswith(str(tmp_path / "a"))
    assert re.search(told, reason) and len(reason) < 400
    assert re.search("again|convert|write|remove", reason)


@pytest.mark.parametrize("save", [np.save, np.savez])
def test_pickles_are_not_loaded(tmp_path, save):
    array = np.array([Trap(tmp_path / "sprung")], object)
    with (tmp_path / "a").open("wb") as file:
        save(file, array, allow_pickle=True)
    with pytest.raises(StageError, match="object; they must be numbers or text"):
        open_all(tmp_path)
    assert not (tmp_path / "sprung").exists()
    pickle.loads(pickle.dumps(array[0]))
    assert (tmp_path / "sprung").exists()  # or the test would show nothing


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.99])
def test_zips_that_are_cut_off(tmp_path, save, part):
    np.save(tmp_path / "b.npy", GOOD)
    save(tmp_path / "a.npz", rgb=np.random.default_rng(0).normal(size=(40, 3)), other=GOOD)
    whole = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(whole[: int(len(whole) * part)])
    ((where, reason),) = open_all(tmp_path).faults
    assert where == str(tmp_path / "a.npz") and re.search("damaged.* again", reason)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_byte_that_is_wrong_is_found_when_the_video_is_read(tmp_path, save):
    save(tmp_path / "a.npz", rgb=np.random.default_rng(0).normal(size=(400, 3)))
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[5000] ^= 1
    (tmp_path / "a.npz").write_bytes(content)
    source = open_all(tmp_path)
    with pytest.raises(UnreadableFeature, match=r"cannot be read .*copy the file again") as error:
        source.read(0)
    assert error.value.where == f"{tmp_path}/a.npz, array rgb"


def test_arrays_of_several_names_need_that_of_the_feature(tmp_path):
    np.savez(tmp_path / "a.npz", audio=np.ones((2, 3)), video=np.ones((2, 4)))
    with pytest.raises(StageError, match=r"no array is named rgb.*ARRAY=PATTERN.*audio \[2, 3\], video \[2, 4\]"):
        open_all(tmp_path)
    np.savez(tmp_path / "a.npz")
    with pytest.raises(StageError, match=r"a zip archive|no array"):
        open_all(tmp_path)


def test_arrays_in_any_order_of_bytes_and_dimensions(tmp_path):
    np.save(tmp_path / "a.npy", GOOD.astype(">f4"))
    np.save(tmp_path / "b.npy", np.asfortranarray(GOOD))
    np.save(tmp_path / "c.npy", GOOD[0])
    (tmp_path / "d.npy").write_bytes(declared("<f4", f"(4, 3){' ' * 900}", GOOD.tobytes(), version=2))
    source = open_all(tmp_path)
    assert source.lengths.tolist() == [4, 4, 1, 4] and source.dtype == np.dtype("f4") and source.dtype.isnative
    for number, expected in enumerate((GOOD, GOOD, GOOD[:1], GOOD)):
        np.testing.assert_array_equal(source.read(number), expected)
        assert source.read(number).dtype == source.dtype


def test_files_that_change_after_they_were_looked_at(tmp_path):
    np.save(tmp_path / "a.npy", GOOD)
    np.save(tmp_path / "s.npy", np.ones((3, 2, 3), np.float32))
    source = open_features("rgb", f"{tmp_path}/a.npy", None, None, 1)
    stack = open_features("rgb", f"{tmp_path}/s.npy", Rows(id=["a", "b", "c"]), None, 1)
    np.save(tmp_path / "a.npy", np.concatenate([GOOD, GOOD]))  # its beginning could be read as before
    os.truncate(tmp_path / "s.npy", 160)
    for each, video in ((source, 0), (stack, 2)):
        with pytest.raises(UnreadableFeature, match="the file has changed"):
            each.read(video)
    (tmp_path / "a.npy").unlink()
    with pytest.raises(UnreadableFeature, match=r"No such file.*again"):
        source.read(0)


@pytest.mark.parametrize("held", [1 << 20, 100])
def test_compressed_stacks_are_held_or_read_in_their_order(tmp_path, monkeypatch, held):
    monkeypatch.setattr("pipeline.packing.sources.npy._HELD", held)
    frames = np.random.default_rng(0).normal(size=(90, 3))
    np.savez_compressed(tmp_path / "a.npz", frames)
    ids = [f"v{row // 9}" for row in range(90)]
    source = open_all(tmp_path, Rows(id=ids))
    for video in (0, 3, 9, 2):
        np.testing.assert_array_equal(source.read(video), frames[video * 9 : video * 9 + 9])
    ids[0], ids[40] = ids[40], ids[0]
    if held == 100:
        with pytest.raises(StageError, match=r"'v4' do not follow each other.*sort the rows"):
            open_all(tmp_path, Rows(id=ids))
    else:
        np.testing.assert_array_equal(open_all(tmp_path, Rows(id=ids)).read(0)[0], frames[0])


def test_equal_headers_are_parsed_once(tmp_path):
    for number in range(20):
        np.save(tmp_path / f"{number}.npy", np.full((5, 7), number, np.float16))
    npz.parse_header.cache_clear()
    open_all(tmp_path)
    assert npz.parse_header.cache_info().misses == 1


@pytest.mark.parametrize("form", ["npy with a table of rows", "npz with a table of rows", "npz with ids"])
def test_several_videos_by_columns_are_no_single_video(form, tmp_path):
    """Columns of several videos hold no video as a whole; to take all of them for one would be wrong in silence."""
    frames, ids = np.asfortranarray(np.arange(12, dtype=np.float32).reshape(6, 2)), list("aabbcc")
    folder = tmp_path / "files"
    folder.mkdir()
    if form.startswith("npy"):
        np.save(folder / "all.npy", frames)
    else:
        np.savez(folder / "all.npz", rgb=frames, **({"ids": np.array(ids)} if "ids" in form else {}))
    with pytest.raises(StageError, match=r"stored by columns.*numpy\.ascontiguousarray"):
        open_all(folder, None if "ids" in form else Rows(id=ids))
    if "ids" not in form:
        assert open_all(folder).ids == ["all"], "without a table it is one video"
