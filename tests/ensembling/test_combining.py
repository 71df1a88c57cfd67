"""The blend against a dense slow form, and in every order of the models."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from reference.blends import ensembles, slow_blend

from pipeline.ensembling import combining
from pipeline.ensembling.combining import blend

LABELS, SCORES = np.array([[0, 1]]), np.array([[0.5, 0.4]], np.float32)


@given(ensembles())
@settings(max_examples=150, deadline=None)
def test_equals_the_slow_form(ensemble):
    labels, scores = blend(*ensemble)
    expected_labels, expected_scores = slow_blend(*ensemble)
    assert labels.tolist() == expected_labels
    assert scores.tolist() == expected_scores
    assert labels.shape == scores.shape == (len(ensemble[0][0]), ensemble[3])
    assert labels.dtype == np.int16 and scores.dtype == np.float32


@given(ensembles(exact=False))
@settings(max_examples=80, deadline=None)
def test_equals_the_slow_form_of_any_scores(ensemble):
    labels, scores = blend(*ensemble)
    expected_labels, expected_scores = slow_blend(*ensemble)
    assert labels.tolist() == expected_labels
    np.testing.assert_allclose(scores, np.reshape(expected_scores, scores.shape), rtol=3e-7)


@given(ensembles(exact=False))
@settings(max_examples=60, deadline=None)
def test_the_order_of_the_models_does_not_change_a_byte(ensemble):
    labels, scores, weights, top_k, num_classes = ensemble
    expected = [array.tobytes() for array in blend(*ensemble)]
    for order in itertools.permutations(range(len(weights))):
        models = [labels[i] for i in order], [scores[i] for i in order], [weights[i] for i in order]
        assert [array.tobytes() for array in blend(*models, top_k, num_classes)] == expected


def test_sums_that_round_differently_in_another_order():
    # 1 + 2^-24 lies between two float32; two terms of 2^-53 lift it over the middle only if they are added first.
    scores = [np.array([[score, 0]], np.float32) for score in (1, 2**-24, 2**-53, 2**-53)]
    results = [blend([LABELS] * 4, order, [1] * 4, 2, 5)[1].tobytes() for order in itertools.permutations(scores)]
    assert len(set(results)) == 1


def test_weights_are_the_same_numbers_in_any_order():
    for weights in itertools.permutations([0.1, 0.2, 0.3]):  # whose plain sum depends on the order
        models = combining._checked([LABELS] * 3, [SCORES] * 3, weights, 5)
        assert [model.weight for model in models] == [0.1 / 0.6, 0.2 / 0.6, 0.3 / 0.6]


def test_a_model_of_no_weight_adds_no_class():
    labels, scores = [np.array([[1, 2]]), np.array([[0]])], [np.array([[0.5, 0.25]]), np.array([[1.0]])]
    best, means = blend(labels, scores, [1, 0], 2, 5)
    assert best.tolist() == [[1, 2]] and means.tolist() == [[0.5, 0.25]]


def test_worked_by_hand():
    labels = [np.array([[0, 1]]), np.array([[2, 0]])]
    scores = [np.array([[0.8, 0.4]], np.float32), np.array([[0.6, 0.2]], np.float32)]
    best, means = blend(labels, scores, [3, 1], top_k=2, num_classes=5)
    # 0: (3*.8 + .2)/4 = .65; 1: (3*.4 + .2)/4 = .35, .2 being all that the second may have given it; 2: (3*.4+.6)/4.
    assert best.tolist() == [[0, 2]]
    assert means.tolist() == [pytest.approx([0.65, 0.45])]


def test_one_model_is_given_back_unchanged():
    rng = np.random.default_rng(0)
    labels = np.argsort(rng.random((40, 60)), axis=1)[:, :30]
    scores = -np.sort(-(rng.random((40, 30), np.float32) ** 6), axis=1)
    best, means = blend([labels], [scores], [0.3], 30, 60)
    assert means.tobytes() == scores.tobytes()
    assert best.tolist() == labels.tolist()


def test_chunks_change_nothing(monkeypatch):
    rng = np.random.default_rng(1)
    labels = [np.argsort(rng.random((50, 40)), axis=1)[:, :k] for k in (10, 20, 40)]
    scores = [rng.random(kept.shape, np.float32) for kept in labels]
    expected = blend(labels, scores, [1, 2, 3], 15, 40)
    monkeypatch.setattr(combining, "_CHUNK", 100)
    for ours, theirs in zip(blend(labels, scores, [1, 2, 3], 15, 40), expected):
        assert ours.tobytes() == theirs.tobytes()


def test_many_classes_need_int32():
    labels, _ = blend([np.array([[39_999, 3]])], [np.array([[0.5, 0.4]])], [1], 1, 40_000)
    assert labels.dtype == np.int32 and labels.tolist() == [[39_999]]


@pytest.mark.parametrize(
    ("labels", "scores", "weights", "top_k", "message"),
    [
        ([], [], [], 1, "0 models"),
        ([LABELS], [SCORES], [1, 2], 1, "2 weights"),
        ([LABELS], [SCORES], [-1], 1, "weights"),
        ([LABELS], [SCORES], [0], 1, "not all 0"),
        ([LABELS], [SCORES], [np.nan], 1, "finite"),
        ([LABELS], [SCORES], [1], 3, "from 1 to 2"),
        ([LABELS], [SCORES], [1], 0, "from 1 to 2"),
        ([LABELS, LABELS[:, :1]], [SCORES, SCORES], [1, 1], 1, "model 1: labels"),
        ([LABELS, np.repeat(LABELS, 2, 0)], [SCORES, np.repeat(SCORES, 2, 0)], [1, 1], 1, "the same videos for each"),
        ([LABELS, LABELS + 4], [SCORES, SCORES], [1, 1], 1, "model 1: labels must be integers from 0 to 4"),
        ([LABELS - 1], [SCORES], [1], 1, "model 0"),
        ([LABELS * 0.5], [SCORES], [1], 1, "integers"),
        ([LABELS, LABELS], [SCORES, SCORES * np.inf], [1, 1], 1, "model 1: a score is not a finite"),
        ([LABELS, LABELS * 0], [SCORES, SCORES], [1, 1], 1, "label 0 twice for video 0"),
    ],
)
def test_bad_arguments_are_refused(labels, scores, weights, top_k, message):
    with pytest.raises(ValueError, match=message):
        blend(labels, scores, weights, top_k, 5)
