"""Scores of stores, of CSVs and of the label priors, against dense metrics."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
from fixtures.support import labels_of
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from pipeline.artifacts.done import Done
from pipeline.artifacts.files import read_json, write_json
from pipeline.artifacts.places import ENSEMBLE
from pipeline.artifacts.predictions import Predictions, PredictionStore
from pipeline.config.errors import StageError
from pipeline.ensembling.holdout import is_tuning_half
from pipeline.evaluate import score_csv
from pipeline.inference import scoring
from pipeline.inference.comparing import best_run
from pipeline.inference.scoring import score_predictions, score_priors, scores_of
from pipeline.metrics import (
    global_average_precision,
    hit_at_one,
    mean_average_precision,
    precision_at_equal_recall_rate,
    top_k,
)
from pipeline.submission import write_submission


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


def expected_of_all(dense, hot):
    """Where all nine classes are kept."""
    some = (hot.sum(axis=0) > 0) & (hot.sum(axis=0) < len(hot))
    areas = [roc_auc_score(hot[:, label], dense[:, label]) for label in np.flatnonzero(some)]
    return {
        **expected(dense, hot),
        "map_all_kept": mean_average_precision(dense, hot),
        "auc": np.mean(areas),
        "d_prime": np.mean(np.sqrt(2) * norm.ppf(areas)),
    }


def test_a_store(scored):
    index, store, dense, hot = scored
    scores = scores_of(store, index, "train")
    assert scores.whole == pytest.approx(expected_of_all(dense, hot))
    assert scores == scores_of(store, index, "train") and scores.by_class.keys() == {"average_precision", "auc"}
    for name, mean in (("average_precision", "map_all_kept"), ("auc", "auc")):
        assert np.nanmean(np.array(scores.by_class[name], float)) == pytest.approx(scores.whole[mean])


def test_videos_of_unknown_labels_are_not_scored_and_those_that_have_none_are(scored, monkeypatch):
    index, store, dense, hot = scored
    rows = index.rows("train")
    known = np.arange(len(rows)) % 3 > 0
    values, offsets = index.labels_of(rows)
    empty = np.arange(len(rows)) % 5 == 0  # have no labels, and it is known
    hot = hot * ~empty[:, None]

    def labels_of_chosen(chosen):
        sizes = np.where(empty[chosen], 0, np.diff(offsets)[chosen])
        lists = [values[offsets[row] : offsets[row] + size] for row, size in zip(chosen, sizes)]
        return np.concatenate(lists), np.concatenate([[0], np.cumsum(sizes)])

    monkeypatch.setattr(index, "labels_known", lambda chosen: known[chosen])
    monkeypatch.setattr(index, "labels_of", labels_of_chosen)
    found = score_predictions(store.read, index, "train", store.folder).whole
    assert found == pytest.approx(expected_of_all(dense[known], hot[known]))
    assert found["videos"] == known.sum()


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
    scores = scores_of(store, index, "train").whole
    assert scores["map_all_kept"] == pytest.approx(mean_average_precision(dense, hot, top_k=40))
    assert scores["map"] == pytest.approx(mean_average_precision(dense, hot, top_k=20))
    assert scores["map"] != pytest.approx(scores["map_all_kept"])


def test_a_csv_in_another_order(scored, tmp_path):
    index, store, dense, hot = scored
    path = tmp_path / "submission.csv"
    write_submission(path, reversed(list(store.read())))
    assert score_csv(path, index, "train") == pytest.approx(expected(dense, hot), rel=1e-4)


def test_the_label_priors(scored):
    index, _, _, hot = scored
    dense = np.tile(hot.mean(axis=0), (len(hot), 1))
    found = score_priors(index, "train")
    assert found == pytest.approx(expected_of_all(dense, hot))
    assert found["auc"] == 0.5, "the same answer for every video tells none apart"


def test_videos_missing_or_unknown_are_named(scored, tmp_path):
    index, store, *_ = scored
    parts = list(store.read())
    path = tmp_path / "part.csv"
    write_submission(path, parts[:1])
    with pytest.raises(StageError, match=r"part\.csv lacks 24 videos of split train, for example 'v016'"):
        score_csv(path, index, "train")
    write_submission(path, [*parts, parts[0]])
    with pytest.raises(StageError, match=r"'v000' is not in split train .*, or is there twice"):
        score_csv(path, index, "train")


@pytest.fixture
def held_out(scored, monkeypatch):
    """The same, with the training videos as the hold-out."""
    for module in ("inference.comparing", "inference.scoring", "inputs.index", "ensembling.holdout"):
        monkeypatch.setattr(f"pipeline.{module}.HOLDOUT", "train")
    return scored


def test_a_hold_out_is_scored_on_both_halves_too(held_out):
    index, store, dense, hot = held_out
    tuned = is_tuning_half(index.ids_of(index.rows("train")))
    scores = scores_of(store, index, "train")
    for found, chosen in ((scores.whole, slice(None)), (scores.tuned, tuned), (scores.reported, ~tuned)):
        assert found == pytest.approx(expected_of_all(dense[chosen], hot[chosen]))
    assert 0 < scores.tuned["videos"] < len(hot)


def test_scores_are_made_once_and_again_where_predictions_or_labels_are_others(scored, monkeypatch):
    index, store, dense, hot = scored
    made, score = [], scoring.score_predictions
    monkeypatch.setattr(scoring, "score_predictions", lambda *arguments: made.append(1) or score(*arguments))
    first = scores_of(store, index, "train")
    assert scores_of(store, index, "train") == first and len(made) == 1
    index.digest = "another"
    assert scores_of(store, index, "train") == first and len(made) == 2
    rows = index.rows("train")
    ids = index.ids_of(rows)
    store.write_all({}, {}, 16, Predictions(ids, *top_k(1 - dense, 9)))
    assert scores_of(store, index, "train").whole["gap"] == pytest.approx(global_average_precision(1 - dense, hot))
    assert len(made) == 3
    part = store.parts()[0]
    part.write_bytes(part.read_bytes()[:-1] + b"x")
    with pytest.raises(StageError, match=r"part-00000\.parquet is damaged|does not hold the parts"):
        scores_of(store, index, "train")


def test_scores_of_a_newer_format_are_refused(scored):
    index, store, *_ = scored
    scores_of(store, index, "train")
    values = read_json(store.folder / "scores.json")
    write_json(store.folder / "scores.json", {**values, "format": 99})
    with pytest.raises(StageError, match=r"scores\.json is of format 99"):
        scores_of(store, index, "train")


def a_run(folder: Path, store: PredictionStore, index) -> Path:
    """A trained run with the predictions of a store."""
    shutil.copytree(store.folder, folder / "predictions" / "train")
    write_json(folder / "config.json", {})
    Done({}, {}, "its model").write(folder)
    inputs = {"model": "its model", "index": index.digest}
    Done({}, inputs, Done.read(store.folder).output).write(folder / "predictions" / "train")
    return folder


def test_the_best_run_is_best_on_the_half_that_chose_nothing(held_out, tmp_path):
    index, _, dense, hot = held_out
    reported = ~is_tuning_half(index.ids_of(index.rows("train")))
    better = np.where(reported[:, None] & (np.arange(len(hot)) % 3 == 0)[:, None], hot, dense).astype(np.float32)
    worse = np.where(reported[:, None], dense, hot).astype(np.float32)  # perfect on the half that weights may know
    ids, runs = index.ids_of(index.rows("train")), {}
    for name, values in {"better": better, "worse": worse, "even": dense}.items():
        other = PredictionStore(tmp_path / f"{name}-store")
        other.write_all({}, {}, 16, Predictions(ids, *top_k(values, 9)))
        runs[name] = a_run(tmp_path / name, other, index)
    best, gaps = best_run(list(runs.values()), index, "gap")
    assert best == runs["better"] and list(gaps) == ["better", "worse", "even"]
    for name, values in {"better": better, "worse": worse, "even": dense}.items():
        assert gaps[name] == pytest.approx(global_average_precision(values[reported], hot[reported]))


def test_without_a_labeled_hold_out_the_blend_or_the_only_run_is_best(small_index, tmp_path):
    small_index.splits = {"train": 40}
    one, other, blend = tmp_path / "one", tmp_path / "other", tmp_path / ENSEMBLE
    assert best_run([one], small_index, "gap") == (one, {})
    assert best_run([one, other, blend], small_index, "gap") == (blend, {})
    with pytest.raises(StageError, match=r"which run\? .*choose --run from: one, other, or run infer"):
        best_run([one, other], small_index, "gap")


def test_runs_without_hold_out_predictions_are_named_and_stale_ones_refused(held_out, tmp_path, capsys):
    index, store, *_ = held_out
    run, other = a_run(tmp_path / "run", store, index), tmp_path / "other"
    other.mkdir()
    assert best_run([run, other], index, "gap")[0] == run
    assert "cannot be chosen, since they have not predicted the hold-out: other" in capsys.readouterr().out
    Done({}, {}, "another model").write(run)
    with pytest.raises(StageError, match="was made by another model"):
        best_run([run, other], index, "gap")
