import hashlib
import string

import pytest

from pipeline.config.errors import StageError
from pipeline.transfer.names import Fraction, lettered, numbered, safe_name, shard_number, split_of
from pipeline.transfer.source import Refused

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
    assert (shard_number("aa"), shard_number("ab"), shard_number("ba"), shard_number("99")) == (0, 1, 62, 3843)
    assert numbered("trainpj.tfrecord") == "train0939.tfrecord"  # as the official script does
    assert [numbered(name) for name in names_of("test")] == [f"test{n:04}.tfrecord" for n in range(3844)]
    assert [lettered(f"test{n:04}.tfrecord") for n in range(3844)] == names_of("test")


@pytest.mark.parametrize("name", ["train3844.tfrecord", "train9999.tfrecord", "other0001.tfrecord", "x", "trainpj"])
def test_other_names_have_one_form(name):
    assert lettered(name) == name and numbered(name) is None and split_of(name) is None


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
        assert [n for n in map(numbered, names) if n in Fraction(part, 7)] == [numbered(name) for name in chosen]
        assert all(f"some/folder/{name}" in Fraction(part, 7) for name in chosen)


@pytest.mark.parametrize("text", ["1/100", "1,100"])
def test_fractions_are_read(text):
    assert Fraction.parse(text) == Fraction(1, 100)
    assert str(Fraction.parse(text)) == "1/100"


@pytest.mark.parametrize("text", ["", "1", "0/3", "4/3", "1/0", "-1/3", "1/3/5", "a/b", "1.5/3", "١/٣"])
def test_what_is_no_fraction_is_said(text):
    with pytest.raises(StageError, match="--fraction"):
        Fraction.parse(text)
