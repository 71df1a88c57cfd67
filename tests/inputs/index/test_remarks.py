"""What is said of an index: each thing where it is so, and nothing of a good one."""

import dataclasses
import re

import numpy as np
import pytest
from fixtures.support import SMALL, write_shard

from pipeline.inputs.index import Source
from pipeline.inputs.index.build import write_index
from pipeline.inputs.index.check import check_shard
from pipeline.inputs.index.remarks import dataset_remarks
from pipeline.inputs.records import tfrecord
from pipeline.inputs.records.encoding import encode_sequence_example

HALF = dataclasses.replace(SMALL, max_frames=30, holdout_percent=50)
UNCHOSEN = "the best epoch cannot be chosen, so the last one's weights are kept, and an ensemble's weights are equal"


def said(folder, dataset=HALF, **splits) -> list[str]:
    """Of an index of shards: ranges of ordinary videos, or payloads."""
    sources = [Source(folder / f"{split}.tfrecord", split.rstrip("0123456789")) for split in splits]
    for source, videos in zip(sources, splits.values()):
        if isinstance(videos, range):
            write_shard(source.path, videos)
        else:
            with source.path.open("wb") as file:
                tfrecord.write_records(file, videos)
    (folder / "index").mkdir()
    reports = [check_shard(source.path, dataset) for source in sources]
    return dataset_remarks(write_index(folder / "index", dataset, sources, reports))


def video(number: int, labels: list[int] | None, audio: int | None = None) -> bytes:
    frames = np.random.default_rng(number).integers(0, 256, (4, 8), np.uint8)
    sound = frames[:, 6:] if audio is None else np.full((4, 2), audio, np.uint8)
    context = {"id": f"v{number}"} | ({} if labels is None else {"labels": np.array(labels, np.int64)})
    return encode_sequence_example(context, {"rgb": frames[:, :6], "audio": sound})


def test_of_a_good_index_nothing_is_said(tmp_path):
    assert said(tmp_path, train=range(200), test=range(300, 320)) == []


def test_videos_that_are_cut_are_counted(tmp_path):
    """Video n has 1 + 3n mod 17 frames."""
    cut = sum(1 + 3 * number % 17 > 12 for number in [*range(200), *range(300, 320)])
    dataset = dataclasses.replace(HALF, max_frames=12)
    assert said(tmp_path, dataset, train=range(200), test=range(300, 320)) == [
        f"more than 12 frames in {cut} of 220 videos, up to 17: at most 12 are read, spread over the whole length; "
        "see --dataset.max-frames"
    ]


def test_files_without_a_video_are_named(tmp_path):
    """One is empty, one holds nothing but what is quarantined."""
    remark, *others = said(tmp_path, train=range(200), train1=[], test=[video(1, [99])], test1=range(3))
    assert remark == (
        f"2 files empty or damaged, without a video: {tmp_path / 'train1.tfrecord'}, {tmp_path / 'test.tfrecord'}"
    )
    assert [other.partition(" ")[0] for other in others] == ["3"]  # videos of both splits


@pytest.mark.parametrize(("audio", "what"), [(0, "is silent, 0 in"), (128, "has the same value, 128, in")])
def test_constant_features_are_named(tmp_path, audio, what):
    videos = [video(number, [number % 9], audio) for number in range(200)]
    assert said(tmp_path, train=videos) == [
        f"feature audio {what} every frame that was looked at: it cannot tell videos apart"
    ]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (lambda number: [0, 1], "have the same labels, 0, 1: nothing can be learned"),
        (lambda number: [4], "have the same labels, 4: nothing can be learned"),
        (
            lambda number: [number % 8 + 1, 0],
            "have label 0: it cannot tell them apart (perhaps the lists of labels are",
        ),
        (lambda number: [number % 9], None),
        (lambda number: [number % 2], None),
    ],
)
def test_labels_of_every_video(tmp_path, labels, expected):
    """Videos without labels do not count; one to which no class applies does, and differs."""
    videos = [video(number, labels(number) if number % 3 else None) for number in range(300)]
    unlabeled, *found = said(tmp_path, train=videos)
    assert unlabeled == (
        "100 videos to train on without labels, such as 'v0': they are neither trained on nor scored (see "
        "left_out.parquet); a video to which no class applies has an empty list of labels"
    )
    if expected is None:
        assert found == []
    else:
        (remark,) = found
        assert f"all 200 labeled training videos {expected}" in remark
        (tmp_path / "none").mkdir()
        assert said(tmp_path / "none", train=[*videos[1:3], *videos[4:], video(999, [])])[1:] == []


def test_a_handful_of_videos_may_be_alike(tmp_path):
    dataset = dataclasses.replace(HALF, train_splits=("other",))
    (only,) = said(tmp_path, dataset, test=[video(number, [1], 0) for number in range(5)])
    assert only == "there are no videos to train on: dataset.train-splits names other; there are: test"


@pytest.mark.parametrize(
    ("percent", "videos", "expected"),
    [
        (0, range(200), f"nothing is held out (--dataset.holdout-percent is 0): {UNCHOSEN}"),
        (0.001, range(50), f"0.001 % of 50 videos is too few to hold out any (--dataset.holdout-percent): {UNCHOSEN}"),
        (50, range(60), "the hold-out has only # videos; see --dataset.holdout-percent"),
        (50, [video(number, []) for number in range(200)], f"no video of the hold-out has labels: {UNCHOSEN}"),
    ],
)
def test_a_hold_out_that_chooses_nothing(tmp_path, percent, videos, expected):
    (remark,) = said(tmp_path, dataclasses.replace(HALF, holdout_percent=percent), train=videos)
    assert re.sub(r"only \d+ videos", "only # videos", remark) == expected


@pytest.mark.parametrize(
    ("held", "expected"),
    [
        ([video(number, [number % 9]) for number in range(300, 360)], []),
        (range(100, 104), ["the hold-out has only 4 videos"]),
        (
            [video(300, None)],
            [
                "1 video to train on or to hold out without labels",
                f"split holdout has no video with labels: {UNCHOSEN}",
            ],
        ),
    ],
)
def test_a_hold_out_of_its_own_takes_the_place_of_the_share(tmp_path, held, expected):
    remarks = said(tmp_path, train=[video(number, [number % 9]) for number in range(60)], holdout=held)
    told = "split holdout is the hold-out: --dataset.holdout-percent is not used, and all others are trained on"
    assert told in remarks
    remarks.remove(told)
    assert [remark.partition(", such as")[0] for remark in remarks] == expected


@pytest.mark.parametrize(("videos", "sizes"), [(60, "12"), (62, "12 to 13")])
def test_folds_take_the_place_of_the_share(tmp_path, videos, sizes):
    dataset = dataclasses.replace(HALF, folds=5)
    (remark,) = said(tmp_path, dataset, train=[video(number, [number % 9]) for number in range(videos)])
    assert remark == f"{videos} training videos in 5 folds of {sizes}: --dataset.holdout-percent is not used"
