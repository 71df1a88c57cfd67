"""Shards: what is in them, how large they are, and what becomes of videos that cannot be packed."""

import numpy as np
import pytest
from fixtures.features import ArraySource, random_videos
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import DatasetConfig, FeatureConfig
from pipeline.inputs.records import tfrecord
from pipeline.inputs.records.parsing import parse_record
from pipeline.packing import shards
from pipeline.packing.shards import Job, Shard, plan_shards, write_shard
from pipeline.packing.sources.source import UnreadableFeature
from pipeline.packing.videos import join_features

RNG = np.random.default_rng(11)
FEATURES = [FeatureConfig("rgb", 3, "float16"), FeatureConfig("audio", 2, "float16")]
DATASET = DatasetConfig("d", tuple(FEATURES), num_classes=9)


def a_job(broken: str = "") -> Job:
    lengths = {"a": 4, "b": 2, "c": 7}
    rgb = ArraySource("rgb", random_videos(RNG, lengths))
    audio = random_videos(RNG, lengths, 2)
    audio = {id: UnreadableFeature(f"{id}.npy", "is cut short") if id == broken else each for id, each in audio.items()}
    videos, _ = join_features([rgb, ArraySource("audio", audio, lengths)], "crop")
    return Job(videos, FEATURES, [np.array([3, 8]), None, np.array([], np.int32)], ["x", "y", "x"])


def test_records_hold_ids_labels_groups_and_features(tmp_path):
    job = a_job()
    report = write_shard(job, tmp_path, tmp_path / "raw", Shard("train/train-00000.tfrecord", 0, 3))
    path = tmp_path / "train" / "train-00000.tfrecord"
    assert report == (3, path.stat().st_size, [])
    records = [record.payload for record in tfrecord.scan_records(path)]
    parsed = [parse_record(payload, DATASET) for payload in records]
    assert [each.id for each in parsed] == ["a", "b", "c"]
    assert parsed[0].labels.tolist() == [3, 8] and not len(parsed[1].labels) and not len(parsed[2].labels)
    assert [b"labels" in payload for payload in records] == [True, False, True], "unlabelled is not labelled with none"
    assert [b"group" in payload for payload in records] == [True, True, True]
    for row, each in enumerate(parsed):
        for stored, source in zip(each.features, job.videos.sources):
            np.testing.assert_array_equal(stored, source.arrays[row].astype(np.float16))


def test_a_video_that_cannot_be_packed_is_left_out_and_reported(tmp_path):
    report = write_shard(a_job("b"), tmp_path, tmp_path / "raw", Shard("t/t-00000.tfrecord", 0, 3))
    assert report.videos == 2 and report.left_out == [("b", "b.npy", "is cut short")]
    alone = write_shard(a_job("b"), tmp_path, tmp_path / "raw", Shard("t/t-00001.tfrecord", 1, 1))
    assert alone.videos == 0 and not (tmp_path / "t" / "t-00001.tfrecord").exists()


def test_what_is_written_is_not_written_again_wherever_it_is(tmp_path, monkeypatch):
    shard, raw = Shard("t/t-00000.tfrecord", 0, 3), tmp_path / "raw"
    first = write_shard(a_job("b"), tmp_path / "work", raw, shard)
    made = tmp_path / "work" / shard.path
    monkeypatch.setattr(shards.tfrecord, "write_records", lambda *_: pytest.fail("written again"))
    assert write_shard(a_job("b"), tmp_path / "work", raw, shard) == first
    (raw / "t").mkdir(parents=True)
    made.rename(raw / shard.path)
    assert write_shard(a_job("b"), tmp_path / "work", raw, shard) == first
    monkeypatch.undo()
    (raw / shard.path).write_bytes(b"of another size")
    assert write_shard(a_job("b"), tmp_path / "work", raw, shard) == first and made.exists()


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 40)), max_size=40), st.integers(1, 9), st.integers(1, 300)
)
def test_shards_divide_all_videos_and_none_is_too_large(videos, most, size):
    videos.sort(key=lambda video: video[0])
    splits, lengths = [split for split, _ in videos], np.array([frames for _, frames in videos], np.int64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "SHARD_BYTES", size)
        patch.setattr(shards, "SHARD_VIDEOS", most)
        planned = plan_shards(splits, lengths, 7, {"b": 5})
    assert [row for shard in planned for row in range(shard.first, shard.first + shard.videos)] == list(
        range(len(videos))
    )
    for shard in planned:
        rows = slice(shard.first, shard.first + shard.videos)
        assert len(set(splits[rows])) == 1 and shard.path.startswith(f"{splits[shard.first]}/")
        assert 1 <= shard.videos <= most and (shard.videos == 1 or lengths[rows].sum() * 7 <= size)
    names = [shard.path for shard in planned]
    assert len(set(names)) == len(names) and [n for n in names if n[0] == "b"][:1] in ([], ["b/b-00005.tfrecord"])
