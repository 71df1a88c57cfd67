"""Done or stale."""

import json
import tomllib

import pytest
from fixtures.support import ROOT

from pipeline.artifacts.done import FORMAT, VERSION, Done, check_format, digest_json, stage_output
from pipeline.config.errors import StageError


def test_done_says_what_changed(tmp_path):
    assert Done.read(tmp_path) is None
    done = Done({"training": {"epochs": 5}}, {"index": "aa", "model": "bb"}, "cc")
    done.write(tmp_path)
    assert Done.read(tmp_path) == done
    assert done.changes(done.config, done.inputs) == []
    assert done.changes({"training": {"epochs": 6}}, {"index": "xx", "model": "bb"}) == [
        "training.epochs: 5 -> 6",
        "index changed",
    ]
    (tmp_path / "done.json").write_text(json.dumps({"config": {}}))
    with pytest.raises(StageError, match="not what a stage writes"):
        Done.read(tmp_path)


def make(folder, config, inputs, content="", **settings) -> bool:
    """A stage that writes one file, and does so unless it is there."""
    with stage_output(folder) as work:
        if done := work.is_up_to_date(config, inputs, **settings):
            return done
        with work.replace(config, inputs) as output:
            (output.folder / "content").write_text(content)
            output.digest = digest_json(content)
    return False


def test_a_stage_makes_what_is_not_there_or_stale(tmp_path, capsys):
    folder = tmp_path / "made"
    assert not make(folder, {"k": 1}, {"index": "a"}, "one")
    assert make(folder, {"k": 1}, {"index": "a"}, "two")
    assert (folder / "content").read_text() == "one"
    assert Done.read(folder) == Done({"k": 1}, {"index": "a"}, digest_json("one"))
    assert not make(folder, {"k": 2}, {"index": "b"}, "three")
    assert not make(folder, {"k": 2}, {"index": "b"}, "four", force=True)
    assert (folder / "content").read_text() == "four"
    assert capsys.readouterr().out.splitlines() == [
        f"{folder}: up to date",
        f"{folder} is made again: k: 1 -> 2; index changed",
        f"{folder} is made again: --force",
    ]


def test_what_is_to_be_kept_is_replaced_by_force_alone(tmp_path, capsys):
    folder = tmp_path / "made"
    make(folder, {"k": 1}, {"index": "a"}, "one")
    with pytest.raises(StageError, match=r"made with other settings: k: 1 -> 2\. Use --force"):
        make(folder, {"k": 2}, {"index": "a"}, "two", keep="Use --force")
    assert (folder / "content").read_text() == "one"
    assert not make(folder, {"k": 1}, {"index": "b"}, "three", keep="Use --force"), "inputs change without asking"
    assert not make(folder, {"k": 2}, {"index": "b"}, "four", keep="Use --force", force=True, quiet=True)
    assert "--force" not in capsys.readouterr().out


def test_a_stage_that_fails_leaves_what_was_there(tmp_path):
    folder = tmp_path / "made"
    make(folder, {}, {}, "one")
    with pytest.raises(ZeroDivisionError), stage_output(folder) as work, work.replace({}, {}) as output:
        (output.folder / "content").write_text("half")
        raise ZeroDivisionError
    assert (folder / "content").read_text() == "one"
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_what_may_not_be_gone_on_with_is_deleted_before_it_is_begun_anew(tmp_path):
    folder = tmp_path / "begun"
    folder.mkdir()
    (folder / "half").write_text("")
    for inputs, kept in (({"index": "a"}, True), ({"index": "b"}, False)):
        with stage_output(folder, lambda _: Done({}, {"index": "a"}, "")) as work:
            assert not work.is_up_to_date({}, inputs)
            work.remove_stale()
        assert folder.exists() == kept


def test_one_process_at_a_time_makes_it(tmp_path):
    with stage_output(tmp_path / "made"), pytest.raises(StageError, match="another process is at work on"):
        make(tmp_path / "made", {}, {})


def test_a_digest_depends_on_values_and_not_on_the_order_of_keys():
    assert digest_json({"a": 1, "b": [2]}) == digest_json({"b": [2], "a": 1})
    assert digest_json({"a": 1}) != digest_json({"a": 1.5})
    assert digest_json({"a": 1}) != digest_json({"a": "1"})


def test_what_a_newer_version_wrote_is_refused_by_name(tmp_path):
    Done({}, {}, "cc").write(tmp_path)
    path = tmp_path / "done.json"
    values = json.loads(path.read_text())
    assert values["format"] == FORMAT and values["version"] == VERSION
    path.write_text(json.dumps({**values, "format": FORMAT + 1, "version": "9.9"}))
    with pytest.raises(
        StageError, match=rf"done\.json is of format {FORMAT + 1}, written by version 9\.9; version {VERSION}"
    ):
        Done.read(tmp_path)
    check_format(path, {})  # of version 0.1.0


def test_the_version_is_that_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == VERSION
    assert f"## {VERSION}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
