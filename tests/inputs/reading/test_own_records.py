"""TFRecords of one's own: what is read from them, and that every fault is named without losing the rest."""

from dataclasses import replace

import numpy as np
from fixtures.support import SMALL, frames_of, write_shard

from pipeline.config import DatasetConfig, FeatureConfig
from pipeline.inputs.reading.own_records import UnreadableVideo, Video, read_records
from pipeline.inputs.records import encoding, tfrecord

FLOATS = DatasetConfig("floats", (FeatureConfig("x", 3, "float32"),), num_classes=5, max_frames=4)


def write(path, *payloads):
    with path.open("wb") as file:
        tfrecord.write_records(file, payloads)
    return path


def record(context, **features):
    return encoding.encode_sequence_example(context, features)


def good(video: int, **context):
    return record(context, rgb=frames_of(video)[:, :6], audio=frames_of(video)[:, 6:])


def test_records_as_the_dataset_declares_them(tmp_path):
    write_shard(tmp_path / "a.tfrecord", range(20))
    videos = list(read_records(tmp_path / "a.tfrecord", SMALL))
    assert [video.id for video in videos] == [f"v{number:03d}" for number in range(20)]
    assert videos[0].entry == "record 0 at byte 12"
    for number, video in enumerate(videos):
        np.testing.assert_array_equal(video.frames, frames_of(number))


def test_neither_labels_nor_ids_are_needed(tmp_path):
    path = write(
        tmp_path / "a.tfrecord",
        good(0, id="ключ 🐈"),
        good(1),
        good(2, id="\x1b[2J"),
        good(3, id="v", labels=np.array([99])),
    )
    assert [video.id for video in read_records(path, SMALL)] == ["ключ 🐈", "a.tfrecord:1", "a.tfrecord:2", "v"]


def test_bad_records_are_named_and_the_rest_is_read(tmp_path):
    rgb, audio = frames_of(4)[:, :6], frames_of(4)[:, 6:]
    path = write(
        tmp_path / "a.tfrecord",
        good(0, id="first"),
        record({}, rgb=rgb[:, :5], audio=audio),
        record({}, rgb=rgb),
        record({}, rgb=rgb.astype(np.float32), audio=audio),
        b"nothing of the kind",
        good(5, id="last"),
    )
    content = bytearray(path.read_bytes())
    found = list(read_records(path, SMALL))
    assert [type(each) for each in found] == [
        Video,
        UnreadableVideo,
        UnreadableVideo,
        UnreadableVideo,
        UnreadableVideo,
        Video,
    ]
    messages = [str(each) for each in found[1:5]]
    for number, message in enumerate(messages, 1):
        assert f"{path}, record {number} at byte " in message
    assert "has 5 bytes, 6 are declared; the model needs, for each frame: rgb, 6 uint8, audio, 2 uint8" in messages[0]
    assert "no frame feature under the key audio" in messages[1]
    assert "quantize them as the training features were" in messages[2]
    content[20] ^= 1
    path.write_bytes(content)
    first, *others = read_records(path, SMALL)
    assert "checksum of the record is wrong" in str(first) and others[-1].id == "last"


def test_floats_that_are_not_finite_or_were_quantized(tmp_path):
    path = write(
        tmp_path / "a",
        record({"id": "a"}, x=np.ones((2, 3), np.float32)),
        record({}, x=np.full((2, 3), np.nan, np.float32)),
        record({}, x=np.ones((2, 3), np.uint8)),
    )
    video, nan, quantized = read_records(path, FLOATS)
    assert video.frames.dtype == np.float32
    assert "not finite" in str(nan) and "before they were quantized" in str(quantized)


def test_halves(tmp_path):
    halves = replace(FLOATS, features=(FeatureConfig("x", 3, "float16"),))
    path = write(
        tmp_path / "b",
        record({}, x=np.ones((2, 3), np.float16)),
        record({}, x=np.full((2, 3), np.inf, np.float16)),
        record({}, x=np.ones((2, 3), np.float32)),
    )
    video, infinite, floats = read_records(path, halves)
    assert video.frames.dtype == np.float16 and "not finite" in str(infinite)
    assert "is a float_list where bytes are declared; the model needs, for each frame: x, 3 float16" in str(floats)


def test_the_remedy_for_floats_names_each_range(tmp_path):
    features = (FeatureConfig("rgb", 6, minimum=0, maximum=1.5), FeatureConfig("audio", 2))
    path = write(tmp_path / "a", record({}, rgb=np.ones((2, 6), np.float32), audio=np.ones((2, 2), np.float32)))
    (fault,) = read_records(path, replace(SMALL, features=features))
    assert str(fault).endswith(
        "quantize them as the training features were, with pipeline.inputs.records.quantized: "
        "rgb by quantize(v, 0, 1.5), audio by quantize(v, -2, 2)"
    )
