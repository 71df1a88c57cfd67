"""Averages of weights: the mean by hand; greedy against the same choice made in NumPy, never below its best member."""

import keras
import numpy as np
import pytest

from pipeline.training import averaging


def model() -> keras.Model:
    inputs = keras.Input((5,))
    hidden = keras.layers.BatchNormalization()(keras.layers.Dense(4)(inputs))
    return keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Dropout(0.5)(hidden)))


@pytest.fixture
def members(tmp_path):
    """Five stored models, by path, with weights of their own, and batch norm's statistics."""
    rng = np.random.default_rng(0)
    stored = {}
    for number in range(5):
        each = model()
        weights = [rng.normal(size=weight.shape).astype(np.float32) ** 2 for weight in each.weights]
        each.set_weights(weights)
        each.save(path := tmp_path / f"{number}.keras")
        stored[path] = weights
    return stored


def mean_of(all_weights) -> list[np.ndarray]:
    return [np.mean(np.stack(same).astype(np.float64), axis=0) for same in zip(*all_weights, strict=True)]


def assert_near(model: keras.Model, expected: list[np.ndarray]) -> None:
    for weight, value in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_allclose(weight, value, rtol=1e-6)


def test_uniform_is_the_mean_of_weights_and_statistics(members):
    averaged = model()
    averaging.average_uniformly(averaged, list(members))
    assert_near(averaged, mean_of(members.values()))
    assert len(averaged.weights) == 8 and len(averaged.variables) == 9, "a seed generator is not a weight"


def slow_greedy(members, score) -> list:
    ranked = sorted(members, key=lambda path: score(members[path]), reverse=True)
    chosen = ranked[:1]
    for path in ranked[1:]:
        before, after = ([members[each] for each in paths] for paths in (chosen, [*chosen, path]))
        if score(mean_of(after)) >= score(mean_of(before)):
            chosen.append(path)
    return chosen


@pytest.mark.parametrize("seed", range(6))
def test_greedy_chooses_what_does_not_harm(members, seed):
    """The score of weights: how near they are to some others, for which sometimes more and sometimes fewer help."""
    rng = np.random.default_rng(seed)
    wanted = [0.4 * value + rng.normal(size=value.shape) for value in mean_of(list(members.values())[: seed % 3 + 1])]
    averaged = model()
    calls = []

    def score(weights):
        return -sum(float(np.square(one - other).sum()) for one, other in zip(weights, wanted, strict=True))

    def score_model():
        calls.append(score(averaged.get_weights()))
        return calls[-1]

    taken = averaging.average_greedily(averaged, list(members), score_model)
    assert list(taken) == slow_greedy(members, score)
    assert_near(averaged, mean_of([members[path] for path in taken]))
    assert len(calls) == 2 * len(members) - 1
    best = max(score(weights) for weights in members.values())
    assert score(averaged.get_weights()) >= best - 1e-4
    for path, (alone, _) in taken.items():
        assert alone == pytest.approx(score(members[path]))
    reached = [together for _, together in taken.values()]
    assert reached == sorted(reached) and reached[0] == max(calls[: len(members)])


def test_a_member_without_which_nothing_is_good_stays_alone(members):
    averaged = model()
    perfect = list(members)[3]
    weights = members[perfect]

    def score():
        return float(all((one == other).all() for one, other in zip(averaged.get_weights(), weights)))

    assert list(averaging.average_greedily(averaged, list(members), score)) == [perfect]
    assert_near(averaged, weights)
