"""Files of many kinds: each is known by its content whatever its name, and its remedy fits it."""

import gzip
import io
import json
import pickle
import struct
import tarfile
import zipfile

import h5py
import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.inputs.records import tfrecord
from pipeline.inputs.records.file_kinds import kind_of_file, why_not_tfrecords


def written(write) -> bytes:
    file = io.BytesIO()
    write(file)
    return file.getvalue()


def zipped(*names: str) -> bytes:
    with zipfile.ZipFile(file := io.BytesIO(), "w") as archive:
        for name in names:
            archive.writestr(name, "content")
    return file.getvalue()


def tarred(file) -> None:
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a"))


def hdf5(file) -> None:
    with h5py.File(file, "w") as made:
        made["rgb"] = np.zeros((2, 3))


ARRAY = np.zeros((9, 24), np.uint8)
MP4 = struct.pack(">I", 32) + b"ftypisom" + bytes(50)
CONTENTS = {
    "tfrecord": written(lambda file: tfrecord.write_records(file, [b"a record"])),
    "npy": written(lambda file: np.save(file, ARRAY)),
    "npz": written(lambda file: np.savez(file, rgb=ARRAY)),
    "hdf5": written(hdf5),
    "parquet": written(lambda file: pq.write_table(pa.table({"id": ["a"]}), file)),
    "gzip": gzip.compress(b"content"),
    "tar": written(tarred),
    "pickle": pickle.dumps({"a": 1}),
    "zip": zipped("a.txt"),
    "xlsx": zipped("[Content_Types].xml", "xl/workbook.xml"),
    "bundle": zipped("bundle.json", "weights/0000.bin"),
    "onnx": onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [])).SerializeToString(),
    "keras": zipped("metadata.json", "config.json", "model.weights.h5"),
    "pytorch": zipped("model/data.pkl"),
    "mp4": MP4,
    "matroska": bytes.fromhex("1a45dfa3") + bytes(50),
    "riff": b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(50),
    "mp3": b"ID3\x04" + bytes(50),
    "mpeg": (b"\x47" + bytes(187)) * 4,
    "jpeg": b"\xff\xd8\xff\xe0" + bytes(50),
    "html": b"<!DOCTYPE html>\n<html><title>404</title>",
    "xml": b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>",
    "lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
    "json": json.dumps({"features": [1, 2]}).encode(),
    "csv": b"id,label\nv1,2\n",
    "text": "Übung macht\nden Meister\n".encode(),
    "empty": b"",
}


@pytest.mark.parametrize("format", CONTENTS)
def test_the_content_tells_what_a_file_is_and_not_its_name(tmp_path, format):
    path = tmp_path / "a.tfrecord"
    path.write_bytes(CONTENTS[format])
    kind = kind_of_file(path)
    assert kind and kind.format == format
    said = kind.is_not("a bundle", "do this")
    assert said.startswith(f"the file is {kind.name}, not a bundle; ") and "copy" not in said.replace("not copied", "")
    assert (why_not_tfrecords(path) is None) == (format == "tfrecord")


@pytest.mark.parametrize(
    ("format", "remedy"),
    [
        ("html", "download the file again"),
        ("lfs", "git lfs pull"),
        ("gzip", "gunzip"),
        ("tar", "tar -xf"),
        ("zip", "unpack it"),
        ("mp4", "python -m pipeline.extract makes features of it"),
        ("jpeg", "extract its features"),
        ("xlsx", "CSV"),
        ("bundle", "--run"),
        ("onnx", "`export --onnx` made as --run"),
        ("parquet", "as TFRecords"),
    ],
)
def test_the_remedy_is_that_of_the_kind(tmp_path, format, remedy):
    (tmp_path / "a").write_bytes(CONTENTS[format])
    assert remedy in why_not_tfrecords(tmp_path / "a")


def test_folders_and_what_is_of_no_known_kind(tmp_path):
    assert kind_of_file(tmp_path).format == "folder"
    (tmp_path / "a").write_bytes(bytes(range(1, 200)))
    assert kind_of_file(tmp_path / "a") is None and why_not_tfrecords(tmp_path / "a") is None
    (tmp_path / "a").write_bytes(CONTENTS["npz"][:60])
    assert kind_of_file(tmp_path / "a").format == "zip" and "damaged" in kind_of_file(tmp_path / "a").name


def test_text_that_begins_with_a_mark_of_letters_is_text(tmp_path):
    for text in ("ID3abc,1 0.5 2 0.4\n", "BZh\n", "the free text\n", "x" * 1023 + "é" + "x" * 9):
        (tmp_path / "a").write_text(text, encoding="utf-8")
        assert kind_of_file(tmp_path / "a").format in ("csv", "text"), text


@pytest.mark.parametrize("length", [0x8B1F, 0x8B1F + (1 << 16), 0x0280, 0xD8FF])
def test_a_record_whose_length_looks_like_the_mark_of_another_kind_is_read(tmp_path, length):
    """1F 8B, the mark of gzip, is the length of 35,615 bytes."""
    path = tmp_path / "a.tfrecord"
    with path.open("wb") as file:
        tfrecord.write_records(file, [bytes(length)])
    assert kind_of_file(path).format == "tfrecord"
    assert [(len(record.payload), record.fault) for record in tfrecord.scan_records(path)] == [(length, None)]
