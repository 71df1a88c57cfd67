"""Predictions of other videos, by another model or blend, are told from fresh ones, and every reader asks."""

import json
import shutil
from dataclasses import replace

import pytest
from fixtures.made_up_runs import DATASET, VIDEOS, make_index, make_run
from fixtures.support import run_here, write_shard

from pipeline.artifacts.done import Done
from pipeline.config.errors import StageError
from pipeline.inference.freshness import fresh_predictions, prediction_store, why_stale
from pipeline.inputs.index import Index, Source
from pipeline.inputs.index.build import write_index
from pipeline.inputs.index.check import check_shard


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    index = make_index(folder)
    for name, noise in {"calm": 3.0, "loud": 4.0}.items():
        make_run(folder, index, name, noise)
    run_here("ensemble", folder)
    return folder


@pytest.fixture
def folder(made, tmp_path):
    own = shutil.copytree(made, tmp_path / "own")
    weights = own / "runs" / "small" / "ensemble" / "weights.json"
    weights.write_text(weights.read_text().replace(str(made), str(own)))
    return own


@pytest.fixture
def index(folder):
    return Index.open(folder / "data" / "small" / "index")


def extract_again(folder) -> Index:
    """Other frames under the same ids, and an index of them."""
    sources = []
    for first, split in ((0, "train"), (VIDEOS, "test")):
        sources.append(Source(folder / "data" / "small" / "raw" / split / "all.tfrecord", split))
        write_shard(sources[-1].path, range(first, first + VIDEOS), shift=1)
    dataset = replace(DATASET)
    write_index(folder / "data" / "small" / "index", dataset, sources, [check_shard(s.path, dataset) for s in sources])
    return Index.open(folder / "data" / "small" / "index")


def retrain(run) -> None:
    """Let a run have another model than before."""
    replace(Done.read(run), output="another model").write(run)


def infer_again(run, split: str, digest: str) -> None:
    store = prediction_store(run, split)
    replace(Done.read(store.folder), output=digest).write(store.folder)


def test_what_was_made_of_what_there_is_is_fresh(folder, index):
    for name in ("calm", "loud", "ensemble"):
        run = folder / "runs" / "small" / name
        for split in ("holdout", "test"):
            assert why_stale(run, split, index) == ""
            assert fresh_predictions(run, split, index).folder == run / "predictions" / split
        assert "has no predictions of train" in why_stale(run, "train", index)


def test_features_that_were_extracted_anew_make_every_prediction_stale(folder, index):
    other = extract_again(folder)
    assert other.digest != index.digest and other.ids_of(other.rows("test")) == index.ids_of(index.rows("test"))
    for name, remedy in (("calm", "run infer --run calm --split test"), ("ensemble", "run ensemble --split test")):
        fault = why_stale(folder / "runs" / "small" / name, "test", other)
        assert "was made from another index than" in fault and f"{remedy} again" in fault


def test_a_run_that_was_trained_anew_makes_its_predictions_and_its_blends_stale(folder, index):
    small = folder / "runs" / "small"
    retrain(small / "loud")
    assert "by another model than the run has now: run infer --run loud" in why_stale(small / "loud", "test", index)
    assert "predictions by another model than loud has now: run ensemble" in why_stale(
        small / "ensemble", "test", index
    )
    assert why_stale(small / "calm", "test", index) == ""
    (small / "loud" / "done.json").unlink()
    assert "is of a run that is not trained to its end" in why_stale(small / "loud", "test", index)


def test_a_run_that_predicted_anew_or_other_weights_make_a_blend_stale(folder, index):
    small = folder / "runs" / "small"
    infer_again(small / "calm", "test", "other predictions")
    assert "other predictions than calm has now: run ensemble" in why_stale(small / "ensemble", "test", index)
    assert why_stale(small / "ensemble", "holdout", index) == ""
    weights = json.loads((small / "ensemble" / "weights.json").read_text())
    for member in weights["members"]:
        member["weight"] = 0.5
    (small / "ensemble" / "weights.json").write_text(json.dumps(weights))
    assert "blended with other weights than the ensemble has now" in why_stale(small / "ensemble", "holdout", index)


def test_members_that_are_gone_leave_their_blend_as_it_is(folder, index):
    shutil.rmtree(folder / "runs" / "small" / "loud")
    assert why_stale(folder / "runs" / "small" / "ensemble", "test", index) == ""


def test_a_blend_of_a_version_that_noted_no_index_is_to_be_made_again(folder, index):
    store = prediction_store(folder / "runs" / "small" / "ensemble", "test")
    done = Done.read(store.folder)
    older = {name: digest for name, digest in done.inputs.items() if name in ("calm", "loud")}
    replace(done, inputs=older).write(store.folder)
    with pytest.raises(StageError, match="run ensemble --split test again"):
        fresh_predictions(folder / "runs" / "small" / "ensemble", "test", index)


def test_a_bundle_of_the_same_name_is_another_one(folder, index):
    run = make_run(folder, index, "bundled", 3.0, ["test"])
    (run / "config.json").unlink()
    (run / "done.json").unlink()
    (run / "weights.json").write_text("{}")
    summary = {"bundle": "bundled.zip", "digest": "model bundled"}
    (run / "summary.json").write_text(json.dumps(summary))
    assert why_stale(run, "test", index) == ""
    (run / "summary.json").write_text(json.dumps({**summary, "digest": "another"}))
    assert "another bundle of this name: run infer --bundle bundled.zip" in why_stale(run, "test", index)


@pytest.mark.parametrize("stage", ["evaluate", "submit", "ensemble"])
def test_every_reader_refuses_what_is_stale(folder, stage, capsys):
    extract_again(folder)
    with pytest.raises(StageError) as refused:
        run_here(stage, folder, *(["--run", "calm"] if stage in ("evaluate", "submit") else []))
    told = f"{refused.value}{capsys.readouterr().err}"
    assert "calm" in told and "was made from another index than" in told
    assert not list((folder / "submissions").glob("*.csv"))


def test_the_report_tells_nothing_of_what_is_stale(folder):
    extract_again(folder)
    run_here("report", folder)
    page = (folder / "reports" / "small.html").read_text(encoding="utf-8")
    assert "nothing is scored yet" in page and "GAP@20" not in page
    assert page.count("was made from another index") == 6


def test_the_best_is_not_chosen_by_scores_of_other_videos(folder):
    extract_again(folder)
    with pytest.raises(StageError, match="holdout was made from another index"):
        run_here("submit", folder)


def test_one_stale_run_is_left_out_of_the_leaderboard_and_named(folder, capsys):
    retrain(folder / "runs" / "small" / "loud")
    run_here("evaluate", folder, "--split", "test", "--json")
    told = capsys.readouterr()
    assert [row["run"] for row in json.loads(told.out)] == ["calm", "label priors"]
    assert told.err.count("left out: ") == 2 and "run infer --run loud" in told.err
    run_here("report", folder, "--no-frames")
    assert "loud" in capsys.readouterr().err
    page = (folder / "reports" / "small.html").read_text(encoding="utf-8")
    assert '<th scope="row">calm' in page and "calm leads" in page


def test_runs_that_have_not_predicted_a_split_are_named(folder, capsys):
    shutil.rmtree(folder / "runs" / "small" / "calm" / "predictions" / "test")
    run_here("evaluate", folder)
    assert "calm has no predictions of test: run infer --run calm --split test" in capsys.readouterr().err
