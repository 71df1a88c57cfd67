"""Videos for a model in files of one's own: which are found, and what cannot be used, each named with its remedy."""

import gzip
import re
from dataclasses import replace

import h5py
import numpy as np
import pytest
from fixtures.feature_files import WRITERS
from fixtures.support import SMALL, frames_of, write_shard

from pipeline.config import DatasetConfig, FeatureConfig
from pipeline.config.errors import StageError
from pipeline.inference.given.files import find_own_videos
from pipeline.inputs.reading.own_records import UnreadableVideo
from pipeline.packing.settings import FeatureSettings
from pipeline.packing.sources.source import UnreadableFeature

FLOATS = DatasetConfig("floats", (FeatureConfig("x", 3, "float32"),), num_classes=5, max_frames=4)
BESIDE_OTHERS = {"npz a video", "HDF5 group a feature", "HDF5 group a video", "tar with a member a feature"} | {
    "Parquet frames of fixed size"
}
"""Formats whose files hold other arrays too: it must be told which is meant."""
RGB, AUDIO = np.ones((4, 6), np.uint8), np.ones((4, 2), np.uint8)


def look(*files, dataset=SMALL, passed_over=(), **settings):
    return find_own_videos(files, FeatureSettings(**settings), dataset, 1, passed_over)


def read(*files, dataset=SMALL, **settings):
    """What is found: ids with frames, and faults as text, those that reading finds too."""
    found = look(*files, dataset=dataset, **settings)
    videos, faults = [], [str(fault) for fault in found.faults]
    for each in found.videos():
        if isinstance(each, UnreadableVideo):
            faults.append(str(each))
            continue
        try:
            videos.append((each.id, each.read()))
        except UnreadableFeature as error:
            faults.append(f"{error.where}: {error}")
    assert found.total() == len(list(found.videos()))
    return videos, faults


def ids_of(*files, **settings):
    videos, faults = read(*files, **settings)
    assert not faults
    return [id for id, _ in videos]


def test_one_video_as_arrays_by_feature(tmp_path):
    video = frames_of(3)
    np.savez(tmp_path / "clip.npz", rgb=video[:, :6], audio=video[:, 6:].astype(np.int64), other=np.zeros(3))
    ((id, frames),), faults = read(tmp_path / "clip.npz")
    assert id == "clip" and frames.dtype == np.uint8 and not faults
    np.testing.assert_array_equal(frames, video)


def test_several_videos_as_one_array(tmp_path):
    frames = np.zeros((3, 5, 8), np.uint8)
    for number in range(3):
        frames[number] = number + np.arange(5)[:, None]
    counts, ids = np.array([5, 2, 9]), np.array(["ü", "b", "c"])
    np.savez(tmp_path / "a.npz", frames=frames, num_frames=counts, ids=ids)
    ((first, _), (second, values)), (third,) = read(tmp_path / "a.npz")
    assert (first, second) == ("ü", "b")
    np.testing.assert_array_equal(values, frames[1, :2])
    assert "a.npz, row 2: num_frames is 9; it must be from 1 to 5" in third
    np.savez(tmp_path / "a.npz", frames=frames, num_frames=counts)
    assert [id for id, _ in read(tmp_path / "a.npz")[0]] == ["a.npz:0", "a.npz:1"]


def test_features_may_be_named_as_the_arrays_of_several_videos_are(tmp_path):
    dataset = replace(SMALL, features=(FeatureConfig("frames", 6), FeatureConfig("num_frames", 2)))
    video = frames_of(4)
    np.savez(tmp_path / "clip.npz", frames=video[:, :6], num_frames=video[:, 6:])
    np.savez(tmp_path / "clips.npz", frames=video[None], num_frames=np.array([len(video)]))
    for name in ("clip.npz", "clips.npz"):
        ((_, found),), faults = read(tmp_path / name, dataset=dataset)
        assert not faults
        np.testing.assert_array_equal(found, video)


def test_videos_of_one_vector(tmp_path):
    dataset = replace(FLOATS, level="video")
    np.savez(tmp_path / "a.npz", x=np.array([1.0, 2.0, 3.0]))
    np.save(tmp_path / "b.npy", np.array([1.0, 2.0, 3.0]))
    videos, faults = read(tmp_path, dataset=dataset)
    assert [id for id, _ in videos] == ["a", "b"] and not faults
    for _, frames in videos:
        np.testing.assert_array_equal(frames, np.array([[1, 2, 3]], np.float32))


@pytest.mark.parametrize("form", WRITERS)
def test_side_by_side_in_every_format(form, tmp_path):
    """For a model of the feature rgb, and for one of two features that the file does not name."""
    (tmp_path / "files").mkdir()
    videos = {f"video {number}": frames_of(number) for number in range(5)}
    written = WRITERS[form](tmp_path / "files", videos)
    settings = {}
    if written.rows is not None:
        columns = [written.rows.column(name) for name in written.rows.names]
        lines = [",".join(written.rows.names), *(",".join(map(str, row)) for row in zip(*columns))]
        (tmp_path / "rows.csv").write_text("\n".join(lines))
        settings = {"rows": str(tmp_path / "rows.csv")}
    one = replace(SMALL, features=(FeatureConfig("rgb", 8),))
    two = replace(SMALL, features=(FeatureConfig("image", 6), FeatureConfig("sound", 2)))
    for dataset in (one,) if form in BESIDE_OTHERS else (one, two):
        found, faults = read(tmp_path / "files", dataset=dataset, **settings)
        assert not faults and sorted(id for id, _ in found) == sorted(videos)
        for id, frames in found:
            np.testing.assert_array_equal(frames, videos[id])


def test_the_files_of_each_feature(tmp_path):
    for number in range(3):
        for name, part in (("rgb", frames_of(number)[:, :6]), ("audio", frames_of(number)[:, 6:])):
            (tmp_path / name).mkdir(exist_ok=True)
            np.save(tmp_path / name / f"{number}.npy", part)
    features = (f"audio={tmp_path}/audio", f"rgb={tmp_path}/rgb/*.npy")
    videos, faults = read(features=features)
    assert [id for id, _ in videos] == ["0", "1", "2"] and not faults
    for number, (_, frames) in enumerate(videos):
        np.testing.assert_array_equal(frames, frames_of(number))
    (video, *_) = look(features=features).videos()
    assert video.places == ((tmp_path / "rgb" / "0.npy", ""), (tmp_path / "audio" / "0.npy", ""))
    (tmp_path / "audio" / "1.npy").unlink()
    np.save(tmp_path / "audio" / "2.npy", AUDIO)
    videos, faults = read(features=features)
    assert [id for id, _ in videos] == ["0"]
    assert f"{tmp_path}/rgb/1.npy: '1' has rgb and no audio that can be used" in faults[0]
    assert "differ in their numbers of frames: rgb 7, audio 4. --align crop" in faults[1] and len(faults) == 2
    assert [len(frames) for _, frames in read(features=features, align="crop")[0]] == [1, 4]
    assert [len(frames) for _, frames in read(features=features, align="resample")[0]] == [1, 7]


def test_floats_are_quantized_over_the_range_of_each_feature(tmp_path):
    """The bytes of a range stand for the centers of their bins, so that these become the same bytes again."""
    from pipeline.inputs.records.quantized import dequantize

    features = (FeatureConfig("rgb", 6, minimum=0, maximum=1.5), FeatureConfig("audio", 2))
    video = frames_of(5)
    rgb, audio = dequantize(video[:, :6], 0, 1.5), dequantize(video[:, 6:], -2, 2)
    np.savez(tmp_path / "a.npz", rgb=rgb, audio=audio.astype(np.float64))
    np.savez(tmp_path / "b.npz", rgb=video[:, :6], audio=video[:, 6:])
    np.save(tmp_path / "c.npy", np.concatenate([rgb, audio], axis=1))
    videos, faults = read(tmp_path, dataset=replace(SMALL, features=features))
    assert [id for id, _ in videos] == ["a", "b", "c"] and not faults
    for _, frames in videos:
        np.testing.assert_array_equal(frames, video)


def test_bytes_are_no_floats_and_halves_have_their_range(tmp_path):
    halves = replace(FLOATS, features=(FeatureConfig("x", 3, "float16"),))
    values = np.array([[0.1, -65504, 65519], [1, 2, 3]])  # 65519 is rounded down to the largest, 65520 is beyond
    for dtype in (np.float64, np.float32, np.float16):
        np.savez(tmp_path / "a.npz", x=values.clip(max=65504).astype(dtype))
        ((_, frames),), _ = read(tmp_path / "a.npz", dataset=halves)
        assert frames.dtype == np.float16
        np.testing.assert_array_equal(frames, values.clip(max=65504).astype(np.float16))
    for wrong, reason in ((65520.0, "beyond float16"), (np.nan, "frame 0, value 1 is nan")):
        np.savez(tmp_path / "a.npz", x=np.array([[1, wrong, 0]], np.float32))
        assert reason in read(tmp_path / "a.npz", dataset=halves)[1][0]
    np.savez(tmp_path / "a.npz", x=np.ones((2, 3), np.uint8))
    for dataset in (halves, FLOATS):
        (fault,) = read(tmp_path / "a.npz", dataset=dataset)[1]
        assert "values are uint8 but must be floats: give the values as they were before" in fault


def test_the_content_tells_what_a_file_is_read_as_and_their_order_is_that_of_their_names(tmp_path):
    np.savez(tmp_path / "b.npz", rgb=frames_of(3)[:, :6], audio=frames_of(3)[:, 6:])
    (tmp_path / "b.npz").rename(tmp_path / "b.tfrecord")
    write_shard(tmp_path / "c.npz", range(3))
    np.save(tmp_path / "a.npy", frames_of(1))
    assert ids_of(tmp_path) == ["a", "b", "v000", "v001", "v002"]
    assert ids_of(tmp_path / "c.npz", tmp_path / "a.npy") == ["v000", "v001", "v002", "a"]
    assert ids_of(tmp_path / "**" / "[ab].*") == ["a", "b"]


def test_hdf5_with_a_group_a_feature_or_arrays_of_a_video(tmp_path):
    video = frames_of(3)
    with h5py.File(tmp_path / "clip.h5", "w") as file:
        file["rgb"], file["audio"], file["other/deep"] = video[:, :6], video[:, 6:], 1
    with h5py.File(tmp_path / "many.h5", "w") as file:
        for id in ("x", "y"):
            file[f"rgb/{id}"], file[f"audio/{id}"] = video[:, :6], video[:, 6:]
    videos, faults = read(tmp_path / "clip.h5", tmp_path / "many.h5")
    assert [id for id, _ in videos] == ["clip", "x", "y"] and not faults
    for _, frames in videos:
        np.testing.assert_array_equal(frames, video)
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file["rgb"] = video[:, :6]
    (fault,) = read(tmp_path / "c.h5")[1]
    assert f"{tmp_path}/c.h5: there is rgb and no audio: give its [frames, 2] under this name" in fault
    content = (tmp_path / "c.h5").read_bytes()
    (tmp_path / "c.h5").write_bytes(content[: len(content) // 2])
    (fault,) = read(tmp_path / "c.h5")[1]
    assert "c.h5: the file cannot be read" in fault


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (frames_of(3)[:, :6], "have 6 values, and the model needs 8: rgb 6, audio 2 side by side: extract it as"),
        (frames_of(3)[None], "a video is .*name a table of their ids with --rows"),
        (frames_of(3)[:0], "there are no frames"),
        (frames_of(3).astype(int) * 256, "int64 and not all from 0 to 255"),
        (frames_of(3).astype("U1"), "must be integers or floats"),
        (np.array([[object()] * 8]), "values of type object"),
    ],
)
def test_an_array_that_cannot_be_read(tmp_path, array, reason):
    np.save(tmp_path / "a.npy", array)
    (fault,) = read(tmp_path / "a.npy")[1]
    assert re.search(reason, fault) and f"{tmp_path}/a.npy" in fault, fault


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"rgb": RGB}, "there is rgb and no audio"),
        ({"rgb": RGB[:, :5], "audio": AUDIO}, "array rgb: its frames have 5 values, and the model needs the 6 of rgb"),
        ({"rgb": RGB[:1], "audio": AUDIO}, "differ in their numbers of frames: rgb 1, audio 4"),
        ({"rgb": RGB, "audio": AUDIO[:0]}, "there are no frames"),
        ({"rgb": RGB, "audio": np.full((4, 2), np.nan)}, "feature audio, frame 0, value 0 is nan"),
        ({"rgb": np.array([[object()] * 6]), "audio": AUDIO[:1]}, "array rgb has values of type object"),
        ({"frames": RGB[None], "num_frames": [4]}, "have 6 values, and the model needs 8"),
        (
            {"frames": np.ones((1, 4, 8), np.uint8), "num_frames": [4, 4], "ids": ["a"]},
            "1 id; num_frames are 2: each id must have",
        ),
        ({"frames": np.ones((1, 4, 8), np.uint8), "num_frames": [0]}, "num_frames is 0"),
    ],
)
def test_arrays_that_cannot_be_read(tmp_path, arrays, reason):
    np.savez(tmp_path / "a.npz", **arrays)
    videos, (fault, *others) = read(tmp_path / "a.npz")
    assert not others or "no frames" in fault  # what is told of one feature is not told of the other
    assert not videos and re.search(reason, fault) and str(tmp_path / "a.npz") in fault, fault


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "there is no such file"),
        (b"", "empty"),
        (gzip.compress(b"x", mtime=0), "gzipped, not TFRecords, npy, npz, HDF5, Parquet or tar; unpack it with gunzip"),
        (b"<html>404", "a web page"),
        (b"id,rgb\n", "a table in text .CSV., not TFRecords, .*; write the features that it holds"),
        (b"\x01\x02\x03 nothing that is known", "the first bytes are not those of TFRecords, npy"),
        (b"not a record at all but text of some length", "plain text"),
    ],
)
def test_files_of_another_kind_are_named_and_never_to_be_copied_again(tmp_path, content, reason):
    if content is not None:
        (tmp_path / "a.tfrecord").write_bytes(content)
    np.save(tmp_path / "b.npy", frames_of(1))
    videos, (fault,) = read(tmp_path / "a.tfrecord", tmp_path / "b.npy")
    assert [id for id, _ in videos] == ["b"]
    assert re.search(reason, fault) and "copy the file again" not in fault and str(tmp_path / "a.tfrecord") in fault


def test_a_file_that_is_named_twice_is_read_once_and_equal_ids_in_two_files_are_two_videos(tmp_path):
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        np.savez(tmp_path / folder / "a.npz", rgb=RGB, audio=AUDIO)
    found = look(tmp_path, tmp_path / "x" / "a.npz", tmp_path / "x" / "." / "a.npz")
    assert found.twice == [tmp_path / "x" / "a.npz"] * 2 and not found.faults
    assert [(video.id, video.where) for video in found.videos()] == [
        ("a", f"{tmp_path}/x/a.npz, array rgb"),
        ("a", f"{tmp_path}/y/a.npz, array rgb"),
    ]


def test_what_is_written_is_no_input_unless_it_is_named(tmp_path):
    np.save(tmp_path / "a.npy", frames_of(1))
    (tmp_path / "scores.jsonl").write_text("{}")
    assert len(look(tmp_path).faults) == 1
    assert not look(tmp_path, passed_over=[tmp_path / "scores.jsonl"]).faults
    assert len(look(tmp_path / "scores.jsonl", passed_over=[tmp_path / "scores.jsonl"]).faults) == 1
    (tmp_path / "tags").mkdir()
    (tmp_path / "tags" / "a.vtt").write_text("WEBVTT")
    outputs = [tmp_path / "scores.jsonl", tmp_path / "tags.vtt"]
    assert not look(tmp_path, passed_over=outputs).faults
    (tmp_path / "tags" / "b.srt").write_text("1")
    assert len(look(tmp_path, passed_over=outputs).faults) == 1


@pytest.mark.parametrize(
    ("files", "features", "message"),
    [
        ((), (), "nothing to predict: name at least one file"),
        (("a.npy",), ("rgb=a.npy",), "not both"),
        ((), ("rgb=a.npy",), "must name the files of rgb, audio, not rgb: audio"),
        ((), ("rgb=a.npy", "audio=a.npy", "flow=a"), "must name the files of rgb, audio, not .*: flow"),
        ((), ("rgb",), "write NAME=GLOB"),
        ((), ("rgb=nothing/*", "audio=nothing/*"), "there is no such file"),
    ],
)
def test_what_is_named_wrongly_is_refused(files, features, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StageError, match=message):
        look(*files, features=features)
