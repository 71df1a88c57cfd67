"""HDF5 from anybody: where datasets may lie, and links, storage and types that are not followed or read."""

import re

import h5py
import numpy as np
import pytest
from fixtures.feature_files import Rows

from pipeline.config.errors import StageError
from pipeline.packing.sources.opening import open_features
from pipeline.packing.sources.source import UnreadableFeature

GOOD = np.arange(12, dtype=np.float32).reshape(4, 3)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.h5"


def open_one(path, name="rgb", rows=None):
    return open_features(name, str(path), rows, None, 1)


def test_groups_in_groups(path):
    with h5py.File(path, "w") as file:
        for name in ("train/x/1", "train/x/2", "test/1"):
            file[name] = GOOD
    assert open_one(path).ids == ["test/1", "train/x/1", "train/x/2"]
    assert open_one(path, "train").ids == ["x/1", "x/2"]
    assert open_one(path, "2").ids == ["train/x"]


def test_a_dataset_named_like_the_feature_is_the_files_video(path):
    with h5py.File(path, "w") as file:
        file["rgb"], file["audio"] = GOOD, GOOD[:, :2]
    assert open_one(path).ids == ["a"] and open_one(path).size == 3
    assert open_one(path, "audio").size == 2
    with h5py.File(path, "w") as file:
        file["clip 7"] = GOOD
    assert open_one(path).ids == ["clip 7"]


def vlen(file):
    file.create_dataset("bad", (2,), h5py.vlen_dtype(np.float32))


def external_link(file):
    file["bad"] = h5py.ExternalLink("b.h5", "/x")


def external_group(file):
    file["bad"] = h5py.ExternalLink("b.h5", "/")


def soft_link_through_an_external_one(file):
    file["sub/way"] = h5py.ExternalLink("b.h5", "/")
    del file["sub/way"]
    file["way"] = h5py.ExternalLink("b.h5", "/")
    file["bad"] = h5py.SoftLink("/way/x")


def dangling(file):
    file["bad"] = h5py.SoftLink("/nothing")


def circle_of_soft_links(file):
    file["bad"], file["bae"] = h5py.SoftLink("/bae"), h5py.SoftLink("/bad")


def endless_soft_links(file):
    """Each leads to the next one twice."""
    file.create_group("g")
    for number in range(30):
        file[f"g/{number}"] = h5py.SoftLink(f"/g/{number + 1}/../{number + 1}" if number < 29 else "/g")
    file["bad"] = h5py.SoftLink("/g/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0")


def external_storage(file):
    file.create_dataset("bad", (4, 3), "<f4", external=[("secret.bin", 0, h5py.h5f.UNLIMITED)])


def virtual(file):
    layout = h5py.VirtualLayout((4, 3), "<f4")
    layout[:] = h5py.VirtualSource("b.h5", "x", (4, 3))
    file.create_virtual_dataset("bad", layout)


def virtual_inside(file):
    layout = h5py.VirtualLayout((4, 3), "<f4")
    layout[:] = h5py.VirtualSource(".", "good", (4, 3))
    file.create_virtual_dataset("bad", layout)


def never_written(file):
    file.create_dataset("bad", (1 << 40, 3), "<f4", chunks=(1024, 3))


def deep(file):
    file["/".join(["bad"] * 40)] = GOOD


HOSTILE = {
    "variable length": (vlen, "object; they must be integers or floats"),
    "external link": (external_link, "leads out of the file"),
    "external group": (external_group, "leads out of the file"),
    "soft link through an external one": (soft_link_through_an_external_one, "leads out of the file"),
    "dangling soft link": (dangling, "leads nowhere"),
    "circle of soft links": (circle_of_soft_links, "without an end: remove"),
    "endless soft links": (endless_soft_links, "without an end: remove|leads nowhere"),
    "external storage": (external_storage, "other files or datasets"),
    "virtual dataset": (virtual, "other files or datasets"),
    "virtual dataset of the same file": (virtual_inside, "other files or datasets"),
    "never written": (never_written, "13,194,139,533,312 bytes, and 0 are stored"),
    "deep": (deep, "more than 32 groups"),
    "text": (lambda file: file.create_dataset("bad", data="words"), "object; they must be"),
    "bool": (lambda file: file.create_dataset("bad", data=[[True]]), "bool; they must be"),
    "complex": (lambda file: file.create_dataset("bad", data=[[1j]]), "complex128; they must be"),
    "records": (lambda file: file.create_dataset("bad", (2,), [("a", "<f4")]), "they must be"),
    "empty": (lambda file: file.create_dataset("bad", data=h5py.Empty("f")), "no shape"),
    "scalar": (lambda file: file.create_dataset("bad", data=3.0), r"\[\]; a video is"),
    "no frames": (lambda file: file.create_dataset("bad", (0, 3), "<f4"), "no frames"),
    "no values": (lambda file: file.create_dataset("bad", (3, 0), "<f4"), "no values"),
    "four dimensions": (lambda file: file.create_dataset("bad", data=np.ones((1, 2, 3, 4))), r"a video is"),
    "huge chunks": (
        lambda file: file.create_dataset("bad", (5, 3), "<f4", maxshape=(None, 3), chunks=(100_000_000, 3)),
        "a chunk of it has 1,200,000,000 bytes",
    ),
    "an opaque type": (lambda file: file.create_dataset("bad", data=np.zeros((2, 3), "V4")), "they must be"),
}


@pytest.mark.parametrize(("add", "told"), HOSTILE.values(), ids=HOSTILE)
def test_what_is_not_read_is_named_with_its_remedy(path, add, told):
    with h5py.File(path.with_name("b.h5"), "w") as other:
        other["x"] = GOOD
    path.with_name("secret.bin").write_bytes(GOOD.tobytes())
    with h5py.File(path, "w") as file:
        file["good"] = GOOD
        file["good 2"] = h5py.SoftLink("/good")
        add(file)
    source = open_one(path)
    assert source.ids[:2] == ["good", "good 2"] and "bad" not in source.ids and len(source.ids) < 40
    np.testing.assert_array_equal(source.read(1), GOOD)
    reasons = [reason for where, reason in source.faults if where.startswith(f"{path}, ") and "bad" in where]
    assert reasons and all(re.search(told, reason) for reason in reasons)
    assert all(re.search("again|convert|write|remove|put|mend", reason) for reason in reasons)


def test_groups_that_are_linked_in_a_circle_or_a_million_times(path):
    with h5py.File(path, "w") as file:
        file["a/good"] = GOOD
        file["a/again"] = file["/"]
        for depth in range(25):
            group = file.require_group("/" + "/".join(["x"] * (depth + 1)))
            group["y"] = file.require_group("/" + "/".join(["x"] * (depth + 2)))
    assert open_one(path).ids == ["a/good"]


@pytest.mark.parametrize("part", [0.2, 0.6, 0.95])
def test_files_that_are_cut_off(path, part):
    with h5py.File(path, "w") as file:
        for number in range(30):
            file[str(number)] = GOOD
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(StageError, match=rf"{path}: the file cannot be read .*again"):
        open_one(path)


def test_a_chunk_that_is_damaged_is_found_when_it_is_read(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=np.random.default_rng(0).normal(size=(500, 3)), chunks=(500, 3), fletcher32=True)
        offset = file["x"].id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[offset + 100] ^= 1
    path.write_bytes(content)
    source = open_one(path)
    with pytest.raises(UnreadableFeature, match=r"cannot be read .*again") as error:
        source.read(0)
    assert error.value.where == f"{path}, dataset x"


def test_slices_of_a_stack_alone_are_read(path, monkeypatch):
    frames = np.random.default_rng(0).normal(size=(50, 4, 3)).astype(np.float32)
    with h5py.File(path, "w") as file:
        file.create_dataset("frames", data=frames, chunks=(2, 4, 3), compression="gzip")
    ids = [f"v{row // 2}" for row in range(50)]
    source = open_one(path, rows=Rows(id=ids))
    read = []
    whole = h5py.Dataset.__getitem__
    monkeypatch.setattr(h5py.Dataset, "__getitem__", lambda held, key: read.append(key) or whole(held, key))
    np.testing.assert_array_equal(source.read(7), frames[14:16].reshape(8, 3))
    assert read == [slice(14, 16)]
