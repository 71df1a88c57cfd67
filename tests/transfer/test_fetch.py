import contextlib
import dataclasses
import hashlib
import os
import threading
from pathlib import Path

import pytest

from pipeline.transfer.fetch import Fetch, Wanted
from pipeline.transfer.ledger import Ledger
from pipeline.transfer.part import part_of
from pipeline.transfer.retrying import RetryPolicy
from pipeline.transfer.source import Body, Refused, Remote, Unavailable

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
    missing = Fetch(source, Ledger(folder / "ledger", folder), 2, retry_policy).bring([Wanted(file, path)])
    return path, missing.get(path)


def test_a_broken_transfer_goes_on_where_it_was(tmp_path):
    source = Scripted({"upto": 30_000, "then": Unavailable("lost")}, {"upto": 80_000})
    path, fault = bring(tmp_path, source)
    assert fault is None and path.read_bytes() == DATA
    assert source.offsets == [0, 30_000, 80_000]
    assert Ledger(tmp_path / "ledger", tmp_path).entry(path)


def test_wrong_bytes_are_thrown_away(tmp_path):
    source = Scripted({"data": DATA[::-1]})
    path, fault = bring(tmp_path, source)
    assert fault is None and path.read_bytes() == DATA and source.offsets == [0, 0]


def test_bytes_that_stay_wrong_never_get_the_name(tmp_path):
    path, fault = bring(tmp_path, Scripted(*[{"data": DATA[::-1]}] * 9))
    assert "wrong bytes" in fault and "md5" in fault
    assert not path.exists() and not part_of(path).exists()


@pytest.mark.parametrize("left", [b"", DATA[:50_000], DATA, b"x" * 50_000, b"x" * len(DATA), DATA + b"more"])
def test_what_an_earlier_process_left_is_used_where_it_fits(tmp_path, left):
    (tmp_path / "train").mkdir()
    part_of(tmp_path / "train" / "file").write_bytes(left)
    source = Scripted()
    path, fault = bring(tmp_path, source)
    assert fault is None and path.read_bytes() == DATA
    assert source.offsets == {0: [0], 50_000: [50_000], len(DATA): [], len(DATA) + 4: [0]}[len(left)] + (
        [0] * (left.startswith(b"x"))
    )


def test_without_a_checksum_what_was_left_is_not_used(tmp_path):
    (tmp_path / "train").mkdir()
    part_of(tmp_path / "train" / "file").write_bytes(b"x" * 50_000)
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
    assert fault == "down" and not path.exists() and part_of(path).read_bytes() == DATA[:30_000]
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
    missing = Fetch(Half(), Ledger(tmp_path / "ledger", tmp_path), 4, POLICY).bring(wanted)
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
    missing = Fetch(Full(), Ledger(tmp_path / "ledger", tmp_path), 2, POLICY).bring(wanted)
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
    fetch = Interrupted(Endless(), Ledger(tmp_path / "ledger", tmp_path), 2, POLICY)
    with pytest.raises(KeyboardInterrupt):
        fetch.bring(wanted)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("transfer")]


def test_sizes_are_asked_for_where_they_are_unknown(tmp_path):
    class Measuring(Scripted):
        def measure(self, file):
            if file.name == "2":
                raise Refused("404")
            return dataclasses.replace(file, size=len(file.name) + 10)

    wanted = [Wanted(Remote(str(n)), Path(str(n))) for n in range(5)] + [Wanted(Remote("known", 3), Path("known"))]
    found = Fetch(Measuring(), Ledger(tmp_path / "ledger", tmp_path), 2, POLICY).measured(wanted)
    assert [one.path for one in found] == [one.path for one in wanted]
    assert [one.size for one in found] == [11, 11, None, 11, 11, 3]


def test_a_checksum_counts_more_than_a_size_that_a_server_told(tmp_path):
    class Liar(Scripted):
        def measure(self, file):
            return dataclasses.replace(file, size=17)

    fetch = Fetch(Liar(), Ledger(tmp_path / "ledger", tmp_path), 2, POLICY)
    wanted = fetch.measured([Wanted(Remote("file", md5=REMOTE.md5), tmp_path / "file")])
    assert wanted[0].size == 17 and fetch.bring(wanted) == {}
    assert (tmp_path / "file").read_bytes() == DATA
    plain = fetch.measured([Wanted(Remote("file"), tmp_path / "plain")])
    assert fetch.bring(plain).keys() == {tmp_path / "plain"} and not (tmp_path / "plain").exists()
