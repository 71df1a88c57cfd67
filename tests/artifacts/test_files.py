"""Files and folders that are there whole or not at all."""

import errno
import fcntl
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time

import pytest
from fixtures.support import ROOT

from pipeline.artifacts.files import (
    atomic_file,
    atomic_folder,
    read_at,
    read_json,
    remove_folder,
    remove_leftovers,
    write_json,
)
from pipeline.config.errors import StageError


def test_reading_goes_on_where_the_system_reads_less_than_asked(tmp_path, monkeypatch):
    path, read = tmp_path / "file", os.pread
    path.write_bytes(bytes(range(100)))
    with path.open("rb") as file:
        assert read_at(file.fileno(), 60, 50) == bytes(range(50, 100)) and read_at(file.fileno(), 0, 50) == b""
        monkeypatch.setattr(os, "pread", lambda descriptor, size, offset: read(descriptor, max(size // 2, 1), offset))
        assert read_at(file.fileno(), 60, 30) == bytes(range(30, 90))


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "below" / "file.txt"
    with pytest.raises(RuntimeError), atomic_file(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert list(path.parent.iterdir()) == []
    with atomic_file(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_rewrite_leaves_what_was_there(tmp_path):
    write_json(tmp_path / "value.json", {"a": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "value.json", object())
    assert read_json(tmp_path / "value.json") == {"a": 1}
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_is_replaced_whole(tmp_path):
    folder = tmp_path / "folder"
    for value in ("first", "second"):
        with atomic_folder(folder) as temporary:
            (temporary / value).touch()
    assert [path.name for path in folder.iterdir()] == ["second"]
    with pytest.raises(RuntimeError), atomic_folder(folder) as temporary:
        (temporary / "third").touch()
        raise RuntimeError
    assert [path.name for path in folder.iterdir()] == ["second"]
    assert list(tmp_path.iterdir()) == [folder]


def test_a_folder_is_never_missing_while_it_is_replaced(tmp_path):
    folder = tmp_path / "folder"
    with atomic_folder(folder) as temporary:
        (temporary / "value").touch()
    missed, stop = [], threading.Event()

    def look() -> None:
        while not stop.is_set():
            if not (folder / "value").exists():
                missed.append(1)

    reader = threading.Thread(target=look)
    reader.start()
    for _ in range(100):
        with atomic_folder(folder) as temporary:
            (temporary / "value").touch()
    stop.set()
    reader.join()
    assert not missed


def test_a_system_without_an_exchange_of_names_replaces_a_folder_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr("ctypes.CDLL", lambda *_, **__: object())  # macOS has no renameat2
    for name in ("first", "second"):
        with atomic_folder(tmp_path / "folder") as temporary:
            (temporary / name).touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["folder", "second"]


@pytest.mark.parametrize("renames", [1, 2, 3])
def test_a_kill_between_the_renames_loses_nothing(tmp_path, renames):
    """Where names cannot be exchanged in one step: after each rename the old folder or the new one is there, whole."""
    script = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom pipeline.artifacts import files\n"
        "folder, left = Path(sys.argv[1]) / 'folder', int(sys.argv[2])\n"
        "with files.atomic_folder(folder) as temporary:\n    (temporary / 'old').touch()\n"
        "files._exchange = lambda *_: False\nrename = Path.rename\n"
        "def killed(self, target):\n    global left\n    rename(self, target)\n    left -= 1\n"
        "    left or os.kill(os.getpid(), signal.SIGKILL)\n"
        "Path.rename = killed\n"
        "with files.atomic_folder(folder) as temporary:\n    (temporary / 'new').touch()\n"
    )
    command = [sys.executable, "-c", script, tmp_path, str(renames)]
    killed = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert killed.returncode == -signal.SIGKILL
    folder = tmp_path / "folder"
    remove_leftovers(tmp_path)
    assert [path.name for path in folder.iterdir()] == ["old" if renames == 1 else "new"]
    with atomic_folder(folder) as temporary:
        (temporary / "newest").touch()
    assert [path.name for path in folder.iterdir()] == ["newest"]
    assert list(tmp_path.iterdir()) == [folder]


def test_what_is_restored_is_no_folder_that_was_being_removed(tmp_path):
    for name in (".folder.99999999.part", f".folder.{os.getppid()}.old.part", ".folder.old.part"):
        (tmp_path / name).mkdir()
    remove_leftovers(tmp_path)
    assert not (tmp_path / "folder").exists()


def test_what_a_killed_process_left_is_removed(tmp_path):
    script = (
        "import os, signal, sys\nfrom pathlib import Path\n"
        "from pipeline.artifacts.files import atomic_file, atomic_folder\n"
        "place = Path(sys.argv[1])\n"
        "with atomic_file(place / 'file.csv') as file, atomic_folder(place / 'folder') as folder:\n"
        "    file.write_text('half')\n    (folder / 'part').touch()\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", script, tmp_path], env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert killed.returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 4, "a file, a folder, and a lock for each"
    assert not list(tmp_path.glob("*.csv"))  # what looks for results does not see it
    with atomic_file(tmp_path / "file.csv") as temporary:  # the next one of that name
        temporary.write_text("whole")
    assert [path.name for path in tmp_path.glob("*file*")] == ["file.csv"]
    remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["file.csv"]


def test_only_leftovers_of_the_name_are_removed(tmp_path):
    others = [".a.csv.99999999.part", ".b.99999999.part", ".a.part", "a.99999999.part", f".a.{os.getppid()}.part"]
    for name in (".a.99999999.part", ".a.99999999.part.keras", ".a.99999998.old.part", *others):
        (tmp_path / name).touch()
    remove_leftovers(tmp_path, "a")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(others)


def test_what_another_process_writes_is_left_alone_whatever_its_number(tmp_path, monkeypatch):
    """In two containers both are process 1, and write the same name at once."""
    monkeypatch.setattr(os, "getpid", lambda: 1)
    with atomic_file(tmp_path / "a.csv") as one:
        one.write_text("one")
        with atomic_file(tmp_path / "a.csv") as two:
            two.write_text("two")
            remove_leftovers(tmp_path)
            assert one.exists() and two.exists() and one != two
        assert (tmp_path / "a.csv").read_text() == "two"
    assert (tmp_path / "a.csv").read_text() == "one", "whole, of who was the last"
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


def test_a_folder_that_another_process_deletes_is_left_to_it(tmp_path, monkeypatch):
    folder, seen = tmp_path / "run", []
    (folder / "below").mkdir(parents=True)

    def rmtree(path, **_):
        remove_leftovers(tmp_path)
        seen.append(path.exists())

    with monkeypatch.context() as patch:  # killed before it deleted anything
        patch.setattr(shutil, "rmtree", rmtree)
        remove_folder(folder)
    assert seen == [True] and not folder.exists()
    assert len(list(tmp_path.iterdir())) == 1
    remove_folder(folder)  # there is none any more
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("age, kept", [(0, True), (25 * 3600, False)])
@pytest.mark.parametrize("number", [os.getppid(), "x0123abcd"])
def test_what_no_lock_can_tell_is_a_leftover_after_a_day(tmp_path, monkeypatch, age, kept, number):
    """An earlier version's, whose number another process has now; anyone's, where the file system has no locks."""
    left = tmp_path / f".run.{number}.part"
    left.mkdir()
    (left / "half").touch()
    for path in (left / "half", left):
        os.utime(path, (time.time() - age,) * 2)
    if number == "x0123abcd":
        monkeypatch.setattr(fcntl, "flock", without_locks)
    remove_leftovers(tmp_path)
    assert left.exists() == kept


def without_locks(descriptor, operation):
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))


@pytest.mark.parametrize("fault", [errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.ENOSYS])
def test_a_file_system_that_syncs_no_folders(tmp_path, monkeypatch, fault):
    own = os.fsync

    def fsync(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(fault, os.strerror(fault))
        own(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    write_json(tmp_path / "a.json", {"a": 1})
    with atomic_folder(tmp_path / "folder") as folder:
        (folder / "below").mkdir()
    assert read_json(tmp_path / "a.json") == {"a": 1} and (tmp_path / "folder" / "below").is_dir()


def test_what_a_folder_holds_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    synced, own = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (synced.append(os.fstat(descriptor).st_ino), own(descriptor)))
    with atomic_folder(tmp_path / "folder") as temporary:
        (temporary / "below").mkdir()
        (temporary / "below" / "file").write_text("whole")
    inodes = {path.stat().st_ino for path in (tmp_path / "folder", *(tmp_path / "folder").rglob("*"))}
    assert inodes <= {*synced[:-1]} and synced[-1] == tmp_path.stat().st_ino


@pytest.mark.parametrize("call", ["replace", "fsync"])
def test_a_full_disk_names_the_file_and_leaves_what_was_there(tmp_path, monkeypatch, call):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), *([str(_[0])] if call == "replace" else []))

    write_json(tmp_path / "a.json", {"a": 1})
    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match="No space left") as raised:
        write_json(tmp_path / "a.json", {"a": 2})
    assert raised.value.filename == str(tmp_path / "a.json")
    assert read_json(tmp_path / "a.json") == {"a": 1} and len(list(tmp_path.iterdir())) == 1


def test_json_that_is_missing_or_damaged_names_the_file(tmp_path):
    with pytest.raises(StageError, match=r"nothing\.json is missing"):
        read_json(tmp_path / "nothing.json")
    (tmp_path / "half.json").write_text('{"a": ')
    with pytest.raises(StageError, match=r"half\.json is not valid JSON.*delete it"):
        read_json(tmp_path / "half.json")
