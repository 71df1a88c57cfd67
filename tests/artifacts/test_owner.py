"""Two presets of one name and their folder of runs."""

import shutil

import pytest

from pipeline.artifacts.owner import OWNER, check_owner, note_owner
from pipeline.config.errors import ConfigError


@pytest.fixture
def runs(tmp_path):
    return tmp_path / "runs" / "birds"


def a_preset(folder):
    folder.mkdir(parents=True)
    (folder / "birds.py").touch()
    return str(folder / "birds.py")


def test_the_preset_that_came_first_keeps_the_folder(runs, tmp_path):
    first, second = a_preset(tmp_path / "a"), a_preset(tmp_path / "b")
    check_owner(runs, first)
    note_owner(runs, first)
    check_owner(runs, first)
    with pytest.raises(ConfigError, match=r"rename the file, or choose another --runs-dir") as error:
        check_owner(runs, second)
    assert first in str(error.value) and second in str(error.value)
    with pytest.raises(ConfigError, match="rename the file"):
        check_owner(runs, "birds")  # one that comes with the pipeline


def test_a_file_that_moved_or_is_reached_by_another_way_keeps_its_runs(runs, tmp_path, monkeypatch):
    first = a_preset(tmp_path / "a")
    note_owner(runs, first)
    monkeypatch.chdir(tmp_path / "a")
    check_owner(runs, "birds.py")
    (tmp_path / "a").rename(tmp_path / "c")
    check_owner(runs, str(tmp_path / "c" / "birds.py"))
    note_owner(runs, str(tmp_path / "c" / "birds.py"))
    assert (runs / OWNER).read_text() == '{\n  "preset": "../../c/birds.py"\n}\n'


def test_a_project_that_is_copied_as_a_whole_keeps_its_runs(tmp_path):
    preset = a_preset(tmp_path / "one")
    note_owner(tmp_path / "one" / "runs" / "birds", preset)
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    check_owner(tmp_path / "two" / "runs" / "birds", str(tmp_path / "two" / "birds.py"))
    with pytest.raises(ConfigError, match=r"two/birds\.py"):
        check_owner(tmp_path / "two" / "runs" / "birds", preset)


def test_a_preset_that_comes_with_the_pipeline_is_no_file(runs, tmp_path):
    note_owner(runs, "birds")
    check_owner(runs, "birds")
    with pytest.raises(ConfigError, match="another preset of this name, birds, "):
        check_owner(runs, a_preset(tmp_path / "a"))


def test_what_a_killed_process_left_beside_the_whole_file_is_deleted(runs, tmp_path):
    preset = a_preset(tmp_path / "a")
    note_owner(runs, preset)
    (runs / f"..{OWNER}.x0123abcd.part.lock").touch()
    note_owner(runs, preset)
    assert [path.name for path in runs.iterdir()] == [OWNER]
