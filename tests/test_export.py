"""The stage `export`, and `infer` and `submit` with what it made: on this backend and on the other."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from fixtures.made_runs import RUNS, make_all, weights_json
from fixtures.support import OTHER_BACKENDS, ROOT, frames_of, name_classes, stage_command, stage_environment

from pipeline import evaluate, export, infer, submit, threshold
from pipeline.artifacts.files import read_json, write_json
from pipeline.artifacts.predictions import PredictionStore
from pipeline.config.errors import ConfigError, StageError
from pipeline.inference.bundle.header import read_header, read_scores


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A folder with data/, runs/ and small.py: two runs."""
    folder = tmp_path_factory.mktemp("small")
    make_all(folder)
    return folder


@pytest.fixture
def run(small, monkeypatch, capsys):
    """Runs a stage in this process, below the folder `small`; what it printed."""
    for name, value in stage_environment(small).items():
        monkeypatch.setenv(name, value)

    def go(stage, *arguments) -> str:
        command = [stage.__name__, "--preset", small / "small.py", *arguments]
        monkeypatch.setattr(sys, "argv", list(map(str, command)))
        stage.main()
        return capsys.readouterr().out

    return go


@pytest.fixture
def blended(small, run):
    """The bundle of both runs, as int8, and its path."""
    write_json(small / "runs" / "small" / "ensemble" / "weights.json", weights_json(small))
    if not (path := small / "runs" / "small" / "ensemble-int8.zip").exists():
        for name in RUNS:
            run(infer, "--run", name)
        run(export, "--run", "ensemble", "--weights", "int8")
    yield path
    (small / "runs" / "small" / "ensemble" / "weights.json").unlink()


def predictions(folder):
    parts = list(PredictionStore(folder).read())
    ids = [id for part in parts for id in part.ids]
    return ids, np.concatenate([part.labels for part in parts]), np.concatenate([part.scores for part in parts])


HELD_OUT = 27
"""Of the 60, by the hash of their ids."""


def test_the_best_run_is_bundled_where_there_is_no_ensemble(small, run):
    assert "has no class names: predict will tell numbers, not names: ingest --vocabulary FILE" in run(
        export, "--run", "average", "--output", small / "unnamed.zip"
    )
    name_classes(small / "data" / "small" / "index", [f"class {label}" for label in range(3)] + [*"猫BCDEF"])
    with pytest.raises(StageError, match=r"which run\? None has predicted a labeled hold-out"):
        run(export)
    gaps = {}
    for name in RUNS:
        run(infer, "--run", name, "--split", "holdout")
        stored = small / "runs" / "small" / name / "predictions" / "holdout" / "scores.json"
        gaps[name] = json.loads(stored.read_text())
    best = max(RUNS, key=lambda name: gaps[name]["reported"]["gap"])
    printed = run(export)
    assert "no class names" not in printed
    path = small / "runs" / "small" / f"{best}-float16.zip"
    assert f"{path}: 1 model as float16" in printed and "eligible" in printed
    assert f"hold-out GAP {gaps[best]['whole']['gap']:.4f} before" in printed
    header, scores = read_header(path), read_scores(path)
    assert header.names[3] == "猫" and header.names[4] == "B"
    assert header.models[0].precision == "float32"
    assert scores["eligible"] and 0 <= scores["bytes"] - path.stat().st_size < 4096
    assert scores["holdout"]["after"]["videos"] == HELD_OUT
    before = path.read_bytes()
    assert f"{path}: up to date" in run(export)
    assert path.read_bytes() == before
    assert "1 model as" in run(export, "--run", "netvlad", "--precision", "trained")
    trained = small / "runs" / "small" / "netvlad-float16.zip"
    assert read_header(trained).models[0].precision == "mixed_bfloat16"


def test_the_score_before_is_that_of_stored_predictions(small, run, blended):
    """In float32 nothing is lost, so it is the score of the bundle too."""
    run(export, "--run", "netvlad", "--weights", "float32")
    holdout = read_scores(small / "runs" / "small" / "netvlad-float32.zip")["holdout"]
    assert holdout["before"]["gap"] == pytest.approx(holdout["after"]["gap"], abs=1e-9)
    assert (
        holdout["before"]["gap"] == json.loads(run(evaluate, "--run", "netvlad", "--split", "holdout", "--json"))["gap"]
    )


def test_an_ensemble_is_bundled(small, run, blended):
    scores = read_scores(blended)
    assert [member.run for member in read_header(blended).recipe.used] == list(RUNS)
    assert scores["holdout"]["before"] == {} and scores["holdout"]["after"]["gap"] > 0  # ensemble has predicted nothing
    with zipfile.ZipFile(blended) as archive:
        assert all(entry.compress_type == zipfile.ZIP_STORED for entry in archive.infolist())
    assert any("int8" in model.encodings for model in read_header(blended).models)


def test_a_blend_of_one_run_that_has_predicted_nothing_is_bundled(small, run, blended):
    """It has no summary of a training, as its run has."""
    weights = weights_json(small)
    for number, member in enumerate(weights["members"]):
        member["weight"] = float(number == 0)
    write_json(small / "runs" / "small" / "ensemble" / "weights.json", weights)
    run(export, "--run", "ensemble", "--output", small / "one.zip")
    assert len(read_header(small / "one.zip").models) == 1
    holdout = read_scores(small / "one.zip")["holdout"]
    assert holdout["before"] == {} and holdout["after"]["gap"] > 0


def test_thresholds_go_along_while_they_are_those_of_the_run(small, run):
    """Without them the header does not speak of any, as before there were some."""
    folder, path = small / "runs" / "small" / "average", small / "decided.zip"
    arguments = ("--run", "average", "--output", path)
    printed = run(export, *arguments)
    with zipfile.ZipFile(path) as archive:
        assert "thresholds" not in json.loads(archive.read("bundle.json")) and "thresholds" not in printed
    run(infer, "--run", "average", "--split", "holdout")
    run(threshold, "--run", "average")
    printed = run(export, *arguments)
    assert f"{path} is made again: thresholds changed" in printed
    assert "1 model as float16, with thresholds for the best F1 of each class" in printed
    stored = json.loads((folder / "thresholds.json").read_text())["thresholds"]
    assert list(read_header(path).thresholds.by_class) == stored
    assert f"{path}: up to date" in run(export, *arguments)
    run(infer, "--bundle", path, "--split", "test")
    (small / "sample.csv").write_text("id,labels\nv060,1 2 3\nv061,\n")
    sample = ("--like", small / "sample.csv")
    ours = run(submit, "--run", "decided", *sample, "--threshold", "stored")
    csv = Path(ours.partition(": ")[0])
    rows = dict(line.split(",") for line in csv.read_text().splitlines()[1:])
    ids, labels, scores = predictions(small / "runs" / "small" / "decided" / "predictions" / "test")
    for id, best, known in list(zip(ids, labels, scores))[:2]:
        reached = [label for label, score in zip(best.tolist(), known.tolist()) if score >= stored[label]]
        assert rows[id].split() == [str(label) for label in reached[:3]]
    assert not any(
        "pipeline.threshold" in each for each in json.loads(csv.with_suffix(".json").read_text())["commands"]
    )
    done = folder / "predictions" / "holdout" / "done.json"
    before = done.read_text()
    done.write_text(before.replace('"output": "', '"output": "other '))
    with pytest.raises(StageError, match=r"run threshold --run average again, or delete the file: a bundle needs no"):
        run(export, *arguments)
    done.write_text(before)
    (folder / "thresholds.json").unlink()
    assert "made again: thresholds changed" in run(export, *arguments)


def test_a_bundle_that_is_too_large_is_written_and_refused(small, run, monkeypatch):
    monkeypatch.setattr(export, "LIMIT", 10_000)
    path = small / "large.zip"
    arguments = ("--run", "average", "--weights", "float32", "--output", path)
    for _ in range(2):  # written, then up to date
        with pytest.raises(
            StageError, match=r"bytes uncompressed, .* of the 10,000 that the rules allow: not eligible"
        ):
            run(export, *arguments)
    assert not read_scores(path)["eligible"]
    assert "NOT eligible" in run(export, *arguments, "--allow-over")


def test_a_file_that_is_no_bundle_is_not_replaced(small, run):
    path = small / "precious.zip"
    path.write_text("mine")
    with pytest.raises(StageError, match="not a bundle"):
        run(export, "--run", "average", "--output", path)
    assert path.read_text() == "mine"


def test_a_bundle_predicts_what_its_runs_do_blended(small, run, blended):
    run(infer, "--bundle", blended, "--split", "test", "holdout")
    ids, labels, scores = predictions(small / "runs" / "small" / "ensemble-int8" / "predictions" / "test")
    dense = 0
    for share, name in zip((1 / 3, 2 / 3), RUNS):
        alone_ids, alone_labels, alone = predictions(small / "runs" / "small" / name / "predictions" / "test")
        assert alone_ids == ids
        dense = dense + share * np.take_along_axis(alone, np.argsort(alone_labels, axis=1), axis=1)  # all 9 are kept
    np.testing.assert_allclose(np.take_along_axis(dense, labels.astype(int), axis=1), scores, atol=0.01)
    assert "up to date" in run(infer, "--bundle", blended, "--split", "test")


def test_its_predictions_are_scored_and_submitted_like_a_runs(small, run, blended):
    run(infer, "--bundle", blended)
    printed = json.loads(run(evaluate, "--run", "ensemble-int8", "--split", "holdout", "--json"))
    assert printed["gap"] == pytest.approx(read_scores(blended)["holdout"]["after"]["gap"])
    assert "20 videos of split test, valid" in run(submit, "--run", "ensemble-int8")


def test_a_bundle_brings_its_own_models_and_its_own_name(small, run, blended):
    with pytest.raises(StageError, match="leave out --run"):
        run(infer, "--bundle", blended, "--run", "average")
    for name, error, message in (
        ("netvlad", StageError, "which has another use: rename the file"),
        ("ensemble", ConfigError, r"the name of --bundle .*ensemble\.zip must be a plain name .* and not ensemble"),
        ("-x", ConfigError, "must be a plain name"),
    ):
        other = small / f"{name}.zip"
        other.write_bytes(blended.read_bytes())
        with pytest.raises(error, match=message):
            run(infer, "--bundle", other)
    for name in ("one.v1", "one.v2"):
        (small / name).write_bytes(blended.read_bytes())
    run(infer, "--bundle", small / "one.v1", "--split", "test")
    with pytest.raises(StageError, match=r"one\.v2 would go to .*small/one, which has those of one\.v1: rename"):
        run(infer, "--bundle", small / "one.v2", "--split", "test")


WITHOUT_KERAS = """
import sys
sys.modules |= dict.fromkeys(("keras", "tensorflow", "jax", "tf2onnx"))  # importing one fails
from pipeline import infer, predict
bundle, video = sys.argv[1:]
sys.argv = ["infer", "--preset", "small.py", "--bundle", bundle]
infer.main()
for asked in (("--json",), ("--json", "--window", "4"), ("--descriptors", "a.parquet"), ("--page", "a.html")):
    sys.argv = ["predict", video, "--run", bundle, *asked]
    try:
        predict.main()
    except predict.StageError as error:
        print(error)
"""


def test_an_onnx_file_predicts_in_a_process_without_keras(small, run, blended):
    """What the runs say, blended, beside what a zip of its name says; what asks the models for more is refused."""
    zipped = small / "runs" / "small" / "ensemble-float32.zip"
    zipped.write_bytes(blended.read_bytes())
    run(infer, "--bundle", zipped, "--split", "test")
    assert f"{small}/runs/small/ensemble-float32.onnx: 2 models as float32" in run(
        export, "--run", "ensemble", "--weights", "float32", "--onnx"
    )
    path = small / "runs" / "small" / "ensemble-float32.onnx"
    assert f"{path}: up to date" in run(export, "--run", "ensemble", "--weights", "float32", "--onnx")
    holdout = read_scores(path)["holdout"]["after"]
    np.savez(small / "clip.npz", rgb=frames_of(62)[:, :6], audio=frames_of(62)[:, 6:])
    command = [sys.executable, "-c", WITHOUT_KERAS, path, small / "clip.npz"]
    environment = {**stage_environment(small), "PYTHONPATH": str(ROOT)}
    environment.pop("KERAS_BACKEND", None)  # a test before may have started one
    told = subprocess.run(command, cwd=small, env=environment, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    whole, windows, descriptors, page = told.stdout.splitlines()[-4:]
    ids, labels, scores = predictions(small / "runs" / "small" / "ensemble-float32-onnx" / "predictions" / "test")
    dense = 0
    for share, name in zip((1 / 3, 2 / 3), RUNS):
        _, alone_labels, alone = predictions(small / "runs" / "small" / name / "predictions" / "test")
        dense = dense + share * np.take_along_axis(alone, np.argsort(alone_labels, axis=1), axis=1)  # all 9 are kept
    np.testing.assert_array_equal(labels, np.argsort(-dense, axis=1, kind="stable"))
    np.testing.assert_allclose(np.take_along_axis(dense, labels.astype(int), axis=1), scores, atol=1e-5)
    scored = read_json(small / "runs/small/ensemble-float32-onnx/predictions/holdout/scores.json")["whole"]
    assert scored["gap"] == pytest.approx(holdout["gap"], abs=1e-9)
    assert "up to date" in run(infer, "--bundle", zipped, "--split", "test")
    own = json.loads(whole)["labels"][0]
    (row,) = np.flatnonzero(np.array(ids) == "v062")
    assert own["label"] == labels[row, 0] and own["score"] == pytest.approx(scores[row, 0], abs=1e-5)
    assert "intervals" in json.loads(windows)
    assert "is an .onnx file, which gives no descriptors: leave out --descriptors, or name its run" in descriptors
    assert "is an .onnx file, which gives no weights of frames: leave out --page" in page
    assert "made again: settings changed" in run(
        export, "--run", "ensemble", "--weights", "float32", "--output", path
    )  # a zip takes its place
    path.unlink()


def test_what_an_onnx_file_is_not_written_with(small, run):
    for arguments, message in (
        (("--precision", "trained"), "--precision trained is bfloat16, which ONNX Runtime does not compute in"),
        (("--saved-model", small / "s"), "leave out --onnx"),
    ):
        with pytest.raises(ConfigError, match=message):
            run(export, "--run", "average", "--onnx", *arguments)


@pytest.mark.wide
@pytest.mark.parametrize("backend", OTHER_BACKENDS)
def test_another_backend_gives_the_same_scores(small, run, blended, backend):
    run(infer, "--bundle", blended, "--split", "test")
    copy = small / f"on-{backend}.zip"
    copy.write_bytes(blended.read_bytes())
    subprocess.run(
        stage_command("infer", "--preset", small / "small.py", "--bundle", copy, "--split", "test"),
        cwd=ROOT,
        env={**stage_environment(small), "KERAS_BACKEND": backend},
        check=True,
        capture_output=True,
    )
    here = predictions(small / "runs" / "small" / "ensemble-int8" / "predictions" / "test")
    there = predictions(small / "runs" / "small" / f"on-{backend}" / "predictions" / "test")
    assert here[0] == there[0]
    np.testing.assert_allclose(there[2], here[2], atol=1e-4)
    for row, place in np.argwhere(here[1] != there[1]):
        assert np.abs(here[2][row] - here[2][row, place]).argsort()[1:2].size  # a neighbor is as near as the difference
        assert np.sort(np.abs(here[2][row] - here[2][row, place]))[1] < 1e-4
