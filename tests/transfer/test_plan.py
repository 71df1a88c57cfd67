import json

import pytest

from pipeline.config.errors import StageError
from pipeline.transfer.names import Fraction
from pipeline.transfer.plan import Partition, at_fraction, read_plan
from pipeline.transfer.source import Refused, Remote, Unavailable

MD5 = "0123456789abcdef0123456789ABCDEF"


def test_partitions_know_their_plans():
    assert Partition.parse("2/frame/train").plan == "2/download_plans/frame_train.json"
    assert Partition.parse("3/frame/validate").plan == "3/download_plans/frame_validate.json"
    assert str(Partition.parse("2/video/test")) == "2/video/test"


@pytest.mark.parametrize("text", ["", "2/frame", "2/frame/holdout", "3/frame/train", "2/audio/train", "2/frame/../x"])
def test_what_is_no_partition_is_said(text):
    with pytest.raises(StageError, match=r"partition|no split"):
        Partition.parse(text)


def test_plans_are_read():
    plan = json.dumps({"files": {"trainpj.tfrecord": MD5, "trainaa.tfrecord": MD5}}).encode()
    assert read_plan(plan, "here") == [
        Remote("trainpj.tfrecord", md5=MD5.lower()),
        Remote("trainaa.tfrecord", md5=MD5.lower()),
    ]


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ([], "not a download plan"),
        ({}, "not a download plan"),
        ({"files": []}, "not a download plan"),
        ({"files": {"a": 3}}, "not a download plan"),
        ({"files": {"a": "12"}}, "no md5"),
        ({"files": {}}, "lists no files"),
        ({"files": {"../a.tfrecord": MD5}}, "../a.tfrecord"),
        ({"files": {"/etc/passwd": MD5}}, "/etc/passwd"),
        ({"files": {"..%2fa": MD5}}, "..%2fa"),
        ({"files": {"a/b.tfrecord": MD5}}, "a/b.tfrecord"),
        ({"files": {"a\\b": MD5}}, "backslash"),
    ],
)
def test_bad_plans_are_refused_with_what_is_wrong(plan, said):
    with pytest.raises(Refused) as caught:
        read_plan(json.dumps(plan).encode(), "http://here")
    assert said in str(caught.value)


@pytest.mark.parametrize("text", [b"", b"<html>", b'{"files": {"a": ', b"\xff\xfe"])
def test_what_is_not_json_may_be_another_time(text):
    with pytest.raises(Unavailable, match="here"):
        read_plan(text, "here")


def test_fractions_keep_the_order():
    files = [Remote(f"train{n:04}.tfrecord") for n in range(100, 0, -1)]
    halves = [at_fraction(files, Fraction(part, 2)) for part in (1, 2)]
    assert sorted(halves[0] + halves[1], key=files.index) == files
    assert [sorted(half, key=files.index) for half in halves] == halves and all(halves)
