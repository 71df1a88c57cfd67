import hashlib
import json
import string

import pytest

from pipeline.config.errors import StageError
from pipeline.transfer.names import Fraction, mirror_name, official_name, plan_of, read_plan, safe_name, split_of
from pipeline.transfer.source import Refused, Remote, Unavailable

OFFICIAL = string.ascii_lowercase + string.ascii_uppercase + string.digits


def names_of(split: str) -> list[str]:
    return [f"{split}{first}{second}.tfrecord" for first in OFFICIAL for second in OFFICIAL]


@pytest.mark.parametrize("name", ["a", "train/trainpj.tfrecord", "-_x..y", "100%.csv", "...", "a b", "Ä/ß", "x" * 250])
def test_safe_names_stay_as_they_are(name):
    assert safe_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/etc/passwd",
        "..",
        "../a",
        "a/../b",
        "a/..",
        "./a",
        "a//b",
        "a/",
        "C:/a",
        "a\\b",
        "..\\a",
        "a\0b",
        "a\nb",
        "a\x7fb",
        "\udcff",
        "x" * 251,
        "%2e%2e/a",
        "..%2fa",
        "a%2Fb",
        "a%5cb",
        "a%00b",
        "%252e%252e%252fa",
        "%25252525252525252525252fa",
    ],
)
def test_names_that_lead_elsewhere_are_refused_by_name(name):
    with pytest.raises(Refused) as caught:
        safe_name(name)
    assert repr(name) in str(caught.value)


def test_shard_numbers_are_base_62():
    known = {"aa": "0000", "ab": "0001", "ba": "0062", "99": "3843"}
    assert {digits: official_name(f"test{digits}.tfrecord") for digits in known} == {
        digits: f"test{number}.tfrecord" for digits, number in known.items()
    }
    assert official_name("trainpj.tfrecord") == "train0939.tfrecord"  # as the official script does
    assert [official_name(name) for name in names_of("test")] == [f"test{n:04}.tfrecord" for n in range(3844)]
    assert [mirror_name(f"test{n:04}.tfrecord") for n in range(3844)] == names_of("test")


@pytest.mark.parametrize("name", ["train3844.tfrecord", "train9999.tfrecord", "other0001.tfrecord", "x", "trainpj"])
def test_other_names_have_one_form(name):
    assert mirror_name(name) == name and official_name(name) is None and split_of(name) is None


def test_splits_are_told_by_shards_names():
    assert [split_of(name) for name in ("trainpj.tfrecord", "a/validate0001.tfrecord", "test00.tfrecord")] == [
        "train",
        "validate",
        "test",
    ]


# What md5sum says of the names. The last two digits are the remainder modulo 256, the last one that modulo 16.
BY_HAND = {
    "trainpj.tfrecord": ("8880e7de316b505f52bffef44b1874b9", 0xB9),
    "validateEZ.tfrecord": ("560460ac093b57b3effba76d7638ff01", 0x01),
    "test00.tfrecord": ("64b5d085dedcb0782bf6759d3dae7263", 0x63),
    "testgz.tfrecord": ("c6634140b202c4f8375e4f8f973a4dd0", 0xD0),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_the_fraction_rule_with_md5s_worked_out_by_hand(name):
    digest, remainder = BY_HAND[name]
    assert hashlib.md5(name.encode()).hexdigest() == digest
    assert [part for part in range(1, 257) if name in Fraction(part, 256)] == [remainder + 1]
    assert [part for part in range(1, 17) if name in Fraction(part, 16)] == [remainder % 16 + 1]
    assert name in Fraction(1, 1)


def test_a_thousandth_of_the_real_names():
    chosen = {split: [n for n in names_of(split) if n in Fraction(1, 1000)] for split in ("train", "validate", "test")}
    assert {split: len(names) for split, names in chosen.items()} == {"train": 5, "validate": 5, "test": 4}
    assert chosen["test"] == ["testgz.tfrecord", "testzd.tfrecord", "testIa.tfrecord", "testYI.tfrecord"]


def test_fractions_part_the_files_whatever_their_form():
    names = names_of("train")
    parts = [[name for name in names if name in Fraction(part, 7)] for part in range(1, 8)]
    assert sorted(name for chosen in parts for name in chosen) == sorted(names)
    for part, chosen in enumerate(parts, 1):
        assert [n for n in map(official_name, names) if n in Fraction(part, 7)] == [
            official_name(name) for name in chosen
        ]
        assert all(f"some/folder/{name}" in Fraction(part, 7) for name in chosen)


@pytest.mark.parametrize("text", ["1/100", "1,100"])
def test_fractions_are_read(text):
    assert Fraction.parse(text) == Fraction(1, 100)
    assert str(Fraction.parse(text)) == "1/100"


@pytest.mark.parametrize("text", ["", "1", "0/3", "4/3", "1/0", "-1/3", "1/3/5", "a/b", "1.5/3", "١/٣"])
def test_what_is_no_fraction_is_said(text):
    with pytest.raises(StageError, match="--fraction"):
        Fraction.parse(text)


# ---------------------------------------------------------------------------------------------------------------- plans


MD5 = "0123456789abcdef0123456789ABCDEF"


def test_partitions_know_their_plans():
    assert plan_of("2/frame/train") == "2/download_plans/frame_train.json"
    assert plan_of("3/frame/validate") == "3/download_plans/frame_validate.json"
    assert plan_of("2/video/test") == "2/download_plans/video_test.json"


@pytest.mark.parametrize("text", ["", "2/frame", "2/frame/holdout", "3/frame/train", "2/audio/train", "2/frame/../x"])
def test_what_is_no_partition_is_said(text):
    with pytest.raises(StageError, match=r"partition|no split"):
        plan_of(text)


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
