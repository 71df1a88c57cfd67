"""The numbers of a card, against counting by hand."""

import json
from collections import Counter

import numpy as np
import pytest
from fixtures.support import SMALL, frames_of, labels_of, write_shard

from pipeline.inputs.index import Source
from pipeline.inputs.index.build import write_index
from pipeline.inputs.index.check import check_shard, count_values
from pipeline.inputs.index.statistics import KINDS, OTHERS, Statistics, kind_of_reason, value_histograms


def test_numbers_of_two_splits(tmp_path):
    videos = {"train": range(30), "test": range(100, 110)}
    sources = [Source(tmp_path / f"{split}.tfrecord", split) for split in videos]
    for source in sources:
        write_shard(source.path, videos[source.split])
    (tmp_path / "index").mkdir()
    summary = write_index(tmp_path / "index", SMALL, sources, [check_shard(s.path, SMALL) for s in sources])
    found = json.loads((tmp_path / "index" / "dataset.json").read_text())["statistics"]
    assert found == summary["statistics"]
    for split, numbers in videos.items():
        labels = Counter(str(label) for video in numbers for label in labels_of(video))
        assert found["videos_a_label"][split] == dict(labels)
        sizes = Counter(str(len(labels_of(video))) for video in numbers)
        assert found["labels_a_video"][split] == dict(sizes)
        lengths = Counter(str(len(frames_of(video))) for video in numbers)
        assert found["frames_a_video"][split] == dict(lengths)
    assert found["videos_a_label"]["holdout"] == {} and found["reasons"] == {}
    frames = [frames_of(video)[len(frames_of(video)) // 2] for numbers in videos.values() for video in numbers]
    for name, columns in (("rgb", slice(0, 6)), ("audio", slice(6, 8))):
        values = Counter(str(value) for frame in frames for value in frame[columns].tolist())
        assert found["values"][name] == dict(values)
    expected = sum(check_shard(source.path, SMALL).values for source in sources)
    np.testing.assert_array_equal(value_histograms(found, SMALL), expected)


def test_duplicates_are_not_counted(tmp_path):
    path = tmp_path / "a.tfrecord"
    write_shard(path, [1, 2, 1])
    report = check_shard(path, SMALL)
    statistics = Statistics(SMALL, ["train"])
    statistics.add(report, np.array([0, 1]), np.zeros(2, np.int32), [])
    assert statistics.videos == statistics.labeled == {"train": 2}
    counts = statistics.summary()["videos_a_label"]["train"]
    assert counts == dict(sorted(Counter(str(label) for video in (1, 2) for label in labels_of(video)).items()))


def test_floats_count_as_the_challenge_quantizes_them():
    codes = np.arange(256)
    values = (codes * (4 / 255) + 4 / 512 - 2).astype(np.float32)
    assert count_values(values).tolist() == [1] * 256
    assert count_values(np.array([-1e30, 1e30, -2.1, 2.1], np.float32))[[0, 255]].tolist() == [2, 2]
    assert count_values(np.array([[3, 3], [0, 255]], np.uint8))[[0, 3, 255]].tolist() == [1, 2, 1]
    assert count_values(np.array([])).sum() == 0


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("label 4000 is outside 0..3999", "label # is outside #..#"),
        ("label -1 is outside 0..8", "label # is outside #..#"),
        ("no id under the keys id, video_id; there are: ID, x", "no id under the keys id, video_id"),
        ("id is 'a,b', an id that the challenge's CSV cannot", "id is '...', an id that the challenge's CSV cannot"),
        ("video 'v01': feature rgb holds values", "feature rgb holds values"),
        ('video "a\'b; there are: 1": label 9 is outside 0..8', "label # is outside #..#"),
        (r"id b'\xff' is not UTF-8", "id '...' is not UTF-#"),
    ],
)
def test_kinds_of_reasons(reason, kind):
    assert kind_of_reason(reason) == kind


def test_kinds_are_bounded(tmp_path):
    write_shard(tmp_path / "a.tfrecord", [])
    report = check_shard(tmp_path / "a.tfrecord", SMALL)
    reasons = ["reason " + "".join(chr(97 + int(digit)) for digit in str(number)) for number in range(1000)]
    statistics = Statistics(SMALL, ["train"])
    statistics.add(report, np.zeros(0, np.int64), np.zeros(0, np.int32), reasons)
    reasons = statistics.summary()["reasons"]
    assert len(reasons) == KINDS + 1 and reasons[OTHERS] == 1000 - KINDS and sum(reasons.values()) == 1000
    assert next(iter(reasons)) == OTHERS  # the most frequent first


def test_every_feature_has_its_values():
    assert value_histograms({"values": {"rgb": {"7": 3}, "audio": {}}}, SMALL)[:, 7].tolist() == [3, 0]
