"""Scales: there and back, order kept, and places in a distribution."""

import numpy as np
import pytest

from pipeline.ensembling.scales import QUANTILES, quantiles_of, to_scores, to_values

SCORES = np.sort(np.random.default_rng(0).random(5000).astype(np.float32) ** 6)[:, None]


def test_probabilities_stay():
    assert to_scores(to_values(SCORES, "probabilities"), "probabilities").tobytes() == SCORES.tobytes()


def test_logits_go_there_and_back_and_no_model_has_a_veto():
    values = to_values([[0.5, 0.75, 0.0, 1.0, 0.9]], "logits")
    assert values[0, 0] == 0 and values[0, 1] == pytest.approx(np.log(3)) and values[0, 4] == pytest.approx(np.log(9))
    assert values[0, 2] == -values[0, 3] == pytest.approx(-np.log(2**24 - 1))
    np.testing.assert_allclose(to_scores(to_values(SCORES, "logits"), "logits"), SCORES, rtol=2e-6, atol=6.1e-8)


def test_a_rank_is_the_share_of_scores_below():
    quantiles = quantiles_of(SCORES)
    assert len(quantiles) == QUANTILES
    ranks = to_values(SCORES, "ranks", quantiles)[:, 0]
    exact = np.linspace(0, 1, len(SCORES))
    np.testing.assert_allclose(ranks, exact, atol=0.01)
    np.testing.assert_allclose(ranks[4000:], exact[4000:], atol=0.002)
    assert (np.diff(ranks) >= 0).all() and len(np.unique(ranks)) > 0.99 * len(np.unique(SCORES))


def test_ranks_beyond_those_seen_keep_their_order():
    quantiles = quantiles_of([0.2, 0.4, 0.6])
    ranks = to_values([[0.0, 0.1, 0.19, 0.2, 0.6, 0.7, 1.0]], "ranks", quantiles)[0]
    assert ranks[0] == 0 and ranks[-1] == 1 and (np.diff(ranks) > 0).all()


def test_the_best_ranks_are_told_apart_closely():
    scores = np.random.default_rng(1).random(200_000).astype(np.float32) ** 20
    ranks = to_values(np.sort(scores)[None], "ranks", quantiles_of(scores))[0]
    np.testing.assert_allclose(ranks[-1000:], 1 - np.arange(1000)[::-1] / 200_000, atol=2e-4)
