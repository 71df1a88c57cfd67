"""Reports kept while an ingest is unfinished, and those that an index is taken apart into."""

import dataclasses
import os

import numpy as np
import pytest
from fixtures.support import SMALL, write_shard

from pipeline.config import FeatureConfig
from pipeline.config.errors import StageError
from pipeline.inputs.index import Source
from pipeline.inputs.index.build import write_index
from pipeline.inputs.index.check import ShardReport, check_shard
from pipeline.inputs.index.outliers import OutlierDetector
from pipeline.inputs.index.resume import IndexedReports, check_shard_once
from pipeline.inputs.records import tfrecord
from pipeline.inputs.records.encoding import encode_sequence_example


def assert_same(one: ShardReport, other: ShardReport) -> None:
    for field in dataclasses.fields(ShardReport):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if isinstance(a, np.ndarray):
            assert a.dtype == b.dtype and a.shape == b.shape and a.tolist() == b.tolist(), field.name
        else:
            assert a == b, field.name


def spoilt(path) -> None:
    """Damages a payload, and keeps the file's size and time."""
    status, data = path.stat(), bytearray(path.read_bytes())
    data[40] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.fixture
def shard(tmp_path):
    path = tmp_path / "raw" / "ключ.tfrecord"
    write_shard(path, range(12))
    data = bytearray(path.read_bytes())
    data[-9] ^= 1  # the last record is bad
    path.write_bytes(data)
    return path


def test_a_report_is_kept_as_long_as_the_shard_is_the_same(tmp_path, shard):
    expected = check_shard(shard, SMALL)
    assert len(expected.quarantined) == 1 and len(expected.ids) == 11
    assert_same(check_shard_once(shard, SMALL, tmp_path), expected)
    spoilt(shard)
    assert_same(check_shard_once(shard, SMALL, tmp_path), expected)
    os.utime(shard)
    again = check_shard_once(shard, SMALL, tmp_path)
    assert len(again.quarantined) == 2 and again.modified != expected.modified


def test_a_report_that_was_half_written_is_made_again(tmp_path, shard):
    kept = tmp_path / "kept"
    kept.mkdir()
    expected = check_shard_once(shard, SMALL, kept)
    (report,) = kept.iterdir()
    whole = report.read_bytes()
    for damaged in (b"", whole[:-1], whole[:50], whole[: len(whole) // 2], b"x" + whole[1:], whole + whole, b"text"):
        report.write_bytes(damaged)
        assert_same(check_shard_once(shard, SMALL, kept), expected)
        assert report.read_bytes() == whole


def test_what_could_not_be_read_is_tried_again(tmp_path):
    missing = tmp_path / "none.tfrecord"
    kept = tmp_path / "kept"
    kept.mkdir()
    assert not check_shard_once(missing, SMALL, kept).readable
    (tmp_path / "folder.tfrecord").mkdir()
    assert not check_shard_once(tmp_path / "folder.tfrecord", SMALL, kept).readable
    assert list(kept.iterdir()) == []


def test_an_index_is_taken_apart_into_its_reports(tmp_path, shard):
    empty, more = tmp_path / "raw" / "empty.tfrecord", tmp_path / "raw" / "more.tfrecord"
    empty.touch()
    write_shard(more, [20, 3, 21, 20, 22])  # two ids are taken already
    sources = [Source(path, "train") for path in (shard, empty, more)]
    reports = [check_shard(source.path, SMALL) for source in sources]
    folder = tmp_path / "index"
    folder.mkdir()
    assert write_index(folder, SMALL, sources, reports)["duplicates"]["count"] == 2
    indexed = IndexedReports(folder, SMALL, None)
    assert indexed.known(sources) == {source.path for source in sources}
    found = list(indexed.reports([source.path for source in sources]))
    np.testing.assert_array_equal(sum(report.values for report in found), sum(report.values for report in reports))
    for ours, expected in zip(found, reports, strict=True):
        assert_same(dataclasses.replace(ours, values=expected.values), expected)


def test_peaks_and_outliers_come_back_from_an_index(tmp_path):
    """A record that is left out as an outlier is whole in the report, as it was when it was read."""
    dataset = dataclasses.replace(SMALL, features=(FeatureConfig("rgb", 4, "float32"),), max_frames=2)
    path, folder = tmp_path / "a.tfrecord", tmp_path / "index"
    folder.mkdir()
    with path.open("wb") as file:
        for number, size in enumerate([1, 2, 1e9, 1, 1.5]):
            frames = np.full((number + 1, 4), size, np.float32)
            tfrecord.write_records(
                file, [encode_sequence_example({"id": f"v{number % 4}", "labels": [number]}, {"rgb": frames})]
            )
    report = check_shard_once(path, dataset, tmp_path)
    assert_same(check_shard_once(path, dataset, tmp_path), report)
    assert report.peaks.tolist() == [[1], [2], [1e9], [1], [1.5]] and report.cut == 3
    peaks = OutlierDetector(dataset)
    list(peaks.noted([report]))
    summary = write_index(folder, dataset, [Source(path, "train")], [report], limits=peaks.limits(1000))
    assert summary["quarantined"]["count"] == summary["duplicates"]["count"] == 1
    (again,) = IndexedReports(folder, dataset, None).reports([path])
    assert_same(again, report)


def test_what_is_not_as_it_was_is_refused(tmp_path, shard):
    source, folder = Source(shard, "train"), tmp_path / "index"
    folder.mkdir()
    write_index(folder, SMALL, [source], [check_shard(shard, SMALL)])
    with pytest.raises(StageError, match=r"made with other settings \(num_classes: 9 -> 10\); run ingest without"):
        IndexedReports(folder, dataclasses.replace(SMALL, num_classes=10), None)
    indexed = IndexedReports(folder, SMALL, None)
    with pytest.raises(StageError, match="is of split test now"):
        indexed.known([Source(shard, "test")])
    with pytest.raises(StageError, match="is not among the files"):
        indexed.known([])
    os.utime(shard)
    with pytest.raises(StageError, match="changed after it was indexed"):
        indexed.known([source])
