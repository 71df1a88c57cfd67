"""A shard's report: every good record by column, every bad one with its reason."""

import dataclasses
import pickle

import numpy as np
import pytest

from pipeline.config import DatasetConfig, FeatureConfig
from pipeline.inputs.index.check import Quarantined, check_shard
from pipeline.inputs.records import tfrecord
from pipeline.inputs.records.encoding import encode_sequence_example
from pipeline.inputs.records.parsing import parse_record

DATASET = DatasetConfig("small", (FeatureConfig("rgb", 6),), 10, max_frames=4)


def record(id: str, labels: list[int], count: int = 3, size: int = 6) -> bytes:
    context = {"id": id, "labels": np.array(labels, np.int64)}
    return encode_sequence_example(context, {"rgb": np.full((count, size), 7, np.uint8)})


def write(path, payloads) -> int:
    with path.open("wb") as file:
        tfrecord.write_records(file, payloads)
    return path.stat().st_size


def test_columns_of_a_good_shard(tmp_path):
    path = tmp_path / "a.tfrecord"
    payloads = [record("aa", [3, 1]), record("bb", [], 9), record("cc", [9], 1)]
    size = write(path, payloads)
    report = check_shard(path, DATASET)
    assert (report.path, report.size, report.records, report.quarantined) == (str(path), size, 3, [])
    assert report.ids == ["aa", "bb", "cc"]
    assert report.num_frames.tolist() == [3, 9, 1] and report.cut == 1  # more than max_frames
    assert report.peaks.tolist() == [[0], [0], [0]] and report.peaks.dtype == np.float32
    assert report.labels.tolist() == [3, 1, 9] and report.label_offsets.tolist() == [0, 2, 2, 3]
    data = path.read_bytes()
    assert [data[o : o + n] for o, n in zip(report.offsets.tolist(), report.lengths.tolist())] == payloads
    assert report.checksums.tolist() == [tfrecord.masked_crc(payload) for payload in payloads]
    columns = ("offsets", "lengths", "checksums", "num_frames", "labels", "label_offsets")
    types = [getattr(report, name).dtype.name for name in columns]
    assert types == ["int64", "int32", "uint32", "int32", "int32", "int64"]


def test_a_report_goes_from_process_to_process(tmp_path):
    write(tmp_path / "a.tfrecord", [record("aa", [3, 1])])
    report = check_shard(tmp_path / "a.tfrecord", DATASET)
    again = pickle.loads(pickle.dumps(report))
    assert again.ids == report.ids and again.labels.tolist() == report.labels.tolist()


def test_bad_records_are_quarantined_and_the_rest_is_kept(tmp_path):
    path = tmp_path / "a.tfrecord"
    payloads = [record("aa", [1]), record("bb", [11]), record("cc", [2], size=5), b"text", record("dd", [4])]
    write(path, payloads)
    data = bytearray(path.read_bytes())
    offsets = np.cumsum([12, *[len(payload) + 16 for payload in payloads]]).tolist()
    data[offsets[4] + 30] ^= 1
    path.write_bytes(data + b"half a header")
    report = check_shard(path, DATASET)
    assert report.ids == ["aa"] and report.records == 6
    assert [(fault.file, fault.offset) for fault in report.quarantined[:4]] == [(str(path), o) for o in offsets[1:5]]
    reasons = [fault.reason for fault in report.quarantined]
    assert reasons[0] == "video 'bb': label 11 is outside 0..9"
    assert reasons[1] == "video 'cc': feature rgb: frame 0 has 5 bytes, 6 are declared"
    assert "damaged" in reasons[2] or "message" in reasons[2]
    assert reasons[3] == "checksum of the record is wrong"
    assert reasons[4].startswith("checksum of the record length is wrong")


def test_peaks_are_the_largest_absolute_values_of_what_is_read(tmp_path):
    floats = (FeatureConfig("a", 2, "float32"), FeatureConfig("b", 3, "float32"))
    dataset = dataclasses.replace(DATASET, features=floats, max_frames=2)
    a, b = np.array([[1, -3], [2, 0], [9, 9]], np.float32), np.zeros((3, 3), np.float32)
    write(tmp_path / "a.tfrecord", [encode_sequence_example({"id": f"v{n}"}, {"a": a * n, "b": b}) for n in (1, 2)])
    assert check_shard(tmp_path / "a.tfrecord", dataset).peaks.tolist() == [[9, 0], [18, 0]]
    (tmp_path / "none.tfrecord").touch()
    assert check_shard(tmp_path / "none.tfrecord", dataset).peaks.shape == (0, 2)


def test_an_empty_file_is_fine(tmp_path):
    (tmp_path / "a.tfrecord").touch()
    report = check_shard(tmp_path / "a.tfrecord", DATASET)
    assert (report.size, report.records, report.ids, report.quarantined) == (0, 0, [], [])
    assert report.label_offsets.tolist() == [0] and report.labels.shape == (0,)


def test_a_file_that_cannot_be_read_is_quarantined(tmp_path):
    missing = tmp_path / "none.tfrecord"
    report = check_shard(missing, DATASET)
    assert report.quarantined == [Quarantined(str(missing), 0, "the file cannot be read: No such file or directory")]
    assert report.records == 0
    (fault,) = check_shard(tmp_path, DATASET).quarantined
    assert fault.reason == "the file cannot be read: Is a directory"


@pytest.mark.real_data
def test_a_wrong_declaration_quarantines_every_record(shared_data):
    path = shared_data / "malformed" / "float_rgb_wide_audio.tfrecord"
    youtube = DatasetConfig("youtube8m", (FeatureConfig("rgb", 1024), FeatureConfig("audio", 128)), 3862)
    report = check_shard(path, youtube)
    assert (report.records, report.ids) == (3, [])
    assert len({fault.reason for fault in report.quarantined}) == 3
    assert {fault.reason.partition("': ")[2] for fault in report.quarantined} == {
        "feature rgb: frame 0 is a float_list where bytes are declared"
    }


@pytest.mark.real_data
def test_a_real_shard(shared_data):
    features = (FeatureConfig("mean_rgb", 1024, "float32"), FeatureConfig("mean_audio", 128, "float32"))
    dataset = DatasetConfig("video", features, 3862, level="video")
    path = shared_data / "youtube8m-2018-video" / "validate0003.tfrecord"
    report = check_shard(path, dataset)
    parsed = [parse_record(record.payload, dataset) for record in tfrecord.scan_records(path)]
    assert report.quarantined == [] and report.records == len(parsed) > 200
    assert report.ids == [video.id for video in parsed]
    ends = report.label_offsets
    assert all(report.labels[a:b].tolist() == v.labels.tolist() for a, b, v in zip(ends, ends[1:], parsed))
    assert set(report.num_frames.tolist()) == {1}


def test_a_file_of_another_kind_is_named(tmp_path):
    """Only at its beginning: what follows good records is damage."""
    (tmp_path / "a.tfrecord").write_bytes(b"<!doctype html><title>404</title>")
    (fault,) = check_shard(tmp_path / "a.tfrecord", DATASET).quarantined
    assert fault.reason.startswith("the file is a web page (HTML), not TFRecords; ") and fault.offset == 0
    write(tmp_path / "a.tfrecord", [record("a", [1])])
    with (tmp_path / "a.tfrecord").open("ab") as file:
        file.write(b"<!doctype html><title>404</title>")
    (fault,) = check_shard(tmp_path / "a.tfrecord", DATASET).quarantined
    assert "checksum of the record length is wrong" in fault.reason
