"""The halves of the hold-out: stable, even, apart from what picks the hold-out; and what is read of each."""

import hashlib

import numpy as np
import pytest
from fixtures.made_up_runs import make_index, make_run

from pipeline.artifacts.predictions import PredictionStore
from pipeline.ensembling import holdout
from pipeline.ensembling.holdout import holdout_halves, is_tuning_half, score_quantiles
from pipeline.ensembling.recipe import Member
from pipeline.inputs.index.ids import hash_ids, is_held_out
from pipeline.metrics import LabelLists, StreamingMetrics

MEMBERS = [Member("one", "one", 1.0), Member("two", "two", 1.0)]


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    return make_index(tmp_path_factory.mktemp("index"))


@pytest.fixture
def stores(index, tmp_path):
    runs = [make_run(tmp_path, index, name, noise) for name, noise in (("one", 2.0), ("two", 4.0))]
    return [PredictionStore(run / "predictions" / "holdout") for run in runs]


def test_halves_are_the_same_everywhere():
    ids = ["a", "b", "1e10", "-abc", "ü", "dQw4", "x" * 99, ""]
    assert is_tuning_half(ids).tolist() == [is_tuning_half([id])[0] for id in ids]
    assert is_tuning_half(ids).tolist() == [hashlib.sha256(id.encode()).digest()[15] % 2 == 1 for id in ids]
    assert is_tuning_half(ids).tolist() == [True, False, True, True, True, False, False, False]


def test_halves_are_even_within_the_hold_out():
    ids = [f"video{number}" for number in range(40_000)]
    picked = is_held_out(hash_ids(ids), 10)
    for chosen in (picked, ~picked):
        assert abs(is_tuning_half(ids)[chosen].mean() - 0.5) < 4 * 0.5 / np.sqrt(chosen.sum())


def test_each_half_has_its_videos_and_their_labels(index, stores):
    tuned, other = holdout_halves("gap", stores, MEMBERS, "probabilities", index)
    rows = index.rows("holdout")
    mine = is_tuning_half(index.ids_of(rows))
    assert 20 < mine.sum() < len(rows) - 20
    for half, chosen in ((tuned, rows[mine]), (other, rows[~mine])):
        assert len(half.offsets) == len(chosen) + 1
        truth = LabelLists(*index.labels_of(chosen))
        assert half.positives == len(truth.values)
        for store, one in zip(stores, np.eye(2)):
            parts = list(store.read())
            labels, scores = (np.concatenate([part[what] for part in parts])[np.isin(rows, chosen)] for what in (1, 2))
            metrics = StreamingMetrics(30)
            metrics.accumulate(labels, scores, truth)
            assert half.score(one) == pytest.approx(metrics.gap(), abs=1e-7)


def test_what_would_take_too_much_memory_is_cut_by_hash_and_it_says_so(index, stores, monkeypatch, capsys):
    whole = holdout_halves("gap", stores, MEMBERS, "logits", index)
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(holdout, "_MOST_BYTES", sum(half.nbytes for half in whole) // 2)
    cut = holdout_halves("gap", stores, MEMBERS, "logits", index)
    assert "of the hold-out, chosen by hash" in capsys.readouterr().out
    videos = [sum(len(half.offsets) - 1 for half in halved) for halved in (cut, whole)]
    assert 0.3 < videos[0] / videos[1] < 0.7
    for part, half in zip(cut, whole):
        assert set(part.values) <= set(half.values)


def test_quantiles_of_some_videos_are_near_those_of_all(stores, monkeypatch):
    exact = score_quantiles(stores[0])
    everything = np.concatenate([part.scores.ravel() for part in stores[0].read()])
    assert exact[0] == everything.min() and exact[-1] == everything.max()
    monkeypatch.setattr(holdout, "_MOST_SCORES", everything.size // 2)
    np.testing.assert_allclose(score_quantiles(stores[0])[50:200], exact[50:200], atol=0.1)
