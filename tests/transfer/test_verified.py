import hashlib
import os

import google_crc32c
import pytest

from pipeline.transfer.source import Remote
from pipeline.transfer.verified import LEDGER, Checksums, Ledger, PartialFile, checksums_of, difference, partial_path

# ------------------------------------------------------------------------------------------------------------ checksums


def test_checksums_are_those_of_the_whole(tmp_path):
    data = os.urandom(3_000_001)
    (tmp_path / "file").write_bytes(data)
    pieces = []
    got = checksums_of(tmp_path / "file", pieces.append)
    assert (got.size, got.md5, got.crc32c) == (len(data), hashlib.md5(data).hexdigest(), google_crc32c.value(data))
    assert sum(pieces) == len(data)


def test_known_values():
    checksums = Checksums()
    checksums.update(b"1234")
    checksums.update(b"56789")
    assert checksums.crc32c == 0xE3069283  # the check value of CRC-32C
    assert checksums.md5 == "25f9e794323b453885f5181f1b624d0b"


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (Remote("a"), None),
        (Remote("a", 9, "25f9e794323b453885f5181f1b624d0b", 0xE3069283), None),
        (Remote("a", 8), "size"),
        (Remote("a", 9, "0" * 32), "md5"),
        (Remote("a", md5="25f9e794323b453885f5181f1b624d0b", crc32c=0), "crc32c"),
    ],
)
def test_what_differs_is_said(file, said):
    checksums = Checksums()
    checksums.update(b"123456789")
    assert (said in difference(file, checksums)) if said else difference(file, checksums) is None


# --------------------------------------------------------------------------------------------------------- bytes so far


def test_a_part_goes_on_where_an_earlier_one_was(tmp_path):
    path, told = tmp_path / "train" / "file", []
    first = PartialFile(path, True, told.append)
    first.write(b"12345")
    first.close()
    assert partial_path(path).read_bytes() == b"12345" and not path.exists()
    second = PartialFile(path, True, told.append)
    assert (second.size, second.furthest) == (5, 5)
    second.write(b"6789")
    second.take_name()
    assert path.read_bytes() == b"123456789" and not partial_path(path).exists()
    assert second.checksums.md5 == hashlib.md5(b"123456789").hexdigest()
    assert told == [5, 5, 4]


def test_a_part_that_cannot_be_checked_begins_anew(tmp_path):
    partial_path(tmp_path / "file").write_bytes(b"of another version")
    part = PartialFile(tmp_path / "file", False, lambda count: None)
    assert part.size == 0
    part.write(b"new")
    part.take_name()
    assert (tmp_path / "file").read_bytes() == b"new"


def test_beginning_anew_takes_back_what_was_told(tmp_path):
    told = []
    part = PartialFile(tmp_path / "file", True, told.append)
    part.write(b"12345")
    part.begin_anew()
    assert (sum(told), part.size, part.furthest) == (0, 0, 5)
    part.close()
    assert list(tmp_path.iterdir()) == []


def test_an_empty_file_takes_its_name_too(tmp_path):
    part = PartialFile(tmp_path / "file", True, lambda count: None)
    part.take_name()
    assert (tmp_path / "file").read_bytes() == b""


def test_links_in_the_place_of_a_part_are_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    partial_path(tmp_path / "file").symlink_to(victim)
    with pytest.raises(OSError):
        PartialFile(tmp_path / "file", True, lambda count: None)
    assert victim.read_bytes() == b"precious"


def test_a_link_in_the_place_of_the_file_is_replaced(tmp_path):
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / "file").symlink_to(victim)
    part = PartialFile(tmp_path / "file", True, lambda count: None)
    part.write(b"new")
    part.take_name()
    assert victim.read_bytes() == b"precious" and not (tmp_path / "file").is_symlink()


# ----------------------------------------------------------------------------------------------------------- the record


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "raw" / "train" / "Ä.tfrecord"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"123456789")
    return path


def record(tmp_path, file):
    Ledger(tmp_path).record(file, checksums_of(file))


def test_what_was_recorded_is_remembered(tmp_path, file):
    record(tmp_path, file)
    entry = Ledger(tmp_path).verified(file)
    assert (entry.size, entry.md5) == (9, "25f9e794323b453885f5181f1b624d0b")
    assert difference(Remote("a", 9, entry.md5), entry) is None and difference(Remote("a"), entry) is None
    assert difference(Remote("a", md5="0" * 32), entry) and difference(Remote("a", crc32c=1), entry)


def test_a_file_that_changed_is_unknown(tmp_path, file):
    record(tmp_path, file)
    ledger = Ledger(tmp_path)
    os.utime(file, ns=(0, file.stat().st_mtime_ns + 1))
    assert ledger.verified(file) is None
    file.unlink()
    assert ledger.verified(file) is None


def test_torn_lines_cost_no_more_than_themselves(tmp_path, file):
    record(tmp_path, file)
    other = file.with_name("other")
    other.write_bytes(b"")
    path = tmp_path / LEDGER
    for damage in (b'{"name": "raw/tr', b"\xff\xfe\n[]\n3\nnull\n", b'{"name": "x", "size": 1}'):
        path.write_bytes(path.read_bytes() + damage)
        record(tmp_path, other)
        ledger = Ledger(tmp_path)
        assert ledger.verified(file) and ledger.verified(other)


def test_the_last_line_of_a_name_counts(tmp_path, file):
    record(tmp_path, file)
    file.write_bytes(b"other")
    record(tmp_path, file)
    assert Ledger(tmp_path).verified(file).size == 5
