"""Scores of stores, of CSVs and of the label priors, against dense metrics."""

import dataclasses
import shutil

import numpy as np
import pytest
from fixtures.support import labels_of

from pipeline.artifacts.done import Done
from pipeline.artifacts.files import write_json
from pipeline.artifacts.places import ENSEMBLE, WEIGHTS
from pipeline.artifacts.predictions import Predictions, PredictionStore
from pipeline.config.errors import StageError
from pipeline.ensembling.holdout import halves
from pipeline.ensembling.recipe import Recipe
from pipeline.evaluate import score_csv
from pipeline.inference.scoring import holdout_gaps, score, score_priors
from pipeline.metrics import (
    global_average_precision,
    hit_at_one,
    mean_average_precision,
    precision_at_equal_recall_rate,
    top_k,
)
from pipeline.submission import write


@pytest.fixture
def scored(small_index, tmp_path):
    """The small index, a store of random predictions of its videos, and both in dense form."""
    rows = small_index.rows("train")
    ids = small_index.ids_of(rows)
    dense = np.random.default_rng(0).random((len(rows), 9)).astype(np.float32)
    hot = np.zeros((len(rows), 9))
    for row, identity in enumerate(ids):
        hot[row, labels_of(int(identity[1:]))] = 1
    store = PredictionStore(tmp_path / "predictions")
    for number, videos in store.begin({}, {}, len(rows), 16):
        part = slice(videos.start, videos.stop)
        store.write(number, Predictions(ids[part], *top_k(dense[part], 9)))
    store.finish({}, {})
    return small_index, store, dense, hot


def expected(dense, hot):
    return {
        "gap": global_average_precision(dense, hot),
        "map": mean_average_precision(dense, hot, top_k=20),
        "hit_at_one": hit_at_one(dense, hot),
        "perr": precision_at_equal_recall_rate(dense, hot),
        "videos": len(hot),
    }


def test_a_store(scored):
    index, store, dense, hot = scored
    all_kept = mean_average_precision(dense, hot)  # the store keeps all nine classes
    assert score(store, index, "train") == pytest.approx({**expected(dense, hot), "map_all_kept": all_kept})


def test_map_of_all_kept_goes_beyond_the_best_twenty(small_index, tmp_path):
    """With 60 classes of which 40 are kept, against AP class by class over those pairs."""
    index, rng = small_index, np.random.default_rng(1)
    index.dataset = dataclasses.replace(index.dataset, num_classes=60)
    rows = index.rows("train")
    dense, hot = rng.random((len(rows), 60)).astype(np.float32), np.zeros((len(rows), 60))
    for row, identity in enumerate(index.ids_of(rows)):
        hot[row, labels_of(int(identity[1:]))] = 1
    store = PredictionStore(tmp_path / "predictions")
    ((number, _),) = store.begin({}, {}, len(rows), 100)
    store.write(number, Predictions(index.ids_of(rows), *top_k(dense, 40)))
    store.finish({}, {})
    scores = score(store, index, "train")
    assert scores["map_all_kept"] == pytest.approx(mean_average_precision(dense, hot, top_k=40))
    assert scores["map"] == pytest.approx(mean_average_precision(dense, hot, top_k=20))
    assert scores["map"] != pytest.approx(scores["map_all_kept"])


def test_a_csv_in_another_order(scored, tmp_path):
    index, store, dense, hot = scored
    path = tmp_path / "submission.csv"
    write(path, reversed(list(store.read())))
    assert score_csv(path, index, "train") == pytest.approx(expected(dense, hot), rel=1e-4)


def test_the_label_priors(scored):
    index, _, _, hot = scored
    dense = np.tile(hot.mean(axis=0), (len(hot), 1))
    all_kept = mean_average_precision(dense, hot)
    assert score_priors(index, "train") == pytest.approx({**expected(dense, hot), "map_all_kept": all_kept})


def test_videos_missing_or_unknown_are_named(scored, tmp_path):
    index, store, *_ = scored
    parts = list(store.read())
    path = tmp_path / "part.csv"
    write(path, parts[:1])
    with pytest.raises(StageError, match=r"part\.csv: 24 videos of split train are missing, for example 'v016'"):
        score_csv(path, index, "train")
    write(path, [*parts, parts[0]])
    with pytest.raises(StageError, match=r"'v000' is not in split train .*, or is there twice"):
        score_csv(path, index, "train")


def test_holdout_gaps_are_those_of_the_ensemble_where_it_is_up_to_date(scored, tmp_path, monkeypatch):
    index, store, dense, hot = scored
    monkeypatch.setattr("pipeline.inference.scoring.HOLDOUT", "train")
    monkeypatch.setattr("pipeline.inputs.index.HOLDOUT", "train")
    monkeypatch.setattr("pipeline.ensembling.holdout.HOLDOUT", "train")
    run, ensemble = tmp_path / "run", tmp_path / ENSEMBLE
    for folder in (run, ensemble):
        shutil.copytree(store.folder, folder / "predictions" / "train")
    blended = Done.read(store.folder).output
    recipe = {"combine": "probabilities", "top_k": 9, "members": [{"run": "run", "path": str(run), "weight": 1.0}]}
    write_json(run / "config.json", {})
    Done({}, {}, "its model").write(run)
    Done({}, {"model": "its model", "index": index.digest}, blended).write(run / "predictions" / "train")
    made_of = {"run": blended, "model of run": "its model", "index": index.digest}
    write_json(ensemble / WEIGHTS, recipe)
    Done(Recipe.read(ensemble / WEIGHTS).settings(), made_of, blended).write(ensemble / "predictions" / "train")
    other = ~halves(index.ids_of(index.rows("train")))
    anew = pytest.approx(global_average_precision(dense[other], hot[other]))
    assert holdout_gaps([run, ensemble], ensemble, index) == {"run": anew, ENSEMBLE: anew}
    inputs = {"run": blended, "worse": "not used", "index": index.digest}
    about = {**recipe, "reported": {"run": 0.25, ENSEMBLE: 0.75}, "made_from": {"inputs": inputs}}
    write_json(ensemble / WEIGHTS, about)
    assert holdout_gaps([run, ensemble, tmp_path / "none"], ensemble, index) == {"run": 0.25, ENSEMBLE: 0.75}
    inputs["run"] = "another digest"
    write_json(ensemble / WEIGHTS, about)
    assert holdout_gaps([run, ensemble], ensemble, index) == {"run": anew, ENSEMBLE: anew}
    inputs |= {"run": blended, "index": "another index"}
    write_json(ensemble / WEIGHTS, about)
    assert holdout_gaps([run], ensemble, index) == {"run": anew}
