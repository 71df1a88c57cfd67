"""What version 0.1.0 left on disk is read, predicted with and gone on from, or refused with the command to run.

fixtures/version-0.1.0.tar.xz was made by its stages, of videos that `support.write_shard` writes, with the preset that
lies in it: an index, runs of three families and their predictions, a run that was killed after a checkpoint in its
second epoch, an ensemble, a bundle and a submission. Afterwards its records were cut to the first 12 frames, the only
ones that version 0.1.0 read, and the digest of the index was replaced by that of the cut ones.
"""

import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from fixtures.support import ROOT, run_here

from pipeline.artifacts.predictions import PredictionStore
from pipeline.config.errors import StageError
from pipeline.inputs.index import Index

RUNS = ("average", "netvlad", "second_order")


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("stored")
    with tarfile.open(ROOT / "tests" / "fixtures" / "version-0.1.0.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture
def folder(unpacked, tmp_path) -> Path:
    return shutil.copytree(unpacked, tmp_path / "stored")


def run(stage: str, folder: Path, *arguments: object) -> None:
    run_here(stage, folder, *arguments, preset="stored.py")


def whole(folder: Path) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Ids, labels and scores of a store."""
    parts = list(PredictionStore(folder).read())
    ids = [id for part in parts for id in part.ids]
    return ids, np.concatenate([part.labels for part in parts]), np.concatenate([part.scores for part in parts])


def check_same(folder: Path, other: Path) -> None:
    """The same predictions, but for rounding; labels may change places where their scores are equal."""
    (ids, labels, scores), (other_ids, other_labels, other_scores) = whole(folder), whole(other)
    assert ids == other_ids
    np.testing.assert_allclose(scores, other_scores, atol=1e-5)
    assert (np.sort(labels, axis=1) == np.sort(other_labels, axis=1)).all()
    moved = labels != other_labels
    assert (np.abs(np.diff(scores, axis=1)).min(axis=1)[moved.any(axis=1)] < 1e-5).all()


def test_the_index_is_that_of_a_new_ingest(folder):
    before = Index.open(folder / "data" / "stored" / "index")
    assert before.splits == {"train": 51, "holdout": 29, "test": 30}
    run("ingest", folder, "--workers", 1)
    after = Index.open(folder / "data" / "stored" / "index")
    assert after.digest == before.digest and after.summary["declared"] == before.summary["dataset"]


def test_runs_are_up_to_date_and_predict_what_they_did(folder, unpacked, capsys):
    for family in RUNS:
        run("train", folder, "--model", family)
        run("infer", folder, "--model", family)
        assert capsys.readouterr().out.count("up to date") == 3
        shutil.rmtree(folder / "runs" / "stored" / family / "predictions")
        run("infer", folder, "--model", family)
        for split in ("holdout", "test"):
            place = Path("runs") / "stored" / family / "predictions" / split
            check_same(folder / place, unpacked / place)


def test_they_are_scored_as_they_were(folder, capsys):
    with pytest.raises(StageError, match=r"ensemble/predictions/test was made from another index .*run ensemble"):
        run("submit", folder, "--run", "ensemble")
    capsys.readouterr()
    run("evaluate", folder, "--split", "holdout", "--json")
    rows = {row["run"]: row for row in json.loads(capsys.readouterr().out)}
    assert set(rows) == {*RUNS, "label priors"}
    for family in RUNS:
        summary = json.loads((folder / "runs" / "stored" / family / "summary.json").read_text())
        assert rows[family]["gap"] == pytest.approx(summary["best"]["gap"], abs=1e-9)


def test_the_ensemble_blends_again_what_it_did_and_submits_the_same_bytes(folder, unpacked):
    ensemble = Path("runs") / "stored" / "ensemble"
    run("ensemble", folder, "--runs", *RUNS)
    before, after = (json.loads((each / ensemble / "weights.json").read_text()) for each in (unpacked, folder))
    assert [member["weight"] for member in after["members"]] == [member["weight"] for member in before["members"]]
    assert after["steps"] == before["steps"]
    for split in ("holdout", "test"):
        for mine, theirs in zip(
            whole(folder / ensemble / "predictions" / split), whole(unpacked / ensemble / "predictions" / split)
        ):
            np.testing.assert_array_equal(mine, theirs)
    run("submit", folder)
    (csv,) = (unpacked / "submissions").glob("*.csv")
    assert [path.read_bytes() for path in (folder / "submissions").glob("*.csv")] == [csv.read_bytes()]
    told, tells = (json.loads((each / "submissions" / f"{csv.stem}.json").read_text()) for each in (unpacked, folder))
    assert tells["sha256"] == told["sha256"] and tells["commands"] == told["commands"]


def test_the_bundle_predicts_what_the_ensemble_did(folder, unpacked):
    bundle = folder / "bundled.zip"
    (folder / "runs" / "stored" / "ensemble-float16.zip").rename(bundle)
    run("infer", folder, "--bundle", bundle, "--split", "test")
    _, _, scores = whole(folder / "runs" / "stored" / "bundled" / "predictions" / "test")
    _, _, expected = whole(unpacked / "runs" / "stored" / "ensemble" / "predictions" / "test")
    np.testing.assert_allclose(scores, expected, atol=2e-3)  # its weights are of half precision


def test_a_training_that_was_killed_goes_on_to_its_end(folder, capsys):
    run("train", folder, "--model", "netvlad", "--run", "begun")
    output = capsys.readouterr().out
    assert "resuming at step 9 of 26" in output
    summary = json.loads((folder / "runs" / "stored" / "begun" / "summary.json").read_text())
    assert summary["steps"] == 26
