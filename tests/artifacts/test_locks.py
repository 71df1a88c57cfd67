"""Locks: one process at a time, whatever becomes of the folder meanwhile."""

import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import threading

import pytest
from fixtures.support import ROOT

from pipeline.artifacts import locks
from pipeline.artifacts.locks import Busy, locked
from pipeline.config.errors import StageError

HOLD = (
    "import sys, time\nfrom pathlib import Path\nfrom pipeline.artifacts.locks import locked\n"
    "with locked(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(60)\n"
)


def holder(place) -> subprocess.Popen:
    command = [sys.executable, "-c", HOLD, str(place)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_process_is_refused_and_told_who_holds_it(tmp_path):
    process = holder(tmp_path / "run")
    told = rf"another process is at work on .*run \(process {process.pid} on .+\); wait"
    with pytest.raises(StageError, match=told), locked(tmp_path / "run"):
        pass
    process.send_signal(signal.SIGKILL)
    process.wait()
    with locked(tmp_path / "run"):  # the lock of what is dead is no lock
        pass
    assert list(tmp_path.iterdir()) == []


def test_deleting_what_is_locked_does_not_open_it(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    with locked(folder):
        shutil.rmtree(folder)
        folder.mkdir()
        with pytest.raises(StageError, match="is at work on"), locked(folder):
            pass


@pytest.mark.parametrize("fault", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS])
def test_a_file_system_without_locks_is_warned_of_once(tmp_path, monkeypatch, capsys, fault):
    def flock(descriptor, operation):
        raise OSError(fault, os.strerror(fault))

    locks._warn.cache_clear()
    monkeypatch.setattr(fcntl, "flock", flock)
    for _ in range(2):
        with locked(tmp_path / "run") as guarded:
            assert not guarded
    assert list(tmp_path.iterdir()) == []
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and f"nothing can be locked here ({os.strerror(fault)})" in told
    locks._warn.cache_clear()


@pytest.mark.parametrize("fault, lines", [(errno.EROFS, 0), (errno.EACCES, 1)])
def test_where_nothing_may_be_written_what_is_only_read_is_used(tmp_path, monkeypatch, capsys, fault, lines):
    def refuse(path, *_):
        raise OSError(fault, os.strerror(fault), str(path))

    locks._warn.cache_clear()
    monkeypatch.setattr(os, "open", refuse)
    with locked(tmp_path / "run") as guarded:
        assert not guarded
    assert capsys.readouterr().err.count("\n") == lines
    locks._warn.cache_clear()


def test_a_lock_that_fails_is_not_taken_for_one_that_is_held(tmp_path, monkeypatch):
    def flock(descriptor, operation):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(OSError, match=r"Input/output error: .*run\.lock"), locked(tmp_path / "run"):
        pass


def test_a_full_disk_may_still_be_locked(tmp_path, monkeypatch):
    """An empty file needs no room; who holds it is not told then."""

    def write(descriptor, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", write)
    with locked(tmp_path / "run") as guarded:
        assert guarded
        with pytest.raises(StageError, match=r"is at work on .*run; wait"), locked(tmp_path / "run"):
            pass


def test_no_two_are_ever_inside(tmp_path):
    """Locks are deleted when they end: who comes just then must not hold a file that nobody sees any more."""
    inside, most, entered = [], [], []

    def enter() -> None:
        for _ in range(300):
            try:
                with locked(tmp_path / "run"):
                    inside.append(1)
                    most.append(len(inside))
                    inside.pop()
                    entered.append(1)
            except StageError:
                continue

    threads = [threading.Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1 and len(entered) > 20


def test_those_who_share_a_lock_keep_out_those_who_do_not(tmp_path):
    place = tmp_path / "run"
    with locked(place, shared=True):
        with locked(place, shared=True), pytest.raises(Busy), locked(place):
            pass
        with pytest.raises(Busy), locked(place):  # the first to end leaves the lock to the other
            pass
    with locked(place), pytest.raises(Busy), locked(place, shared=True):
        pass
    assert list(tmp_path.iterdir()) == []


def test_who_is_patient_gets_the_lock_when_it_is_free(tmp_path):
    held, free = threading.Event(), threading.Event()

    def hold():
        with locked(tmp_path / "run"):
            held.set()
            free.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(60)
    with pytest.raises(Busy), locked(tmp_path / "run", patience=0.2):
        pass
    threading.Timer(0.2, free.set).start()
    with locked(tmp_path / "run", patience=60):
        assert free.is_set()
    thread.join()
