"""Thresholds of stored predictions: chosen on the whole or on a part, and measured where they were not chosen."""

import numpy as np
import pytest
from fixtures.made_up_runs import DATASET, make_index, make_run

from pipeline.artifacts.predictions import PredictionStore
from pipeline.config import ThresholdConfig
from pipeline.config.errors import StageError
from pipeline.ensembling.holdout import is_tuning_half
from pipeline.inference.freshness import prediction_store
from pipeline.inference.threshold_choice import HALVES, choose_thresholds, measure, measure_crosswise
from pipeline.inputs.index import HOLDOUT
from pipeline.metrics import LabelLists
from pipeline.metrics.thresholds import Kept, ThresholdSearch

PRECISION = ThresholdConfig("precision", 0.8, least_positives=3)


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    return make_index(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def store(index):
    return prediction_store(make_run(index.folder.parents[2], index, "calm", 3.0), HOLDOUT)


def whole(store: PredictionStore):
    parts = list(store.read())
    return [id for part in parts for id in part.ids], *(np.concatenate(each) for each in list(zip(*parts))[1:])


def by_hand(store, index, chosen, settings):
    """The choice on some videos, of the arrays as a whole."""
    _, labels, scores = whole(store)
    truth = LabelLists(*index.labels_of(index.rows(HOLDOUT))).of_videos(chosen)
    search = ThresholdSearch(DATASET.num_classes)
    search.find(labels[chosen], scores[chosen], truth)
    search.count(labels[chosen], scores[chosen])
    return search.choose(settings.goal, settings.value or 0, settings.shared, settings.least_positives)


@pytest.mark.parametrize("settings", [PRECISION, ThresholdConfig(shared=True), ThresholdConfig("recall", 0.7)])
def test_they_are_chosen_on_all_videos_and_on_each_half(index, store, settings):
    found = choose_thresholds(store, index, settings, *HALVES)
    half = is_tuning_half(whole(store)[0])
    assert 0.2 < half.mean() < 0.8
    for choice, chosen in zip(found, (np.ones_like(half), half, ~half), strict=True):
        wanted = by_hand(store, index, chosen, settings)
        for name, values in wanted._asdict().items():
            np.testing.assert_array_equal(getattr(choice, name), values)


def test_each_half_is_measured_by_what_the_other_chose(index, store):
    ids, labels, scores = whole(store)
    half, kept = is_tuning_half(ids), Kept(DATASET.num_classes)
    truth = LabelLists(*index.labels_of(index.rows(HOLDOUT)))
    for measured in (half, ~half):
        by_class = by_hand(store, index, ~measured, PRECISION).by_class
        kept.add(labels[measured], scores[measured], truth.of_videos(measured), by_class)
    choice, *halves = choose_thresholds(store, index, PRECISION, *HALVES)
    crosswise = measure_crosswise(store, index, tuple(halves))
    assert crosswise == kept.figures()
    where_chosen = measure(store, index, HOLDOUT, choice)
    assert where_chosen["videos"] == crosswise["videos"] == len(ids)
    assert where_chosen["precision"] > crosswise["precision"]  # too good there


def test_unlabeled_videos_do_not_count(index, store, monkeypatch):
    rows = index.rows(HOLDOUT)
    known = np.arange(len(rows)) % 3 > 0
    monkeypatch.setattr(index, "labels_known", lambda asked: known[np.searchsorted(rows, asked)])
    (choice,) = choose_thresholds(store, index, PRECISION)
    np.testing.assert_array_equal(choice.by_class, by_hand(store, index, known, PRECISION).by_class)
    assert measure(store, index, HOLDOUT, choice)["videos"] == known.sum()


def test_predictions_of_other_videos_are_refused(index, store):
    with pytest.raises(StageError, match="holds other videos than test"):
        measure(store, index, "test", choose_thresholds(store, index, PRECISION)[0])
