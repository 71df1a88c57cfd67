"""Adam against its equations; accumulation against the larger batch; the moving average against its sum."""

import keras
import numpy as np
import pytest

from pipeline.config import TrainingConfig
from pipeline.config.errors import StageError
from pipeline.training import optimizer
from pipeline.training.optimizer import AVERAGED, PLAIN, build_optimizer, names_of_weights, use_weights

RNG = np.random.default_rng(0)
INPUTS = RNG.normal(size=(24, 5)).astype(np.float32)
TARGETS = RNG.normal(size=(24, 2)).astype(np.float32)


def model(batch_size: int, seed: int = 0, **training) -> keras.Model:
    keras.utils.set_random_seed(seed)
    config = TrainingConfig(**{"batch_size": batch_size, "decay": "constant", "learning_rate": 0.05, **training})
    built = keras.Sequential([keras.Input((5,)), keras.layers.Dense(2, use_bias=False)])
    built.compile(build_optimizer(config, 100, built.trainable_variables), "mse", jit_compile=False)
    return built


def train(built: keras.Model, batch_size: int, batches: int) -> list[np.ndarray]:
    """The weights before and after each batch."""
    weights = [built.get_weights()[0].copy()]
    for batch in range(batches):
        rows = np.arange(batch * batch_size, (batch + 1) * batch_size) % len(INPUTS)
        built.train_on_batch(INPUTS[rows], TARGETS[rows])
        weights.append(built.get_weights()[0].copy())
    return weights


def test_adam_with_clipping():
    steps = train(model(8, clip_norm=0.1), 8, 4)
    weights, first, second = steps[0].astype(np.float64), 0.0, 0.0
    for update in range(1, 5):
        rows = np.arange((update - 1) * 8, update * 8) % len(INPUTS)
        x, y = INPUTS[rows].astype(np.float64), TARGETS[rows]
        gradient = 2 * x.T @ (x @ weights - y) / y.size
        gradient *= min(1, 0.1 / np.linalg.norm(gradient))
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        rate = 0.05 * np.sqrt(1 - 0.999**update) / (1 - 0.9**update)  # the paper's end of section 2
        weights = weights - rate * first / (np.sqrt(second) + 1e-8)
        np.testing.assert_allclose(steps[update], weights, atol=2e-5)


@pytest.mark.parametrize("settings", [{}, {"clip_norm": 0.05}, {"decay": "cosine"}])
def test_accumulated_batches_make_the_update_of_one_large_batch(settings):
    small = train(model(4, accumulate=3, **settings), 4, 6)
    np.testing.assert_array_equal(small[0], small[2])
    if settings.get("decay") != "cosine":  # whose rate is that of the last of the batches
        large = train(model(12, **settings), 12, 2)
        np.testing.assert_allclose(small[3], large[1], rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(small[6], large[2], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_average_is_that_of_a_third_of_the_run_until_that_is_its_half_life(accumulate):
    built = model(4, ema_half_life=3, accumulate=accumulate)
    weights = train(built, 4, 80)
    full = 0.5 ** (1 / (3 * accumulate))
    shares = np.zeros(80)  # of the weights after each batch
    for batch in range(80):
        momentum = min(full, batch / (batch + 2))
        shares *= momentum
        shares[batch] = 1 - momentum
    assert shares.sum() == pytest.approx(1)
    halved = 80 - 3 * accumulate
    assert shares[:halved].sum() / shares.sum() == pytest.approx(0.5), "the limit is reached"
    with use_weights(built, AVERAGED):
        average = np.tensordot(shares, np.float64(weights[1:]), 1)
        np.testing.assert_allclose(built.get_weights()[0], average, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(built.get_weights()[0], weights[-1])


@pytest.mark.parametrize("batches", [1, 10, 100])
def test_a_half_life_beyond_the_run_does_not_bring_its_start_back(batches):
    """The weights after batch s have a share of s: the older half has little more than a quarter."""
    built = model(4, ema_half_life=1e6)
    weights = train(built, 4, batches)
    shares = np.arange(1.0, batches + 1)
    with use_weights(built, AVERAGED):
        average = np.tensordot(shares / shares.sum(), np.float64(weights[1:]), 1)
        np.testing.assert_allclose(built.get_weights()[0], average, rtol=1e-4, atol=1e-5)
    assert shares[: batches // 2].sum() < 0.28 * shares.sum()


def test_plain_weights_are_scored_too_while_the_memory_of_the_average_grows():
    built = model(4, ema_half_life=3)
    seen = []
    for _ in range(40):
        train(built, 4, 1)
        seen.append(names_of_weights(built.optimizer))
    full = next(batches for batches in range(1, 100) if batches / (batches + 2) >= 0.5 ** (1 / 3))
    assert seen == [(AVERAGED, PLAIN)] * (full - 1) + [(AVERAGED,)] * (41 - full)
    assert names_of_weights(model(4).optimizer) == (PLAIN,), "there is no average"


def test_plain_weights_are_themselves():
    built = model(4, ema_half_life=3)
    weights = train(built, 4, 2)
    with use_weights(built, PLAIN):
        np.testing.assert_array_equal(built.get_weights()[0], weights[-1])


def test_fit_does_not_put_the_average_in_the_place_of_the_weights():
    """Keras does at the end of each `fit`; here a `fit` is a range of steps."""
    whole, halves = (model(4, ema_half_life=5) for _ in range(2))
    arguments = {"batch_size": 4, "shuffle": False, "verbose": 0}
    whole.fit(INPUTS, TARGETS, **arguments)
    halves.fit(INPUTS[:12], TARGETS[:12], **arguments)
    halves.fit(INPUTS[12:], TARGETS[12:], **arguments)
    np.testing.assert_allclose(halves.get_weights()[0], whole.get_weights()[0], rtol=1e-6)


def test_a_keras_that_would_not_call_ours_is_refused(monkeypatch):
    assert all(name in vars(optimizer.Adam) for name in optimizer._OVERRIDDEN)
    monkeypatch.setattr(optimizer, "_OVERRIDDEN", ("_clip_gradients", "_of_the_past"))
    with pytest.raises(
        StageError, match=r"^Keras 3.* is too new: its optimizer has no _of_the_past; install keras<3.16"
    ):
        build_optimizer(TrainingConfig(), 10, [])
