"""Files and folders that are there whole or not at all."""

import os
import signal
import subprocess
import sys
import threading

import pytest
from fixtures.support import ROOT

from pipeline.artifacts.files import atomic_file, atomic_folder, read_json, remove_leftovers, write_json
from pipeline.config.errors import StageError


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
    assert len(list(tmp_path.iterdir())) == 2
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


def test_json_that_is_missing_or_damaged_names_the_file(tmp_path):
    with pytest.raises(StageError, match=r"nothing\.json is missing"):
        read_json(tmp_path / "nothing.json")
    (tmp_path / "half.json").write_text('{"a": ')
    with pytest.raises(StageError, match=r"half\.json is not valid JSON.*delete it"):
        read_json(tmp_path / "half.json")
