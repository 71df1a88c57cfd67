"""Runs, found by name and by path."""

import pytest

from pipeline.artifacts.files import write_json
from pipeline.artifacts.places import Places, find_run, list_runs, list_scored
from pipeline.config.errors import ConfigError, StageError


def test_runs_are_found_by_name_and_by_path(tmp_path, monkeypatch):
    places = Places(runs_dir=tmp_path)
    for name in ("one", "two", "ensemble"):
        write_json(places.run("demo", name) / "config.json", {})
    for half in (".three.28929.part", ".one.lock"):  # of a killed --force, or of a training under way
        write_json(places.run("demo", half) / "config.json", {})
        write_json(places.run("demo", half) / "weights.json", {})
    write_json(places.run("demo", "bundle") / "weights.json", {})
    assert [run.name for run in list_runs(places, "demo")] == ["one", "two"]
    assert [run.name for run in list_scored(places, "demo")] == ["bundle", "one", "two"]
    write_json(places.run("demo", "ensemble") / "weights.json", {})
    assert [run.name for run in list_scored(places, "demo")] == ["bundle", "one", "two", "ensemble"]
    write_json(tmp_path / "config.json", {})
    for name in (".three.28929.part", "..", "-x", "a\n", "x" * 201):
        with pytest.raises(ConfigError, match="run must be a plain name of at most 200 bytes"):
            find_run(places, "demo", name)
    with pytest.raises(StageError, match=r"part is not a run"):
        find_run(places, "demo", str(tmp_path / "demo" / ".three.28929.part"))
    assert find_run(places, "demo", "two") == tmp_path / "demo" / "two"
    assert find_run(Places(), "other", str(tmp_path / "demo" / "one")) == tmp_path / "demo" / "one"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_run(Places(), "other", "~/demo/one") == tmp_path / "demo" / "one"
    with pytest.raises(StageError, match=r"three is not a run; runs of preset demo: bundle, one, two, ensemble"):
        find_run(places, "demo", "three")
    with pytest.raises(StageError, match=rf"ensembl is not a run; runs in {tmp_path}/demo: bundle, one, two, ensemble"):
        find_run(places, "other", f"{tmp_path}/demo/ensembl")
    with pytest.raises(StageError, match=rf"demo/two is not a run; {tmp_path}/demo/two is one"):
        find_run(places, "other", "demo/two")
