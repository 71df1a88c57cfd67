"""Synthesize as a command: what it refuses, and that it leaves everything as it was then."""

from pathlib import Path

import pytest

from pipeline.artifacts import files
from pipeline.artifacts.locks import locked


def killed(*_):
    raise SystemExit(137)


def test_two_at_once(tmp_path, stage, tiny_preset):
    with locked(tmp_path / "data" / "tiny"):
        result = stage("synthesize", "--preset", tiny_preset, check=False)
    assert result.returncode == 1 and "another process is at work on" in result.stderr
    assert not (tmp_path / "data" / "tiny").exists()


def test_files_that_it_did_not_make_are_left_alone(tmp_path, stage, tiny_preset):
    mine = tmp_path / "data" / "tiny" / "raw" / "train" / "mine.tfrecord"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    result = stage("synthesize", "--preset", tiny_preset, check=False)
    assert result.returncode == 1 and "holds files that synthesize did not make" in result.stderr
    assert mine.read_bytes() == b"mine" and len(list(mine.parent.parent.iterdir())) == 1


@pytest.mark.parametrize("before", [False, True])
def test_a_kill_before_the_settings_have_their_name(tmp_path, stage, tiny_preset, monkeypatch, before):
    """The folder then holds a temporary file alone; beside it lies what --force had not deleted."""
    small = ("--preset", tiny_preset, "--synthesis.train-videos", 8, "--synthesis.test-videos", 4, "--workers", 1)
    raw = tmp_path / "data" / "tiny" / "raw"
    if before:
        stage("synthesize", *small)
    with monkeypatch.context() as patch:
        patch.setattr(files, "_remove", lambda path: None)
        patch.setattr(Path, "replace", killed)
        stage("synthesize", *small, "--force", check=False)
    assert list(raw.glob(".*.part")) and len(list(raw.iterdir())) == 1
    assert bool(list(raw.parent.glob(".raw.*.part"))) == before
    stage("synthesize", *small)
    assert not list(raw.parent.rglob(".*"))
    assert len(list(raw.rglob("*.tfrecord"))) == 2


def test_other_settings_are_refused_by_name(tmp_path, stage, tiny_preset):
    small = ("--synthesis.train-videos", 8, "--synthesis.test-videos", 4, "--workers", 1)
    hidden = tmp_path / "data" / "tiny" / "raw" / ".DS_Store"
    hidden.parent.mkdir(parents=True)
    hidden.touch()  # which is nobody's
    stage("synthesize", "--preset", tiny_preset, *small)
    shards = {path: path.read_bytes() for path in (tmp_path / "data").rglob("*.tfrecord")}
    result = stage("synthesize", "--preset", tiny_preset, *small, "--synthesis.seed", 7, check=False)
    assert result.returncode == 1 and "synthesis.seed: 0 -> 7" in result.stderr
    assert {path: path.read_bytes() for path in (tmp_path / "data").rglob("*.tfrecord")} == shards
    stage("synthesize", "--preset", tiny_preset, *small, "--synthesis.seed", 7, "--force")
    assert {path: path.read_bytes() for path in (tmp_path / "data").rglob("*.tfrecord")} != shards


def test_what_is_held_out_later_changes_no_record(tmp_path, stage, tiny_preset):
    small = ("--preset", tiny_preset, "--synthesis.train-videos", 8, "--synthesis.test-videos", 4, "--workers", 1)
    stage("synthesize", *small)
    for more in (("--dataset.folds", 4), ("--dataset.holdout-percent", 33)):
        assert "up to date" in stage("synthesize", *small, *more).stdout
