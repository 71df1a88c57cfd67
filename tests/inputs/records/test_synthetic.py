"""Made-up videos: the same whoever makes them, and shaped like the real ones."""

import csv
import dataclasses
import gzip
import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from pipeline.config import ConfigError, DatasetConfig, FeatureConfig, SynthesisConfig, to_dict
from pipeline.inputs.records import synthetic, tfrecord
from pipeline.inputs.records.synthetic import (
    AWKWARD_IDS,
    Shard,
    make_video,
    plan_shards,
    video_ids,
    vocabulary,
    write_shard,
)
from pipeline.metrics import global_average_precision

REPOSITORY = Path(__file__).parents[3]
SMALL = DatasetConfig("small", (FeatureConfig("rgb", 64), FeatureConfig("audio", 16)), 40, synthetic=True)
FEW = SynthesisConfig(train_videos=23, test_videos=12, videos_per_shard=10, min_frames=5, max_frames=20)
FULL = DatasetConfig("full", (FeatureConfig("rgb", 1024), FeatureConfig("audio", 128)), 256, synthetic=True)


def dequantized(frames: np.ndarray) -> np.ndarray:
    return frames * (4 / 255) + 4 / 512 - 2


def draw_labels(num_classes: int, videos: int) -> np.ndarray:
    """Labels of many videos, bool [N,V]."""
    rng, classes = np.random.default_rng(0), vocabulary(num_classes, 0)
    labels = np.zeros((videos, num_classes), bool)
    for row in labels:
        drawn = classes.draw(rng)
        row[drawn] = True
        assert row.sum() == len(drawn), "a label was drawn twice"
    return labels


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    return draw_labels(256, 20_000)


# --------------------------------------------------------------------------------------------------------------- shards


def test_plan_holds_every_video_once_under_names_like_the_mirrors():
    shards = plan_shards(SMALL, FEW)
    assert len({shard.path.casefold() for shard in shards}) == len(shards) == 5
    for split, videos in (("train", 23), ("test", 12)):
        mine = [shard for shard in shards if shard.split == split]
        assert [n for shard in mine for n in range(shard.first, shard.first + shard.count)] == list(range(videos))
        assert all(re.fullmatch(rf"{split}/{split}[a-zA-Z0-9]{{2}}\.tfrecord", shard.path) for shard in mine)


def test_plan_refuses_features_that_are_not_made():
    with pytest.raises(ConfigError, match="frame level must be uint8"):
        plan_shards(dataclasses.replace(SMALL, features=(FeatureConfig("rgb", 8, "float32"),)), FEW)
    with pytest.raises(ConfigError, match="video level must be float32"):
        plan_shards(dataclasses.replace(SMALL, level="video"), FEW)


def test_a_shard_parses_to_its_videos(tmp_path):
    for shard in plan_shards(SMALL, FEW):
        assert write_shard(SMALL, FEW, shard, tmp_path) == shard.count
        records = list(tfrecord.scan_records(tmp_path / shard.path))
        assert [record.fault for record in records] == [None] * shard.count
        identities = video_ids(FEW.seed, shard.split, range(shard.first, shard.first + shard.count))
        for number, (identity, record) in enumerate(zip(identities, records), shard.first):
            video = make_video(SMALL, FEW, shard.split, number)
            message = tf.train.SequenceExample.FromString(bytes(record.payload))
            context = message.context.feature
            assert context["id"].bytes_list.value[:] == [identity.encode()]
            if shard.split == "test":
                assert list(context) == ["id"]
            else:
                assert context["labels"].int64_list.value[:] == video.labels.tolist()
            for name, size in (("rgb", 64), ("audio", 16)):
                rows = message.feature_lists.feature_list[name].feature
                frames = [np.frombuffer(row.bytes_list.value[0], np.uint8) for row in rows]
                np.testing.assert_array_equal(frames, video.frames[name])
                assert video.frames[name].shape == (len(video.shown), size)


def test_video_level_holds_the_means_of_the_frames(tmp_path):
    means = (FeatureConfig("mean_rgb", 64, "float32"), FeatureConfig("audio", 16, "float32", "mean_audio"))
    dataset = dataclasses.replace(SMALL, level="video", features=means, id_keys=("video_id",), labels_key="classes")
    shard = plan_shards(dataset, FEW)[0]
    write_shard(dataset, FEW, shard, tmp_path)
    for number, record in enumerate(tfrecord.scan_records(tmp_path / shard.path)):
        video = make_video(SMALL, FEW, "train", number)
        features = tf.train.Example.FromString(bytes(record.payload)).features.feature
        assert sorted(features) == ["classes", "mean_audio", "mean_rgb", "video_id"]
        assert features["classes"].int64_list.value[:] == video.labels.tolist()
        for name in ("rgb", "audio"):
            expected = dequantized(video.frames[name]).mean(0)
            np.testing.assert_allclose(features[f"mean_{name}"].float_list.value, expected, atol=1e-6)


def test_another_process_writes_the_same_bytes_in_any_order(tmp_path):
    shards = plan_shards(SMALL, FEW)
    for shard in reversed(shards):
        write_shard(SMALL, FEW, shard, tmp_path)
    expected = {shard.path: hashlib.sha256((tmp_path / shard.path).read_bytes()).hexdigest() for shard in shards}
    script = f"""
import hashlib, json, pathlib
from pipeline.config import *
from pipeline.inputs.records.synthetic import *
dataset, few = from_dict(DatasetConfig, {to_dict(SMALL)}), from_dict(SynthesisConfig, {to_dict(FEW)})
folder = pathlib.Path({str(tmp_path / "again")!r})
for shard in plan(dataset, few):
    write_shard(dataset, few, shard, folder)
print(json.dumps({{s.path: hashlib.sha256((folder / s.path).read_bytes()).hexdigest() for s in plan(dataset, few)}}))
"""
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "PYTHONHASHSEED": "7"}
    command = [sys.executable, "-c", script]
    printed = subprocess.run(command, cwd=REPOSITORY, env=environment, check=True, capture_output=True, text=True)
    assert json.loads(printed.stdout) == expected


def test_a_video_depends_on_seed_split_and_number_only():
    def first_bytes(split="train", number=3, **changes) -> bytes:
        video = make_video(SMALL, dataclasses.replace(FEW, **changes), split, number)
        return b"".join(frames.tobytes() for frames in video.frames.values())

    assert first_bytes() == first_bytes(train_videos=100, test_videos=1, videos_per_shard=1)
    assert len({first_bytes(), first_bytes(seed=1), first_bytes(split="test"), first_bytes(number=4)}) == 4


def test_a_shard_that_fails_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(synthetic, "make_video", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_shard(SMALL, FEW, Shard("train/trainaa.tfrecord", "train", 0, 2), tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_ids_are_unique_and_look_like_real_ones():
    ids = video_ids(0, "train", range(40_000)) + video_ids(0, "test", range(20_000))
    assert len(set(ids)) == 60_000
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{4}", identity) for identity in ids)
    assert 0.01 < np.mean([identity.startswith("-") for identity in ids]) < 0.02
    assert video_ids(0, "test", range(8)) == list(AWKWARD_IDS)
    assert video_ids(0, "test", range(5, 12)) == video_ids(0, "test", range(12))[5:]
    assert not set(video_ids(1, "train", range(100))) & set(ids[:100])


def test_all_ids_there_are_fit_in_four_characters():
    last = range(64**4 // 2 - 3, 64**4 // 2)
    assert len(set(video_ids(0, "train", last) + video_ids(0, "test", last))) == 6


def test_more_shards_than_names_are_refused_with_the_remedy():
    with pytest.raises(ConfigError, match="videos-per-shard must be at least 11"):
        dataclasses.replace(FEW, train_videos=38441)
    last = plan_shards(SMALL, dataclasses.replace(FEW, train_videos=38440, test_videos=0))[-1]
    assert (last.first, last.count) == (38430, 10)


@pytest.mark.parametrize(
    "field, value",
    [
        ("train_videos", -1),
        ("test_videos", 64**4),
        ("videos_per_shard", 0),
        ("min_frames", 0),
        ("min_frames", 21),
        ("appearances", 0),
        ("background", 0.0),
        ("background", 1.0),
        ("confusion", 1.0),
        ("seed", -1),
    ],
)
def test_impossible_settings_are_refused_by_name(field, value):
    with pytest.raises(ConfigError, match=field.replace("_", "-")):
        dataclasses.replace(FEW, **{field: value})


# --------------------------------------------------------------------------------------------------------------- labels


def test_labels_follow_the_real_frequencies(labels):
    found, wanted = labels.mean(0), vocabulary(256, 0).frequency
    np.testing.assert_allclose(found[:10], wanted[:10], rtol=0.15)
    assert np.abs(found - wanted).sum() / wanted.sum() < 0.09
    lengths = np.bincount(labels.sum(1), minlength=21)[1:] / len(labels)
    np.testing.assert_allclose(lengths[:5], (0.246, 0.226, 0.187, 0.154, 0.089), atol=0.012)
    assert lengths[5:].sum() == pytest.approx(0.098, abs=0.01)


def test_all_real_classes_have_the_published_quantiles_and_shares():
    frequency = vocabulary(3862, 0).frequency
    count = frequency / frequency[0] * 788288
    np.testing.assert_allclose(np.quantile(count, [0.9, 0.75, 0.5, 0.25, 0]), (3824, 1200, 440, 234, 123), rtol=0.02)
    shares = [frequency[:k].sum() / frequency.sum() for k in (10, 100, 500)]
    np.testing.assert_allclose(shares, (0.289, 0.613, 0.828), atol=0.005)


@pytest.mark.parametrize("num_classes", [1, 2, 5, 20, 26])
def test_few_classes_have_as_many_labels_as_there_are(num_classes):
    drawn = draw_labels(num_classes, 500)
    assert drawn.sum(1).min() == 1
    assert drawn.sum(1).max() <= min(20, num_classes)
    assert drawn.any(0).sum() >= 0.8 * num_classes


def test_a_parent_mostly_comes_with_its_child(labels):
    children = np.flatnonzero(vocabulary(256, 0).parent >= 0)
    parents = vocabulary(256, 0).parent[children]
    assert (parents < children).all()
    together = [labels[labels[:, child], parent].mean() for child, parent in zip(children, parents)]
    assert 0.6 < np.mean(together) < 0.85


def company(labels: np.ndarray) -> tuple[float, float, float]:
    """Of the pairs of labels in videos, the shares with a lift above 10 and below 1; and, of the 100 most frequent
    classes, the mean of the largest P(other | class)."""
    dense = labels.astype(np.float32)
    pairs = (dense.T @ dense).astype(np.int64)
    frequency = np.maximum(np.diag(pairs), 1)
    np.fill_diagonal(pairs, 0)
    lift = pairs * len(labels) / np.outer(frequency, frequency)
    conditional = (pairs / frequency[:, None]).max(1)
    shares = [pairs[chosen].sum() / pairs.sum() for chosen in (lift > 10, lift < 1)]
    return *shares, conditional[np.argsort(-frequency)[:100]].mean()


@pytest.mark.real_data
def test_labels_keep_company_like_the_real_ones(labels, shared_data):
    with gzip.open(shared_data / "validate_labels.csv.gz", "rt") as file:
        rows = [row["labels"].split() for row, _ in zip(csv.DictReader(file), range(50_000))]
    flat = np.array([int(label) for row in rows for label in row])
    video = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    frequent = np.argsort(-np.bincount(flat, minlength=3862), kind="stable")[:256]
    real = np.zeros((len(rows), 3862), bool)
    real[video, flat] = True
    real = real[:, frequent]
    real = real[real.any(1)]
    made, wanted = company(labels), company(real)
    assert made[0] == pytest.approx(wanted[0], abs=0.15)
    assert made[1] == pytest.approx(wanted[1], abs=0.05)
    assert made[2] == pytest.approx(wanted[2], abs=0.1)

    lengths = np.bincount(np.bincount(video), minlength=21)[1:] / len(rows)
    np.testing.assert_allclose(np.diff(vocabulary(3862, 0).lengths, prepend=0), lengths, atol=0.005)


@pytest.mark.real_data
def test_frequencies_are_those_of_the_real_vocabulary(shared_data):
    with (shared_data / "vocabulary.csv").open(newline="", encoding="utf-8") as file:
        count = np.sort([int(row["TrainVideoCount"]) for row in csv.DictReader(file)])[::-1]
    frequency = vocabulary(len(count), 0).frequency
    np.testing.assert_allclose(frequency / frequency[0], count / count[0], rtol=0.15)


# --------------------------------------------------------------------------------------------------------------- frames


def test_frames_have_the_real_deviations():
    synthesis = SynthesisConfig(min_frames=60, max_frames=150)
    videos = [make_video(FULL, synthesis, "train", number) for number in range(150)]
    for name, over_videos in (("rgb", 0.46), ("audio", 0.69)):
        values = [dequantized(video.frames[name]) for video in videos]
        assert np.std([frames.mean(0) for frames in values], axis=0).mean() == pytest.approx(over_videos, abs=0.03)
        assert np.concatenate(values[:40]).std(0).mean() == pytest.approx(0.87, abs=0.03)
        assert abs(np.mean([frames.mean() for frames in values])) < 0.03
    counts = [len(video.shown) for video in videos]
    assert min(counts) >= 60
    assert max(counts) <= 150
    assert len(set(counts)) > 60


def test_scenes_are_irregular_and_frames_drift_within_them():
    synthesis = SynthesisConfig(min_frames=2000, max_frames=2000, background=0.3)
    video = next(
        video for number in range(99) if len((video := make_video(FULL, synthesis, "train", number)).labels) > 6
    )
    cuts = np.flatnonzero(np.diff(video.shown)) + 1
    assert np.diff(cuts).min() >= 2
    assert len(set(np.diff(cuts).tolist())) > 15
    steps = np.diff(dequantized(video.frames["rgb"]), axis=0).std(1)  # from each frame to the next
    assert steps[cuts - 1].min() > 1.3 * np.median(steps)  # a cut is seen
    # Of an autoregressive drift of deviation 0.51, memory 0.8, a step has sqrt(2 * (1 - 0.8)) * 0.51 = 0.32.
    assert np.median(steps) == pytest.approx(0.32, abs=0.02)


@pytest.mark.parametrize("background", [0.3, 0.7])
def test_background_has_its_mean_share_of_scenes_and_varies(background):
    synthesis = SynthesisConfig(min_frames=200, max_frames=200, background=background)
    dataset = dataclasses.replace(SMALL, features=(FeatureConfig("rgb", 2),))
    videos = [make_video(dataset, synthesis, "train", number) for number in range(400)]
    shares = [np.mean(video.shown < 0) for video in videos]
    assert np.mean(shares) == pytest.approx(background, abs=0.05)
    assert np.std(shares) > 0.15
    assert all(set(video.labels) == set(video.shown[video.shown >= 0]) for video in videos)


def nearest(dataset: DatasetConfig, synthesis: SynthesisConfig, videos: int) -> tuple[float, list[int]]:
    """How often the class that a frame shows has the appearance nearest to it; how many of them each label uses."""
    feature = dataset.features[0]
    classes, backgrounds, basis = synthetic._appearances(feature, dataset.num_classes, synthesis)
    known = np.concatenate([classes.reshape(-1, classes.shape[2]), backgrounds]) * (1 - synthesis.confusion) ** 0.5
    right, used = [], []
    for number in range(videos):
        video = make_video(dataset, synthesis, "train", number)
        found = dequantized(video.frames[feature.name]) @ np.linalg.pinv(basis)  # n,D
        best = ((known**2).sum(1) - 2 * found @ known.T).argmin(1)
        right.append((np.where(best < classes[..., 0].size, best // synthesis.appearances, -1) == video.shown).mean())
        used += [len(set(best[video.shown == label] % synthesis.appearances)) for label in set(video.shown) - {-1}]
    return np.mean(right), used


def test_frames_show_the_appearances_of_their_class():
    dataset = DatasetConfig("pictures", (FeatureConfig("rgb", 512),), 20, synthetic=True)
    clear = SynthesisConfig(min_frames=60, max_frames=60, appearances=8, confusion=0.0)
    share, used = nearest(dataset, clear, 30)
    assert share > 0.99
    assert np.mean([count <= 2 for count in used]) > 0.9  # of eight; a wrong guess adds one now and then
    assert max(used) > 1
    confused, _ = nearest(dataset, dataclasses.replace(clear, confusion=0.8), 30)
    assert 1.2 / 20 < confused < 0.9 * share


def test_sound_tells_less_than_pictures():
    dataset = DatasetConfig("both", (FeatureConfig("rgb", 512), FeatureConfig("audio", 512)), 20, synthetic=True)
    clear = SynthesisConfig(min_frames=60, max_frames=60, confusion=0.0, background=0.1)
    sound = dataclasses.replace(dataset, features=dataset.features[1:])
    assert nearest(sound, clear, 30)[0] == pytest.approx(0.6 * 0.9 + 0.1, abs=0.1)
    assert nearest(dataset, clear, 30)[0] > 0.99


def test_the_mean_beats_the_priors_and_knowing_the_class_frames_beats_the_mean():
    """What pooling is to win: a ridge regression on means over all frames, and over those that show a class."""
    dataset = DatasetConfig("small", (FeatureConfig("rgb", 256),), 64, synthetic=True)
    synthesis = SynthesisConfig(min_frames=60, max_frames=100)
    videos = [make_video(dataset, synthesis, "train", number) for number in range(1200)]
    truth = np.zeros((1200, 64))
    for row, video in zip(truth, videos):
        row[video.labels] = 1

    def score(frames_of) -> float:
        x = np.array([dequantized(video.frames["rgb"][frames_of(video)]).mean(0) for video in videos])
        x = np.column_stack([x, np.ones(1200)])
        weights = np.linalg.solve(x[:1000].T @ x[:1000] + 30 * np.eye(257), x[:1000].T @ truth[:1000])
        return global_average_precision(np.clip(x[1000:] @ weights, 0, 1), truth[1000:].astype(bool))

    priors = global_average_precision(np.tile(truth[:1000].mean(0), (200, 1)), truth[1000:].astype(bool))
    mean, oracle = score(lambda video: slice(None)), score(lambda video: video.shown >= 0)
    assert mean > 2 * priors
    assert oracle > mean + 0.08
