"""Done or stale."""

import json
import tomllib

import pytest
from fixtures.support import ROOT

from pipeline.artifacts.done import FORMAT, VERSION, Done, check_format, digest
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


def test_a_digest_depends_on_values_and_not_on_the_order_of_keys():
    assert digest({"a": 1, "b": [2]}) == digest({"b": [2], "a": 1})
    assert digest({"a": 1}) != digest({"a": 1.5})
    assert digest({"a": 1}) != digest({"a": "1"})


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
