"""Stored thresholds: read as they were written, refused where they are damaged or not those of the scores any more."""

import json

import numpy as np
import pytest
from fixtures.made_up_runs import make_index, make_run
from fixtures.support import run_here

from pipeline.artifacts.files import read_json, write_json
from pipeline.config import ConfigError, ThresholdConfig, from_dict, to_dict
from pipeline.config.errors import StageError
from pipeline.inference.thresholds import THRESHOLDS, Thresholds, fresh_thresholds, given_thresholds, why_outdated
from pipeline.inputs.index import Index


@pytest.fixture
def run(tmp_path):
    folder = make_run(tmp_path, make_index(tmp_path), "calm", 3.0)
    run_here("threshold", tmp_path, "--threshold.goal", "recall", "--threshold.value", 0.5)
    return folder


@pytest.fixture
def index(run):
    return Index.open(run.parents[2] / "data" / "small" / "index")


def test_they_are_read_as_they_were_written(run, index):
    found = fresh_thresholds(run, index).chosen
    assert found.settings == ThresholdConfig("recall", 0.5)
    assert list(found.by_class) == read_json(run / THRESHOLDS)["thresholds"] == found.array().tolist()
    assert from_dict(Thresholds, json.loads(json.dumps(to_dict(found)))) == found


def test_a_number_stands_for_all_classes(run, index):
    def none() -> Thresholds:
        raise AssertionError("nothing stored is asked for")

    assert given_thresholds("0.3", none, 4).tolist() == [0.3] * 4
    stored = given_thresholds("stored", lambda: fresh_thresholds(run, index).chosen, 30)
    np.testing.assert_array_equal(stored, fresh_thresholds(run, index).thresholds)


def test_those_of_other_predictions_are_refused(run, index):
    assert why_outdated(run, index) == ""
    make_run(run.parents[2], index, "calm", 3.0, ["test"])  # they were not chosen by these
    assert why_outdated(run, index) == ""
    make_run(run.parents[2], index, "calm", 2.0, ["holdout"])
    with pytest.raises(StageError, match=r"chosen from other predictions than calm has now: run threshold --run calm"):
        fresh_thresholds(run, index)
    (run / "predictions" / "holdout" / "done.json").unlink()
    with pytest.raises(StageError, match=r"out of date: .* run infer --run calm .* then run threshold --run calm"):
        fresh_thresholds(run, index)
    (run / THRESHOLDS).unlink()
    with pytest.raises(StageError, match="calm has no thresholds: run threshold --run calm"):
        fresh_thresholds(run, index)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"thresholds": [0.5] * 29}, "there are 29 thresholds for 30 names of classes; delete it and run threshold"),
        ({"thresholds": [0.5] * 29 + [3]}, "thresholds must be numbers from 0 to 2; delete it"),
        ({"thresholds": [0.5] * 29 + [float("nan")]}, "thresholds must be numbers from 0 to 2; delete it"),
        ({"thresholds": "0.5"}, "delete it and run threshold"),
        ({"thresholds": None}, "delete it and run threshold"),
        ({"thresholds": [0.5] * 29, "names": ["x"] * 29}, "chosen from other predictions than calm has now"),
        (
            {"made_from": {"config": {"goal": "f2"}, "inputs": {}}},
            r"threshold\.goal must be one of f1, precision, recall",
        ),
        ({"made_from": {"config": {}, "inputs": 0}}, "made_from.*delete it and run threshold"),
        ({"made_from": 3}, "made_from.*delete it and run threshold"),
        ({"kept": {"test": {"f1": 0.5}}}, "figures of what is kept are missing; delete it and run threshold"),
        ({"kept": 3}, "kept.*delete it and run threshold"),
        ({"classes": {"own": "x"}}, "classes.*delete it and run threshold"),
        ({"format": 2, "version": "9.9"}, "is of format 2, written by version 9.9"),
    ],
)
def test_a_damaged_file_is_refused_by_name(run, index, change, message):
    write_json(run / THRESHOLDS, read_json(run / THRESHOLDS) | change)
    with pytest.raises(StageError, match=message) as raised:
        fresh_thresholds(run, index)
    assert THRESHOLDS in str(raised.value)


def test_thresholds_are_numbers_that_scores_may_reach_or_not():
    with pytest.raises(ConfigError, match="from 0 to 2"):
        Thresholds(ThresholdConfig(), (-0.1,))
