"""The search never falls below the best single run, finds what is there to find, and leaves the needless out."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.blends import ensembles

from pipeline.ensembling.candidates import Candidates
from pipeline.ensembling.tuning import SEARCH, coordinate_ascent, greedy_selection, rank_alone
from pipeline.metrics import LabelLists


def searches(gap, names, among=None):
    among = np.arange(len(names)) if among is None else among
    alone = rank_alone(gap, names)
    selected = greedy_selection(gap, names, alone[0], among)
    return alone, selected, coordinate_ascent(gap, selected[-1], among), coordinate_ascent(gap, alone[0], among)


@given(ensembles(exact=False), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_never_below_the_best_single_run(ensemble, seed):
    labels, scores, _, _, num_classes = ensemble
    rng = np.random.default_rng(seed)
    truth = LabelLists.of([rng.permutation(num_classes)[: rng.integers(0, 4)] for _ in labels[0]])
    gap = Candidates.align(labels, scores, truth, num_classes).score
    names = [f"m{run}" for run in range(len(labels))]
    alone, *found = searches(gap, names)
    best = max(gap(one) for one in np.eye(len(labels)))
    assert alone[0].score == best and [step.score for step in alone] == sorted(
        (step.score for step in alone), reverse=True
    )
    for steps in found:
        assert steps[0].score >= best and steps[-1].score >= max(step.score for step in steps)
        for step in steps:
            assert step.score == gap(step.weights)
            assert (step.weights >= 0).all() and np.isclose(step.weights.sum(), 1)


@given(st.integers(0, 2**32), st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_never_below_it_on_any_ground(seed, runs):
    """GAP leaps; so here is a ground without any order."""

    def gap(weights):
        return float(np.random.default_rng([seed, *np.round(weights * 1e6).astype(int)]).random())

    alone, *found = searches(gap, [f"m{run}" for run in range(runs)])
    for steps in found:
        assert steps[-1].score >= steps[0].score >= alone[0].score == max(gap(one) for one in np.eye(runs))


def models(rng, videos: int, noises: list[float]):
    """Models that know the labels, each with noise of its own, and the labels."""
    truth = [rng.permutation(30)[: rng.integers(1, 4)] for _ in range(videos)]
    known = np.zeros((videos, 30))
    for video, labels in enumerate(truth):
        known[video, labels] = 1
    dense = [known + rng.normal(0, noise, known.shape) for noise in noises]
    labels = [np.argsort(-each, axis=1) for each in dense]
    probabilities = [1 / (1 + np.exp(-np.take_along_axis(each, kept, 1))) for each, kept in zip(dense, labels)]
    return Candidates.align(labels, probabilities, LabelLists.of(truth), 30)


def test_a_perfect_model_among_random_ones_gets_all_the_weight():
    gap = models(np.random.default_rng(0), 200, [50, 50, 0, 50, 50]).score
    alone, *found = searches(gap, list("abcde"))
    assert alone[0].step == "c alone" and alone[0].score == 1
    for steps in found:
        assert steps[-1].weights.tolist() == [0, 0, 1, 0, 0]


def test_a_good_model_among_random_ones_gets_nearly_all_from_equal_weights():
    gap = models(np.random.default_rng(1), 400, [9, 0.4, 9, 9]).score
    start = rank_alone(gap, list("abcd"))[0]._replace(weights=np.full(4, 0.25), score=gap(np.ones(4)))
    steps = coordinate_ascent(gap, start, range(4))
    assert steps[-1].weights[1] > 0.85 and steps[-1].score > start.score + 0.05
    assert [step.score for step in steps] == sorted(step.score for step in steps)


def test_models_that_help_each_other_are_mixed_and_the_bad_one_is_left_out():
    gap = models(np.random.default_rng(2), 400, [0.8, 0.8, 0.8, 20]).score
    alone, selected, tuned, _ = searches(gap, list("abcd"))
    for steps in (selected, tuned):
        assert steps[-1].score > alone[0].score + 0.05
        assert steps[-1].weights[3] == 0 and (steps[-1].weights[:3] > 0.15).all()
    assert tuned[-1].score >= selected[-1].score
    assert selected[1].step in ("+ a", "+ b", "+ c")


def test_only_runs_that_may_get_a_weight_do():
    gap = models(np.random.default_rng(3), 200, [0.8, 0.8, 0.9, 1.0]).score
    alone = rank_alone(gap, list("abcd"))
    among = sorted(int(np.argmax(step.weights)) for step in alone[:2])
    for steps in (greedy_selection(gap, list("abcd"), alone[0], among), coordinate_ascent(gap, alone[0], among)):
        assert set(np.flatnonzero(steps[-1].weights)) == set(among)


def test_needless_runs_are_left_out():
    start = rank_alone(lambda weights: 0.5, ["a", "b"])[0]._replace(weights=np.array([0.9, 0.1]), score=0.5)
    steps = coordinate_ascent(lambda weights: 0.5, start, range(2))
    assert [step.step for step in steps] == ["a alone", "needless runs left out"]
    assert sorted(steps[-1].weights) == [0, 1]


def test_progress_comes_to_its_total():
    gap = models(np.random.default_rng(4), 20, [0.8, 0.8]).score
    heard = []
    alone = rank_alone(gap, ["a", "b"])
    coordinate_ascent(
        gap, greedy_selection(gap, ["a", "b"], alone[0], range(2), heard.append)[-1], range(2), heard.append
    )
    assert sum(heard) == SEARCH
