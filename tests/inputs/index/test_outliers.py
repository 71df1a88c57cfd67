"""Videos far beyond the others are found by their peaks, whichever shard they are in; ordinary ones never are."""

import numpy as np
import pytest

from pipeline.config import DatasetConfig, FeatureConfig
from pipeline.inputs.index import Index, Source
from pipeline.inputs.index.build import write_index
from pipeline.inputs.index.check import ShardReport, check_shard
from pipeline.inputs.index.outliers import OutlierDetector
from pipeline.inputs.records import tfrecord
from pipeline.inputs.records.encoding import encode_sequence_example

FLOATS = DatasetConfig("floats", (FeatureConfig("a", 4, "float32"), FeatureConfig("b", 2, "float32")), 9)


def report_of(path, sizes: dict[str, tuple[float, float]]) -> ShardReport:
    """A shard of videos whose features reach so far."""
    with path.open("wb") as file:
        for id, (a, b) in sizes.items():
            frames = {"a": np.full((3, 4), -a, np.float32), "b": np.full((3, 2), b, np.float32)}
            tfrecord.write_records(file, [encode_sequence_example({"id": id, "labels": [1]}, frames)])
    return check_shard(path, FLOATS)


def limits_of(*reports: ShardReport, ratio: float = 1000):
    peaks = OutlierDetector(FLOATS)
    assert list(peaks.noted(iter(reports))) == list(reports)
    return peaks.limits(ratio)


def test_a_video_beyond_the_limits_is_named(tmp_path):
    ordinary = report_of(tmp_path / "0", {f"v{n}": (1 + n % 3, 0.5) for n in range(20)})
    odd = report_of(tmp_path / "1", {"x": (1, 0.5), "y": (1e9, 1e9), "z": (2, 700), "silent": (0, 0)})
    limits = limits_of(ordinary, odd)
    assert limits.medians.tolist() == [2, 0.5] and limits.reasons(ordinary) == {}
    times = "times the median video's largest value (--outlier-ratio)"
    assert limits.reasons(odd) == {
        1: f"video 'y': feature a reaches 1.0e+09, 5.0e+08 {times}",
        2: f"video 'z': feature b reaches 7.0e+02, 1.4e+03 {times}",
    }
    assert limits_of(ordinary, odd, ratio=0) is None
    assert limits_of(ordinary) is None
    assert list(limits_of(ordinary, odd, ratio=1e6).reasons(odd)) == [1]


def test_silent_videos_do_not_count_for_the_median(tmp_path):
    """Most are silent: those that are not are no outliers."""
    report = report_of(tmp_path / "0", {f"v{n}": (1, float(n > 15)) for n in range(20)})
    assert limits_of(report, ratio=10) is None
    assert limits_of(report_of(tmp_path / "1", {f"v{n}": (0, 0) for n in range(20)})) is None
    assert limits_of(report_of(tmp_path / "2", {})) is None


def test_bytes_have_no_outliers(small_index):
    dataset = small_index.dataset
    peaks = OutlierDetector(dataset)
    list(peaks.noted(check_shard(path, dataset) for path in small_index.paths))
    assert peaks.limits(1e-9) is None


@pytest.mark.parametrize("where", ["first", "last"])
def test_the_index_is_that_of_the_other_videos(tmp_path, where):
    """An outlier does not take its id from a later record, and is quarantined among its shard's."""
    sizes = {f"v{n}": (1.0, 1.0) for n in range(30)}
    bad = {"v3": (1e9, 1.0)}
    names = ["bad", "good"] if where == "first" else ["good", "bad"]
    reports = [report_of(tmp_path / name, bad if name == "bad" else sizes) for name in names]
    sources = [Source(tmp_path / name, "train") for name in names]
    index = tmp_path / "index"
    index.mkdir()
    limits = limits_of(*reports)
    summary = write_index(index, FLOATS, sources, reports, limits=limits)
    assert sorted(Index.open(index).ids_of(np.arange(30))) == sorted(sizes)
    assert summary["quarantined"]["count"] == 1 and summary["duplicates"]["count"] == 0
    (fault,) = summary["quarantined"]["first"]
    assert fault["file"] == str(tmp_path / "bad") and fault["reason"].startswith(
        "video 'v3': feature a reaches 1.0e+09"
    )
    assert summary["statistics"]["reasons"] == {
        "feature a reaches #.#e+#, #.#e+# times the median video's largest value (--outlier-ratio)": 1
    }
    alone = tmp_path / "alone"
    alone.mkdir()
    with_it = write_index(alone, FLOATS, sources, reports)
    assert with_it["duplicates"]["count"] == 1
    assert (with_it["digest"] != summary["digest"]) == (where == "first")  # else it would be no row anyway
