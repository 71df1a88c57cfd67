"""By which metric runs are compared: by the one that all of them were trained by."""

import pytest

from pipeline.artifacts.files import write_json
from pipeline.config.errors import StageError
from pipeline.inference.monitor import monitor_of


def test_it_is_that_of_the_runs_or_gap_where_they_differ(tmp_path):
    runs = {name: tmp_path / name for name in ("gap", "auc", "map", "bundle", "ensemble", "nothing")}
    for name in ("auc", "map"):
        write_json(runs[name] / "config.json", {"training": {"monitor": name}})
    write_json(runs["gap"] / "config.json", {"training": {"epochs": 1}})  # as earlier versions wrote it
    write_json(runs["bundle"] / "weights.json", {})
    write_json(runs["bundle"] / "summary.json", {"bundle": "a.zip"})
    write_json(runs["ensemble"] / "weights.json", {"monitor": "auc"})
    for chosen, wanted in (
        (("auc",), "auc"),
        (("auc", "bundle", "ensemble", "nothing"), "auc"),
        (("auc", "map"), "gap"),
        (("auc", "gap"), "gap"),
        (("gap",), "gap"),
        ((), "gap"),
    ):
        assert monitor_of(runs[name] for name in chosen) == wanted
    write_json(runs["map"] / "config.json", {"training": {"monitor": "luck"}})
    with pytest.raises(StageError, match=r"config\.json names the metric 'luck', which this version does not know"):
        monitor_of([runs["map"]])
