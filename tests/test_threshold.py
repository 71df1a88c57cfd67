"""The stage `threshold`: what it writes and tells, when it does so again, and what it refuses."""

import json

import numpy as np
import pytest
from fixtures.made_up_runs import make_index, make_run
from fixtures.support import name_classes, run_here

from pipeline.artifacts.predictions import PredictionStore
from pipeline.inputs.index import Index

PRECISION = ("--threshold.goal", "precision", "--threshold.value", "0.9")


@pytest.fixture
def made(tmp_path):
    """An index and two runs that nobody trained."""
    index = make_index(tmp_path)
    name_classes(index.folder, [f"bird {number}" for number in range(30)])
    for name, noise in {"calm": 2.0, "loud": 4.0}.items():
        make_run(tmp_path, index, name, noise)
    return tmp_path


@pytest.fixture
def threshold(made, stage):
    return lambda *arguments, **more: stage("threshold", "--preset", made / "small.py", *arguments, **more)


def stored(made, run: str = "calm") -> dict:
    return json.loads((made / "runs" / "small" / run / "thresholds.json").read_text())


def test_what_is_written_keeps_what_is_told(made, threshold):
    """On the split test, counted from the predictions and the labels themselves."""
    told = threshold(*PRECISION).stdout.splitlines()  # of the better run
    values, path = stored(made), made / "runs" / "small" / "calm" / "thresholds.json"
    assert told[0] == f"{path}: a precision of at least 0.9 of each class, chosen on {values['videos']} videos"
    index = Index.open(made / "data" / "small" / "index")
    assert values["names"] == index.class_names and len(values["thresholds"]) == 30
    rows, said, right, true = index.rows("test"), 0, 0, 0
    truth = dict(zip(index.ids_of(rows), np.split(*[index.labels_of(rows)[0]], index.labels_of(rows)[1][1:-1])))
    for part in PredictionStore(made / "runs" / "small" / "calm" / "predictions" / "test").read():
        for id, labels, scores in zip(*part):
            kept = {int(x) for x, score in zip(labels, scores) if float(score) >= values["thresholds"][x]}
            said, right, true = said + len(kept), right + len(kept & set(truth[id].tolist())), true + len(truth[id])
    kept = values["kept"]["test"]
    assert (kept["precision"], kept["recall"]) == (right / said, right / true) and kept["labels"] == said / 240
    assert f"{kept['precision']:.4f}" in next(line for line in told if line.startswith("test "))
    assert kept["precision"] == pytest.approx(0.9, abs=0.05)
    without, videos = values["kept"]["test"]["without"], values["kept"]["test"]["videos"]
    assert told[-1] == f"test: {without:.0f} of 240 videos without a label" and videos == 240
    rare = 30 - values["classes"]["own"]
    assert f"{rare} classes of fewer than 10 videos share one threshold, {values['shared']:.4f}" in told
    assert sum(each == values["shared"] for each in values["thresholds"]) >= rare > 0


def test_it_is_made_again_when_the_goal_or_the_predictions_change(made, threshold):
    first = threshold("--run", "calm").stdout
    assert "thresholds.json: the best F1 of each class" in first and "up to date" not in first
    assert "thresholds.json: up to date" in (again := threshold("--run", "calm").stdout)
    assert again.splitlines()[1:] == first.splitlines()
    assert "made again: goal: f1 -> precision; value: None -> 0.9" in threshold("--run", "calm", *PRECISION).stdout
    make_run(made, Index.open(made / "data" / "small" / "index"), "calm", 3.0, ["test"])
    assert "made again: predictions of test changed" in threshold("--run", "calm", *PRECISION).stdout
    shared = threshold("--run", "loud", "--threshold.shared").stdout
    assert "the best F1 of all labels together" in shared
    assert f"30 classes share one threshold, {stored(made, 'loud')['shared']:.4f}" in shared
    assert len(set(stored(made, "loud")["thresholds"])) == 1


def test_classes_without_a_threshold_are_counted(made, threshold):
    index = Index.open(made / "data" / "small" / "index")
    make_run(made, index, "deaf", 40.0)
    told = threshold("--run", "deaf", *PRECISION).stdout
    never = sum(value > 1 for value in stored(made, "deaf")["thresholds"])
    assert never and f"{never} class{'es' * (never > 1)} never assigned: no threshold reaches the goal" in told
    make_run(made, index, "few", 4.0, kept=1)
    told = threshold("--run", "few", "--threshold.goal", "recall", "--threshold.value", "0.9").stdout
    missed = stored(made, "few")["classes"]["missed"]
    assert missed and f"{missed} class{'es' * (missed > 1)} assigned whenever kept: too few of their videos" in told


def test_an_ensemble_has_thresholds_and_a_blend_made_anew_needs_new_ones(made, threshold):
    run_here("ensemble", made)
    assert threshold("--run", "ensemble").returncode == 0
    before = stored(made, "ensemble")
    run_here("ensemble", made, "--ensemble.method", "equal")
    assert "made again: predictions of holdout changed, predictions of test changed" in threshold(
        "--run", "ensemble"
    ).stdout.replace(";", ",")
    assert stored(made, "ensemble")["thresholds"] != before["thresholds"]


def test_what_cannot_be_chosen_is_refused(made, threshold):
    index = Index.open(made / "data" / "small" / "index")
    make_run(made, index, "untested", 4.0, ["test"])
    for arguments, status, message in (
        (("--run", "untested"), 1, "has no predictions of holdout: run infer --run untested --split holdout"),
        (("--threshold.goal", "recall"), 2, "threshold.value, how much of it, belong together"),
        (("--threshold.value", "0.5"), 2, "threshold.value, how much of it, belong together"),
        (("--run", "nobody"), 1, "nobody is not a run; runs of preset small: calm, loud, untested"),
    ):
        result = threshold(*arguments, check=False)
        assert result.returncode == status and message in result.stderr and "Traceback" not in result.stderr
    make_run(made, index, "calm", 2.0, ["holdout"])
    (made / "runs" / "small" / "calm" / "thresholds.json").write_text('{"format": 99, "version": "9"}')
    assert "is of format 99, written by version 9" in threshold("--run", "calm", check=False).stderr


def test_a_holdout_without_labels_chooses_nothing(tmp_path, stage):
    make_run(tmp_path, make_index(tmp_path, 0), "calm", 2.0, ["test"])
    for arguments in ((), ("--run", "calm")):
        result = stage("threshold", "--preset", tmp_path / "small.py", *arguments, check=False)
        assert result.returncode == 1 and "Traceback" not in result.stderr
    assert "has no labels, by which thresholds are chosen: --threshold takes a number" in result.stderr
