import contextlib
import dataclasses
import hashlib
import os
import threading
from pathlib import Path

import pytest

from pipeline.config.errors import StageError
from pipeline.transfer import fetch
from pipeline.transfer.fetch import Fetch, Wanted, free_space
from pipeline.transfer.missing import MISSING
from pipeline.transfer.origins import Directory
from pipeline.transfer.source import Body, Refused, Remote, RetryPolicy, Unavailable
from pipeline.transfer.verified import Ledger, checksums_of, partial_path

DATA = os.urandom(100_000)
POLICY = RetryPolicy(attempts=4, pause=0.001)


class Scripted:
    """A source whose n-th opening does what its n-th step says."""

    def __init__(self, *steps, data=DATA):
        self.steps = list(steps)
        self.data = data
        self.offsets = []

    def files(self):
        return []

    @contextlib.contextmanager
    def open(self, file, offset=0):
        step = self.steps.pop(0) if self.steps else {}
        self.offsets.append(offset)
        if "raises" in step:
            raise step["raises"]
        start = step.get("start", offset)
        yield Body(start, step.get("size", len(self.data)), self._chunks(start, step))

    def _chunks(self, start, step):
        data = step.get("data", self.data)[start : step.get("upto")]
        for begin in range(0, len(data), 7000):
            yield data[begin : begin + 7000]
        if "then" in step:
            raise step["then"]


REMOTE = Remote("file", len(DATA), hashlib.md5(DATA).hexdigest())


def bring(folder, source, file=REMOTE, retry_policy=POLICY):
    path = folder / "train" / "file"
    missing = Fetch(source, folder, 2, retry_policy).transfer([Wanted(file, path)])
    return path, missing.get(path)


def test_a_broken_transfer_goes_on_where_it_was(tmp_path):
    source = Scripted({"upto": 30_000, "then": Unavailable("lost")}, {"upto": 80_000})
    path, fault = bring(tmp_path, source)
    assert fault is None and path.read_bytes() == DATA
    assert source.offsets == [0, 30_000, 80_000]
    assert Ledger(tmp_path).verified(path)


def test_wrong_bytes_are_thrown_away(tmp_path):
    source = Scripted({"data": DATA[::-1]})
    path, fault = bring(tmp_path, source)
    assert fault is None and path.read_bytes() == DATA and source.offsets == [0, 0]


def test_bytes_that_stay_wrong_never_get_the_name(tmp_path):
    path, fault = bring(tmp_path, Scripted(*[{"data": DATA[::-1]}] * 9))
    assert "wrong bytes" in fault and "md5" in fault
    assert not path.exists() and not partial_path(path).exists()


@pytest.mark.parametrize("left", [b"", DATA[:50_000], DATA, b"x" * 50_000, b"x" * len(DATA), DATA + b"more"])
def test_what_an_earlier_process_left_is_used_where_it_fits(tmp_path, left):
    (tmp_path / "train").mkdir()
    partial_path(tmp_path / "train" / "file").write_bytes(left)
    source = Scripted()
    path, fault = bring(tmp_path, source)
    assert fault is None and path.read_bytes() == DATA
    assert source.offsets == {0: [0], 50_000: [50_000], len(DATA): [], len(DATA) + 4: [0]}[len(left)] + (
        [0] * (left.startswith(b"x"))
    )


def test_without_a_checksum_what_was_left_is_not_used(tmp_path):
    (tmp_path / "train").mkdir()
    partial_path(tmp_path / "train" / "file").write_bytes(b"x" * 50_000)
    source = Scripted({"upto": 60_000})
    path, fault = bring(tmp_path, source, Remote("file"))
    assert fault is None and path.read_bytes() == DATA and source.offsets == [0, 60_000]


def test_what_cannot_be_verified_at_all_is_refused(tmp_path):
    path, fault = bring(tmp_path, Scripted({"size": None}), Remote("file"))
    assert "neither its size nor a checksum" in fault and not path.exists()
    path, fault = bring(tmp_path, Scripted({"size": None}), Remote("file", md5=REMOTE.md5))
    assert fault is None and path.read_bytes() == DATA


def test_a_source_that_begins_elsewhere(tmp_path):
    cannot = Scripted({"upto": 30_000}, {"start": 0})
    path, fault = bring(tmp_path, cannot)
    assert fault is None and path.read_bytes() == DATA
    other = Scripted({"upto": 30_000}, {"start": 20_000})
    path, fault = bring(tmp_path / "other", other)
    assert fault is None and path.read_bytes() == DATA and other.offsets == [0, 30_000, 30_000]


@pytest.mark.parametrize("size", [len(DATA) - 1, len(DATA) + 1])
def test_more_or_fewer_bytes_than_there_should_be(tmp_path, size):
    path, fault = bring(tmp_path, Scripted(*[{"size": size}] * 9), dataclasses.replace(REMOTE, size=size))
    assert fault and not path.exists()


def test_progress_is_not_counted_as_failure(tmp_path):
    source = Scripted(*[{"upto": 1000 * n, "then": Unavailable("lost")} for n in range(1, 60)])
    path, fault = bring(tmp_path, source)
    assert fault is None and path.read_bytes() == DATA and len(source.offsets) == 60


def test_what_is_given_up_leaves_its_bytes_for_the_next_time(tmp_path):
    source = Scripted({"upto": 30_000}, *[{"raises": Unavailable("down")}] * 99)
    path, fault = bring(tmp_path, source)
    assert fault == "down" and not path.exists() and partial_path(path).read_bytes() == DATA[:30_000]
    path, fault = bring(tmp_path, source := Scripted())
    assert fault is None and path.read_bytes() == DATA and source.offsets == [30_000]


def test_a_refusal_is_final(tmp_path):
    source = Scripted({"raises": Refused("404")})
    assert bring(tmp_path, source)[1] == "404" and source.offsets == [0]


def test_a_right_file_is_only_read_and_a_damaged_one_replaced(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "file").write_bytes(DATA)
    source = Scripted()
    assert bring(tmp_path, source)[1] is None and source.offsets == []
    (tmp_path / "train" / "file").write_bytes(DATA[:-1])
    path, fault = bring(tmp_path, source)
    assert fault is None and path.read_bytes() == DATA and source.offsets == [0]


def test_a_fault_of_one_file_leaves_the_others_alone(tmp_path):
    class Half(Scripted):
        def open(self, file, offset=0):
            if int(file.name) % 2:
                raise Refused(f"no {file.name}")
            return super().open(file, offset)

    wanted = [Wanted(dataclasses.replace(REMOTE, name=str(n)), tmp_path / str(n)) for n in range(20)]
    missing = Fetch(Half(), tmp_path, 4, POLICY).transfer(wanted)
    assert missing == {tmp_path / str(n): f"no {n}" for n in range(1, 20, 2)}
    assert all((tmp_path / str(n)).read_bytes() == DATA for n in range(0, 20, 2))


def test_a_fault_of_the_disk_ends_all(tmp_path, monkeypatch):
    full = OSError(28, "No space left on device")
    began = []

    class Full(Scripted):
        def open(self, file, offset=0):
            began.append(file.name)
            raise full

    wanted = [Wanted(dataclasses.replace(REMOTE, name=str(n)), tmp_path / str(n)) for n in range(50)]
    missing = Fetch(Full(), tmp_path, 2, POLICY).transfer(wanted)
    assert len(missing) == 50 and 1 <= len(began) < 50
    assert "disk is full" in missing[tmp_path / began[0]]


def test_an_interrupt_ends_the_threads(tmp_path):
    started = threading.Event()

    class Endless(Scripted):
        def _chunks(self, start, step):
            while True:
                started.set()
                yield b"x"

    class Interrupted(Fetch):
        def _each(self, action, wanted):
            for result in super()._each(action, wanted):
                yield result
                started.wait(10)
                raise KeyboardInterrupt

    file = Remote("endless", 1 << 40, "0" * 32)
    wanted = [Wanted(Remote("a", 0), tmp_path / "a"), Wanted(file, tmp_path / "b")]
    transfers = Interrupted(Endless(), tmp_path, 2, POLICY)
    with pytest.raises(KeyboardInterrupt):
        transfers.transfer(wanted)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("transfer")]


def test_sizes_are_asked_for_where_they_are_unknown(tmp_path):
    class Measuring(Scripted):
        def measure(self, file):
            if file.name == "2":
                raise Refused("404")
            return dataclasses.replace(file, size=len(file.name) + 10)

    wanted = [Wanted(Remote(str(n)), Path(str(n))) for n in range(5)] + [Wanted(Remote("known", 3), Path("known"))]
    found = Fetch(Measuring(), tmp_path, 2, POLICY)._measured(wanted)
    assert [one.path for one in found] == [one.path for one in wanted]
    assert [one.size for one in found] == [11, 11, None, 11, 11, 3]


def test_a_checksum_counts_more_than_a_size_that_a_server_told(tmp_path):
    class Liar(Scripted):
        def measure(self, file):
            return dataclasses.replace(file, size=17)

    transfers = Fetch(Liar(), tmp_path, 2, POLICY)
    wanted = transfers._measured([Wanted(Remote("file", md5=REMOTE.md5), tmp_path / "file")])
    assert wanted[0].size == 17 and transfers.transfer(wanted) == {}
    assert (tmp_path / "file").read_bytes() == DATA
    plain = transfers._measured([Wanted(Remote("file"), tmp_path / "plain")])
    assert transfers.transfer(plain).keys() == {tmp_path / "plain"} and not (tmp_path / "plain").exists()


# --------------------------------------------------------------------------------------------------- all that is wanted


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
    assert Fetch(source, home, 2, POLICY).deliver(wanted, False) == 0
    assert all((home / "raw" / f"f{n}").read_bytes() == bytes([n]) * 1000 for n in range(5))
    stamps = [one.path.stat().st_mtime_ns for one in wanted]
    assert Fetch(source, home, 2, POLICY).deliver(wanted, False) == 5
    assert [one.path.stat().st_mtime_ns for one in wanted] == stamps
    assert not (home / MISSING).exists()


def test_what_is_missing_is_listed_until_it_is_there(tmp_path, source):
    home = tmp_path / "home"
    wanted = [*wanted_of(source, home), Wanted(Remote("none", 3), home / "raw" / "none")]
    with pytest.raises(StageError, match=r"missing: 1 of 6 files(.|\n)*none"):
        Fetch(source, home, 2, POLICY).deliver(wanted, False)
    assert (home / MISSING).read_text().startswith(f"{home / 'raw' / 'none'}\t")
    assert len((home / MISSING).read_text().splitlines()) == 1
    (source.root / "none").write_bytes(b"abc")
    Fetch(source, home, 2, POLICY).deliver(wanted, False)
    assert not (home / MISSING).exists()


def test_verify_reads_again_what_seems_unchanged(tmp_path, source):
    home = tmp_path / "home"
    wanted = wanted_of(source, home)
    Fetch(source, home, 2, POLICY).deliver(wanted, False)
    path = home / "raw" / "f3"
    stamp = path.stat().st_mtime_ns
    path.write_bytes(b"y" * 1000)
    os.utime(path, ns=(stamp, stamp))
    assert Fetch(source, home, 2, POLICY).deliver(wanted, False) == 5
    Fetch(source, home, 2, POLICY).deliver(wanted, True)
    assert path.read_bytes() == b"\3" * 1000


def test_another_version_does_not_replace_a_verified_file(tmp_path):
    path = tmp_path / "raw" / "f"
    path.parent.mkdir()
    path.write_bytes(b"version 2")
    Ledger(tmp_path).record(path, checksums_of(path))
    other = Remote("f", md5=hashlib.md5(b"version 3").hexdigest())
    with pytest.raises(StageError, match="the source has other content"):
        Fetch(Scripted(), tmp_path, 2, POLICY).survey([Wanted(other, path)])


def test_too_little_disk_is_said_before_the_first_byte(tmp_path, source):
    home = tmp_path / "home"
    wanted = [*wanted_of(source, home), Wanted(Remote("huge", free_space(tmp_path) + 10**9), home / "raw" / "huge")]
    with pytest.raises(StageError, match="too little disk"):
        Fetch(source, home, 2, POLICY).deliver(wanted, False)
    assert not (home / "raw").exists()
    assert "too little" in Fetch(source, home, 2, POLICY).forecast(wanted, 10)


def test_space_is_reckoned_less_what_is_there(tmp_path):
    (tmp_path / "raw").mkdir()
    wanted = [Wanted(Remote(f"f{n}", 1000), tmp_path / "raw" / f"f{n}") for n in range(3)]
    partial_path(wanted[0].path).write_bytes(b"x" * 400)
    partial_path(wanted[1].path).write_bytes(b"x" * 4000)
    assert [one.bytes_to_come() for one in wanted] == [600, 0, 1000]
    assert free_space(tmp_path / "not" / "there" / "yet") > 0


def test_a_forecast_writes_nothing(tmp_path, source):
    home = tmp_path / "home"
    text = Fetch(source, home, 2, POLICY).forecast(wanted_of(source, home), 0.0001)
    assert not home.exists()
    assert "5 files" in text and f"free at {home}: " in text and "0.8 minutes" in text


def test_a_list_that_cannot_be_written_does_not_hide_what_is_missing(tmp_path, source, monkeypatch, capsys):
    home = tmp_path / "home"
    wanted = [*wanted_of(source, home), Wanted(Remote("none", 3), home / "raw" / "none")]
    written = []
    whole = fetch.list_missing

    def once(path, missing):
        if written:
            raise OSError(28, "No space left on device")
        written.append(path)
        whole(path, missing)

    monkeypatch.setattr(fetch, "list_missing", once)
    with pytest.raises(StageError, match="1 of 6"):
        Fetch(source, home, 2, POLICY).deliver(wanted, False)
    assert "none" in (home / MISSING).read_text() and "lists what was missing before" in capsys.readouterr().out


def test_what_came_in_place_of_a_shard_never_gets_its_name(tmp_path):
    """A page that a server sends with status 200 has the size that it says; only a checksum would tell."""
    page = b"<!doctype html><title>Log in</title>"
    path = tmp_path / "train" / "a.tfrecord"
    missing = Fetch(Scripted(data=page), tmp_path, 1, POLICY).transfer([Wanted(Remote("a.tfrecord"), path)])
    assert "what came is a web page (HTML), not TFRecords" in missing[path] and not path.exists()
    file = Remote("a.tfrecord", md5=hashlib.md5(page).hexdigest())
    assert not Fetch(Scripted(data=page), tmp_path, 1, POLICY).transfer([Wanted(file, path)])
    empty = path.with_name("b.tfrecord")
    assert not Fetch(Scripted(data=b""), tmp_path, 1, POLICY).transfer([Wanted(Remote("b.tfrecord"), empty)])
