"""Done or stale."""

import json

import pytest

from pipeline.artifacts.done import Done, digest
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
