"""Out-of-fold predictions: each video by the model that has not seen it; and all that predicts agrees with infer."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from fixtures.made_runs import ALL, AVERAGE, FIVE, PRESET, make_run
from fixtures.support import SMALL, run_here, stage_here, write_shard

from pipeline.artifacts.done import Done
from pipeline.artifacts.files import read_json, write_json
from pipeline.artifacts.folds import digest_of_folds, fold_folders, note_folds
from pipeline.artifacts.predictions import Predictions, PredictionStore
from pipeline.config.errors import StageError
from pipeline.inference.bundle.header import read_header, read_scores
from pipeline.inference.descriptors import Describing
from pipeline.inference.ensemble import Ensemble
from pipeline.inference.folds import fold_views, join_folds, why_seen
from pipeline.inference.runs import read_blend
from pipeline.inference.windows.scores import WindowScorer
from pipeline.inference.windows.times import Windows
from pipeline.inputs.index import HOLDOUT, Index, Source
from pipeline.inputs.index.build import write_index
from pipeline.inputs.index.check import check_shard

DATASET = dataclasses.replace(SMALL, folds=2)
RUNS = {"all": (AVERAGE, ALL), "five": (AVERAGE, FIVE)}


def make_index(folder, dataset=DATASET) -> Index:
    """60 videos to train on and 20 to test."""
    sources = [Source(folder / "data" / "small" / "raw" / split / "0.tfrecord", split) for split in ("train", "test")]
    write_shard(sources[0].path, range(60))
    write_shard(sources[1].path, range(60, 80))
    path = folder / "data" / "small" / "index"
    path.mkdir(parents=True)
    write_index(path, dataset, sources, [check_shard(source.path, dataset) for source in sources])
    return Index.open(path)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two runs in two folds each, as training leaves them, of weights that were drawn; and their index."""
    folder = tmp_path_factory.mktemp("folds")
    index = make_index(folder)
    for seed, (name, (model, sampling)) in enumerate(RUNS.items()):
        run = folder / "runs" / "small" / name
        note_folds(run, 2)
        for number, fold in enumerate(fold_folders(run), 1):
            make_run(fold, model, sampling, DATASET, 10 * seed + number)
            config = read_json(fold / "config.json")
            write_json(fold / "config.json", {**config, "fold": number, "inputs": {"index": index.fold(number).digest}})
        digest = digest_of_folds([Done.read(fold).output for fold in fold_folders(run)])
        Done({}, {"index": index.digest}, digest).write(run)
        write_json(run / "summary.json", {"run": name, "parameters": 7})
    (folder / "small.py").write_text(PRESET.replace("{dataset!r}", repr(DATASET)), encoding="utf-8")
    for name in RUNS:
        run_here("infer", folder, "--run", name)
    return folder, index


def lists_of(store) -> tuple[list[str], np.ndarray, np.ndarray]:
    parts = list(PredictionStore(store).read())
    return [id for part in parts for id in part.ids], *(np.concatenate([each[i] for each in parts]) for i in (1, 2))


def dense(fold, index, rows) -> np.ndarray:
    """A fold's probabilities of some videos, [N,V], without the pipeline's predictor."""
    from pipeline.config import SamplingConfig, from_dict
    from pipeline.inputs.reading.batches import evaluation_batches
    from pipeline.inputs.reading.reader import FrameReader
    from pipeline.models import load_model

    sampling = from_dict(SamplingConfig, read_json(fold / "config.json")["sampling"])
    model = load_model(fold / "model.keras")
    batches = evaluation_batches(FrameReader(index), rows, sampling, len(rows))
    return np.concatenate([np.asarray(model.predict_on_batch(inputs))[:count] for count, inputs in batches])


@pytest.mark.wide
@pytest.mark.parametrize("name", list(RUNS))
def test_a_training_video_is_predicted_by_its_fold_and_others_by_the_mean_of_all(made, name):
    folder, index = made
    run = folder / "runs" / "small" / name
    ids, labels, scores = lists_of(run / "predictions" / HOLDOUT)
    assert ids == index.ids_of(index.rows("train")) and len(set(ids)) == 60
    for number, fold in enumerate(fold_folders(run), 1):
        held = index.fold(number).rows(HOLDOUT)
        expected = dense(fold, index, held)
        own = np.isin(index.rows("train"), held)
        assert own.sum() == 30
        np.testing.assert_allclose(scores[own], np.take_along_axis(expected, labels[own].astype(int), 1), atol=1e-5)
    ids, labels, scores = lists_of(run / "predictions" / "test")
    assert ids == index.ids_of(index.rows("test"))
    mean = np.mean([dense(fold, index, index.rows("test")) for fold in fold_folders(run)], axis=0)
    np.testing.assert_allclose(scores, np.take_along_axis(mean, labels.astype(int), 1), atol=1e-5)
    found = read_json(run / "predictions" / HOLDOUT / "scores.json")
    assert [each["videos"] for each in found["folds"]] == [30, 30] and found["whole"]["videos"] == 60
    for fold, each in zip(fold_folders(run), found["folds"]):
        assert read_json(fold / "predictions" / HOLDOUT / "scores.json")["whole"] == pytest.approx(each)


@pytest.mark.wide
@pytest.mark.parametrize("combine", ["probabilities", "logits", "ranks"])
def test_predict_and_the_bundle_answer_as_infer_and_ensemble_do(made, combine, tmp_path):
    """A blend of two runs in folds: the models of each are averaged first, then the runs are blended."""
    folder, _ = made
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    given = ("--runs", *RUNS, "--ensemble.given", 1, 2, "--ensemble.combine", combine)
    run_here("ensemble", tmp_path, *given, "--split", HOLDOUT, "test")
    blend = tmp_path / "runs" / "small" / "ensemble"
    assert len(read_json(blend / "predictions" / HOLDOUT / "scores.json")["folds"]) == 2
    ids, labels, scores = lists_of(blend / "predictions" / "test")
    run_here("export", tmp_path, "--run", "ensemble", "--weights", "float32")
    bundle = blend.parent / "ensemble-float32.zip"
    assert read_header(bundle).folds == (2, 2)
    holdout = read_scores(bundle)["holdout"]
    assert holdout["after"] == pytest.approx(holdout["before"], abs=1e-4), "out of fold, before and after"
    test = tmp_path / "data" / "small" / "raw" / "test" / "0.tfrecord"
    for model in (blend, bundle):
        told = stage_here("predict", tmp_path, "--run", model, test, "--json", "--top", 9, "--inference.top-k", 9)
        answers = {each["id"]: each["labels"] for each in map(json.loads, told.stdout.splitlines())}
        assert list(answers) == ids, told.stderr
        for id, best, values in zip(ids, labels.tolist(), scores):
            found = {each["label"]: each["score"] for each in answers[id]}
            np.testing.assert_allclose([found[label] for label in best], values, atol=1e-5)


def test_windows_and_descriptors_are_of_all_folds(made):
    """Scores of windows and shares of frames are means over the folds; descriptors are told apart."""
    folder, _ = made
    recipe, runs = read_blend(folder / "runs" / "small" / "all", 9)
    ensemble = Ensemble.of_runs(recipe, runs, 9)
    frames = np.random.default_rng(0).integers(0, 256, (20, 8), dtype=np.uint8)
    windows = Windows(np.array([0, 5, 10]), 10, 20, 1.0)
    each = [WindowScorer(ensemble.fold(number), 8) for number in (1, 2)]
    found = [scorer.scores(frames, windows) for scorer in each]
    assert np.abs(found[0] - found[1]).max() > 0.01
    both = WindowScorer(ensemble, 8)
    np.testing.assert_allclose(both.scores(frames, windows), np.mean(found, axis=0), atol=1e-6)
    np.testing.assert_allclose(both.shares(frames), np.mean([scorer.shares(frames) for scorer in each], axis=0))
    assert Describing(ensemble).names == ["all/fold-1", "all/fold-2"]


def test_a_killed_infer_goes_on_with_the_parts_that_are_there(made, tmp_path, monkeypatch):
    folder, _ = made
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    store = tmp_path / "runs" / "small" / "all" / "predictions" / HOLDOUT
    expected = lists_of(store)
    shutil.rmtree(store)
    write, written = PredictionStore.write, []

    def failing(self, number, predictions):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(number)
        write(self, number, predictions)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(PredictionStore, "write", failing)
        run_here("infer", tmp_path, "--run", "all", "--split", HOLDOUT)
    kept = [part.stat().st_mtime_ns for part in PredictionStore(store).parts()]
    run_here("infer", tmp_path, "--run", "all", "--split", HOLDOUT)
    assert len(kept) == 2 and [part.stat().st_mtime_ns for part in PredictionStore(store).parts()][:2] == kept
    for found, wanted in zip(lists_of(store), expected):
        np.testing.assert_array_equal(found, wanted)


def test_nothing_that_may_have_seen_the_training_videos_predicts_them(made, tmp_path, capsys):
    folder, _ = made
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    with pytest.raises(StageError, match="all of its models but one have been trained on each video of train"):
        run_here("infer", tmp_path, "--run", "all", "--split", "train")
    plain = make_run(tmp_path / "runs" / "small" / "plain", *RUNS["all"], SMALL, 0)
    with pytest.raises(StageError, match=r"plain was not trained in the folds of .*index as they are now"):
        run_here("infer", tmp_path, "--run", "plain", "--split", HOLDOUT)
    capsys.readouterr()
    run_here("infer", tmp_path, "--run", "plain")
    assert "holdout is left out: " in capsys.readouterr().out
    assert [path.name for path in (plain / "predictions").iterdir() if path.name[0] != "."] == ["test"]
    # An index of the same videos without folds holds out videos that one of two models was trained on.
    make_index(tmp_path / "other", dataclasses.replace(SMALL, holdout_percent=30))
    other = tmp_path / "other" / "data" / "small" / "index"
    with pytest.raises(StageError, match=r"was trained in folds on all videos that .* trains on and holds out"):
        run_here("infer", tmp_path, "--run", "all", "--index", other, "--split", HOLDOUT)
    with pytest.raises(StageError, match="is trained in folds, and the mean of their weights would have seen"):
        run_here("soup", tmp_path, "--run", "all")


def test_why_seen_is_empty_where_there_are_no_folds(small_index, tmp_path):
    assert why_seen(tmp_path, SMALL, (), small_index) == ""
    assert why_seen(tmp_path, dataclasses.replace(DATASET, name="other"), (), small_index) == ""


def test_folds_are_joined_in_the_index_s_order_part_by_part(made, tmp_path):
    """Parts of the folds and of the whole are cut differently, and one store lacks a video."""
    _, index = made
    stores = []
    for number, view in enumerate(fold_views(index), 1):
        store = PredictionStore(tmp_path / str(number))
        rows = view.rows(HOLDOUT)
        labels = np.stack([rows % 9, (rows + 1) % 9], axis=1).astype(np.int16)
        scores = np.stack([rows / 100 + number, rows / 100], axis=1).astype(np.float32)
        store.write_all({}, {}, 7, Predictions(index.ids_of(rows), labels, scores))
        stores.append(store)
    rows = index.rows(HOLDOUT)
    parts = list(join_folds(stores, index, [rows[:1], rows[1:33], rows[33:]]))
    assert [len(part.ids) for part in parts] == [1, 32, 27]
    assert [id for part in parts for id in part.ids] == index.ids_of(rows)
    np.testing.assert_array_equal(np.concatenate([part.labels for part in parts])[:, 0], rows % 9)
    expected = (rows / 100).astype(np.float32)
    np.testing.assert_array_equal(np.concatenate([part.scores for part in parts])[:, 1], expected)
    with pytest.raises(StageError, match="holds more videos than its fold"):
        list(join_folds(stores, index, [rows[:40]]))
    with pytest.raises(StageError, match="holds other videos than fold 1"):
        list(join_folds([stores[1], stores[0]], index, [rows]))
