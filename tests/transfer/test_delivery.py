import hashlib

import pytest

from pipeline.config.errors import StageError
from pipeline.transfer import delivery
from pipeline.transfer.checksum import checksums_of
from pipeline.transfer.delivery import MISSING, check_space, deliver, forecast, free_space, survey
from pipeline.transfer.fetch import Wanted
from pipeline.transfer.ledger import Ledger
from pipeline.transfer.local import Directory
from pipeline.transfer.part import part_of
from pipeline.transfer.retrying import RetryPolicy
from pipeline.transfer.source import Remote

PATIENCE = RetryPolicy(attempts=2, pause=0.001)


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    for n in range(5):
        (folder / f"f{n}").write_bytes(bytes([n]) * 1000)
    return Directory(folder)


def wanted_of(source, home):
    return [Wanted(file, home / "raw" / file.name) for file in source.files()]


def test_everything_is_delivered_and_then_left_alone(tmp_path, source):
    home = tmp_path / "home"
    wanted = wanted_of(source, home)
    assert len(deliver(source, wanted, home, 2, PATIENCE, False).rest) == 5
    assert all((home / "raw" / f"f{n}").read_bytes() == bytes([n]) * 1000 for n in range(5))
    stamps = [one.path.stat().st_mtime_ns for one in wanted]
    found = deliver(source, wanted, home, 2, PATIENCE, False)
    assert (len(found.complete), len(found.rest)) == (5, 0)
    assert [one.path.stat().st_mtime_ns for one in wanted] == stamps
    assert not (home / MISSING).exists()


def test_what_is_missing_is_listed_until_it_is_there(tmp_path, source):
    home = tmp_path / "home"
    wanted = [*wanted_of(source, home), Wanted(Remote("none", 3), home / "raw" / "none")]
    with pytest.raises(StageError, match=r"1 of 6 files are missing(.|\n)*none"):
        deliver(source, wanted, home, 2, PATIENCE, False)
    assert (home / MISSING).read_text().startswith(f"{home / 'raw' / 'none'}\t")
    assert len((home / MISSING).read_text().splitlines()) == 1
    (source.root / "none").write_bytes(b"abc")
    deliver(source, wanted, home, 2, PATIENCE, False)
    assert not (home / MISSING).exists()


def test_verify_reads_again_what_seems_unchanged(tmp_path, source):
    import os

    home = tmp_path / "home"
    wanted = wanted_of(source, home)
    deliver(source, wanted, home, 2, PATIENCE, False)
    path = home / "raw" / "f3"
    stamp = path.stat().st_mtime_ns
    path.write_bytes(b"y" * 1000)
    os.utime(path, ns=(stamp, stamp))
    assert len(deliver(source, wanted, home, 2, PATIENCE, False).complete) == 5
    deliver(source, wanted, home, 2, PATIENCE, True)
    assert path.read_bytes() == b"\3" * 1000


def test_another_version_does_not_replace_a_verified_file(tmp_path):
    path = tmp_path / "raw" / "f"
    path.parent.mkdir()
    path.write_bytes(b"version 2")
    ledger = Ledger(tmp_path / "ledger", tmp_path)
    ledger.record(path, checksums_of(path))
    other = Remote("f", md5=hashlib.md5(b"version 3").hexdigest())
    with pytest.raises(StageError, match="isn't what the source has"):
        survey([Wanted(other, path)], ledger)


def test_too_little_disk_is_said_before_the_first_byte(tmp_path, source):
    home = tmp_path / "home"
    wanted = [*wanted_of(source, home), Wanted(Remote("huge", free_space(tmp_path) + 10**9), home / "raw" / "huge")]
    with pytest.raises(StageError, match="too little disk"):
        deliver(source, wanted, home, 2, PATIENCE, False)
    assert not (home / "raw").exists()
    assert "too little" in forecast(source, wanted, home, 2, PATIENCE, 10)


def test_space_is_reckoned_less_what_is_there(tmp_path):
    (tmp_path / "raw").mkdir()
    wanted = [Wanted(Remote(f"f{n}", 1000), tmp_path / "raw" / f"f{n}") for n in range(3)]
    part_of(wanted[0].path).write_bytes(b"x" * 400)
    part_of(wanted[1].path).write_bytes(b"x" * 4000)
    found = survey(wanted, Ledger(tmp_path / "ledger", tmp_path))
    assert found.bytes_to_come() == 600 + 0 + 1000
    check_space(0, tmp_path / "not" / "there" / "yet")


def test_a_forecast_writes_nothing(tmp_path, source):
    home = tmp_path / "home"
    text = forecast(source, wanted_of(source, home), home, 2, PATIENCE, 0.0001)
    assert not home.exists()
    assert "5 files" in text and f"free at {home}: " in text and "0.8 minutes" in text


def test_a_list_that_cannot_be_written_does_not_hide_what_is_missing(tmp_path, source, monkeypatch, capsys):
    home = tmp_path / "home"
    wanted = [*wanted_of(source, home), Wanted(Remote("none", 3), home / "raw" / "none")]
    written = []
    whole = delivery._list_missing

    def once(path, missing):
        if written:
            raise OSError(28, "No space left on device")
        written.append(path)
        whole(path, missing)

    monkeypatch.setattr(delivery, "_list_missing", once)
    with pytest.raises(StageError, match="1 of 6"):
        deliver(source, wanted, home, 2, PATIENCE, False)
    assert "none" in (home / MISSING).read_text() and "lists what was missing before" in capsys.readouterr().out
