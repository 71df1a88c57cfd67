"""Files of one's own: what is read from them, and that every fault is named without losing the rest."""

import gzip
import re
from dataclasses import replace

import h5py
import numpy as np
import pytest
from fixtures.support import SMALL, frames_of, write_shard

from pipeline.config import DatasetConfig, FeatureConfig, SamplingConfig
from pipeline.inputs.reading.batches import batches_for_all
from pipeline.inputs.reading.own_files import UnreadableVideo, Video, batch_videos, read_videos, sample_video
from pipeline.inputs.reading.reader import FrameReader
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
    videos = list(read_videos(tmp_path / "a.tfrecord", SMALL))
    assert [video.id for video in videos] == [f"v{number:03d}" for number in range(20)]
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
    assert [video.id for video in read_videos(path, SMALL)] == ["ключ 🐈", "a.tfrecord:1", "a.tfrecord:2", "v"]


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
    found = list(read_videos(path, SMALL))
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
    first, *others = read_videos(path, SMALL)
    assert "checksum of the record is wrong" in str(first) and others[-1].id == "last"


def test_floats_that_are_not_finite_or_were_quantized(tmp_path):
    path = write(
        tmp_path / "a",
        record({"id": "a"}, x=np.ones((2, 3), np.float32)),
        record({}, x=np.full((2, 3), np.nan, np.float32)),
        record({}, x=np.ones((2, 3), np.uint8)),
    )
    video, nan, quantized = read_videos(path, FLOATS)
    assert video.frames.dtype == np.float32
    assert "not finite" in str(nan) and "before they were quantized" in str(quantized)


def test_halves_from_any_floats(tmp_path):
    halves = replace(FLOATS, features=(FeatureConfig("x", 3, "float16"),))
    values = np.array([[0.1, -65504, 65519], [1, 2, 3]])  # 65519 is rounded down to the largest, 65520 is beyond
    for dtype in (np.float64, np.float32, np.float16):
        np.savez(tmp_path / "a.npz", x=values.clip(max=65504).astype(dtype))
        (video,) = read_videos(tmp_path / "a.npz", halves)
        assert video.frames.dtype == np.float16
        np.testing.assert_array_equal(video.frames, values.clip(max=65504).astype(np.float16))
    for wrong, reason in ((65520.0, "beyond 65,504, the largest float16"), (np.nan, "not finite")):
        np.savez(tmp_path / "a.npz", x=np.array([[1, wrong, 0]], np.float32))
        (fault,) = read_videos(tmp_path / "a.npz", halves)
        assert reason in str(fault)
    np.savez(tmp_path / "a.npz", x=np.ones((2, 3), np.uint8))
    (fault,) = read_videos(tmp_path / "a.npz", halves)
    assert "must be floats" in str(fault)
    path = write(
        tmp_path / "b",
        record({}, x=np.ones((2, 3), np.float16)),
        record({}, x=np.full((2, 3), np.inf, np.float16)),
        record({}, x=np.ones((2, 3), np.float32)),
    )
    video, infinite, floats = read_videos(path, halves)
    assert video.frames.dtype == np.float16 and "not finite" in str(infinite)
    assert "is a float_list where bytes are declared; the model needs, for each frame: x, 3 float16" in str(floats)


def test_the_remedy_for_floats_names_each_range(tmp_path):
    features = (FeatureConfig("rgb", 6, minimum=0, maximum=1.5), FeatureConfig("audio", 2))
    np.savez(tmp_path / "a.npz", rgb=np.ones((2, 6)), audio=np.ones((2, 2)))
    (fault,) = read_videos(tmp_path / "a.npz", replace(SMALL, features=features))
    assert str(fault).endswith(
        "quantize them as the training features were, with pipeline.inputs.records.quantized: "
        "rgb by quantize(v, 0, 1.5), audio by quantize(v, -2, 2)"
    )


@pytest.mark.parametrize("content", [None, b"", b"\x1f\x8bxx", b"not a record at all, but text of some length"])
def test_files_that_give_nothing(tmp_path, content):
    path = tmp_path / "a.tfrecord"
    if content is not None:
        path.write_bytes(content)
    (fault,) = read_videos(path, SMALL)
    assert str(path) in str(fault)


def test_one_video_as_arrays_by_feature(tmp_path):
    video = frames_of(3)
    np.savez(tmp_path / "clip.npz", rgb=video[:, :6], audio=video[:, 6:].astype(np.int64), other=np.zeros(3))
    (found,) = read_videos(tmp_path / "clip.npz", SMALL)
    assert found.id == "clip" and found.frames.dtype == np.uint8
    np.testing.assert_array_equal(found.frames, video)


def test_several_videos_as_one_array(tmp_path):
    frames = np.zeros((3, 5, 8), np.uint8)
    for number in range(3):
        frames[number] = number + np.arange(5)[:, None]
    counts, ids = np.array([5, 2, 9]), np.array(["ü", "b", "c"])
    np.savez(tmp_path / "a.npz", frames=frames, num_frames=counts, ids=ids)
    first, second, third = read_videos(tmp_path / "a.npz", SMALL)
    assert (first.id, second.id) == ("ü", "b")
    np.testing.assert_array_equal(second.frames, frames[1, :2])
    assert "video 2: num_frames is 9; it must be from 1 to 5" in str(third)
    np.savez(tmp_path / "a.npz", frames=frames, num_frames=counts)
    assert [each.id for each in read_videos(tmp_path / "a.npz", SMALL) if isinstance(each, Video)] == [
        "a.npz:0",
        "a.npz:1",
    ]


def test_features_may_be_named_as_the_arrays_of_several_videos_are(tmp_path):
    features = (FeatureConfig("frames", 6), FeatureConfig("num_frames", 2))
    dataset = replace(SMALL, features=features)
    video = frames_of(4)
    np.savez(tmp_path / "clip.npz", frames=video[:, :6], num_frames=video[:, 6:])
    (found,) = read_videos(tmp_path / "clip.npz", dataset)
    np.testing.assert_array_equal(found.frames, video)
    np.savez(tmp_path / "clips.npz", frames=video[None], num_frames=np.array([len(video)]))
    (found,) = read_videos(tmp_path / "clips.npz", dataset)
    np.testing.assert_array_equal(found.frames, video)


def test_videos_of_one_vector(tmp_path):
    dataset = replace(FLOATS, level="video")
    np.savez(tmp_path / "a.npz", x=np.array([1.0, 2.0, 3.0]))
    (video,) = read_videos(tmp_path / "a.npz", dataset)
    np.testing.assert_array_equal(video.frames, np.array([[1, 2, 3]], np.float32))
    ((count, inputs),) = batch_videos([video.frames], dataset, [SamplingConfig()], 4)
    assert count == 1 and inputs["frames"].shape == (1, 1, 3)


def test_one_video_as_one_array(tmp_path):
    np.save(tmp_path / "clip.npy", frames_of(3))
    (found,) = read_videos(tmp_path / "clip.npy", SMALL)
    assert found.id == "clip" and found.frames.dtype == np.uint8
    np.testing.assert_array_equal(found.frames, frames_of(3))
    np.save(tmp_path / "vector.npy", np.array([1.0, 2.0, 3.0]))
    (found,) = read_videos(tmp_path / "vector.npy", replace(FLOATS, level="video"))
    np.testing.assert_array_equal(found.frames, [[1, 2, 3]])


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (frames_of(3)[:, :6], r"\[10, 6\]; it must be one video, \[frames, 8\], with rgb \(6 values\), audio"),
        (frames_of(3)[None], "several videos go into an .npz"),
        (frames_of(3)[:0], "must be one video"),
        (frames_of(3) / 255, "must be bytes: quantize"),
        (np.array([[object()] * 8]), "cannot be read: "),
    ],
)
def test_an_array_that_cannot_be_read(tmp_path, array, reason):
    np.save(tmp_path / "a.npy", array)
    (fault,) = read_videos(tmp_path / "a.npy", SMALL)
    assert isinstance(fault, UnreadableVideo) and re.search(reason, str(fault)), fault


def test_hdf5_is_read_as_npz_is(tmp_path):
    video, frames = frames_of(3), np.stack([frames_of(6)[:2], frames_of(7)[:2]])
    with h5py.File(tmp_path / "clip.h5", "w") as file:
        file["rgb"], file["audio"], file["other/deep"] = video[:, :6], video[:, 6:], 1
    (found,) = read_videos(tmp_path / "clip.h5", SMALL)
    assert found.id == "clip"
    np.testing.assert_array_equal(found.frames, video)
    with h5py.File(tmp_path / "two.h5", "w") as file:
        file["frames"], file["num_frames"], file["ids"] = frames, [2, 1], ["ü", "b"]
    first, second = read_videos(tmp_path / "two.h5", SMALL)
    assert (first.id, second.id) == ("ü", "b") and len(second.frames) == 1
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file["rgb"] = video[:, :6]
    (fault,) = read_videos(tmp_path / "c.h5", SMALL)
    assert "there is no array audio" in str(fault) and "the file has rgb" in str(fault)
    content = (tmp_path / "c.h5").read_bytes()
    (tmp_path / "c.h5").write_bytes(content[: len(content) // 2])
    (fault,) = read_videos(tmp_path / "c.h5", SMALL)
    assert "c.h5: the file cannot be read: " in str(fault)


def test_the_content_tells_what_a_file_is_read_as(tmp_path):
    np.savez(tmp_path / "a.npz", rgb=frames_of(3)[:, :6], audio=frames_of(3)[:, 6:])
    (tmp_path / "a.npz").rename(tmp_path / "a.tfrecord")
    assert [video.id for video in read_videos(tmp_path / "a.tfrecord", SMALL)] == ["a"]
    write_shard(tmp_path / "b.npz", range(3))
    assert [video.id for video in read_videos(tmp_path / "b.npz", SMALL)] == ["v000", "v001", "v002"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (gzip.compress(b"x", mtime=0), "gzipped, not TFRecords, npz, npy or HDF5; unpack it with gunzip"),
        (b"<html>404", "a web page"),
        (b"id,rgb\n", "a table in text .CSV., not TFRecords, npz, npy or HDF5; write the features that it holds"),
        (b"\x01\x02\x03 nothing that is known", "the first bytes are not those of TFRecords, npz, npy or HDF5"),
    ],
)
def test_files_of_another_kind_are_named_and_never_to_be_copied_again(tmp_path, content, reason):
    (tmp_path / "a.tfrecord").write_bytes(content)
    (fault,) = read_videos(tmp_path / "a.tfrecord", SMALL)
    assert re.search(reason, str(fault)) and "copy the file again" not in str(fault), fault


def test_folders_are_named(tmp_path):
    (fault,) = read_videos(tmp_path, SMALL)
    assert "the file is a folder" in str(fault) and "name the files in it" in str(fault)


RGB, AUDIO = np.ones((4, 6), np.uint8), np.ones((4, 2), np.uint8)


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"rgb": RGB}, "no array audio; give one of"),
        ({"rgb": RGB[:, :5], "audio": AUDIO}, r"rgb \[4, 5\], audio \[4, 2\]; .* 6 values in rgb"),
        ({"rgb": RGB[:3], "audio": AUDIO}, "each must be"),
        ({"rgb": RGB[:0], "audio": AUDIO[:0]}, "each must be"),
        ({"rgb": RGB / 255, "audio": AUDIO}, "float64 but must be bytes: quantize"),
        ({"rgb": RGB.astype(int) * 256, "audio": AUDIO}, "not all from 0 to 255"),
        ({"rgb": RGB.astype("U1"), "audio": AUDIO}, "they must be bytes"),
        (
            {"rgb": np.array([[object()] * 6]), "audio": AUDIO[:1]},
            "array rgb has values of type object",
        ),
        ({"frames": RGB[None], "num_frames": [4]}, r"frames \[1, 4, 6\]"),
        ({"num_frames": [4]}, r"frames \[0\]"),
        ({"frames": np.ones((1, 4, 8), np.uint8), "num_frames": [4, 4]}, r"num_frames \[2\]"),
        ({"frames": np.ones((1, 4, 8), np.uint8), "num_frames": [4.0]}, "num_frames is 4.0"),
        ({"frames": np.ones((1, 4, 8), np.uint8), "num_frames": [0]}, "num_frames is 0"),
        ({"frames": np.ones((1, 4, 8), np.uint8), "num_frames": [4], "ids": ["a\n"]}, "no printable text"),
        ({"frames": np.ones((1, 4, 8), np.float32), "num_frames": [4]}, "float32 but must be bytes"),
    ],
)
def test_arrays_that_cannot_be_read(tmp_path, arrays, reason):
    np.savez(tmp_path / "a.npz", **arrays)
    (fault,) = read_videos(tmp_path / "a.npz", SMALL)
    assert isinstance(fault, UnreadableVideo)
    assert re.search(reason, str(fault)), fault
    assert str(tmp_path / "a.npz") in str(fault)


@pytest.mark.parametrize("frames", [(), (5,), (5, 3)])
@pytest.mark.parametrize("every", [True, False])
def test_batches_are_those_of_an_index(small_index, frames, every):
    """Also of the videos of up to 17 frames, of which 12 are read at most."""
    samplings = [SamplingConfig(frames=number) for number in frames]
    samplings += [SamplingConfig(evaluation="all")] if every or not frames else []
    rows = small_index.rows("train")
    assert small_index.num_frames.max() == 17 > SMALL.max_frames
    wanted = batches_for_all(FrameReader(small_index), rows, samplings, 7)
    videos = [sample_video(frames_of(number), samplings, SMALL) for number in range(40)]
    given = batch_videos(videos, SMALL, samplings, 7)
    for (count, inputs), (expected_count, expected) in zip(given, wanted, strict=True):
        assert count == expected_count
        for name, values in inputs.items():
            np.testing.assert_array_equal(values, expected[name][:count])
