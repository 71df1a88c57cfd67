"""Running statistics: the weighted mean of what was seen, in every family; those that are not finite are named."""

import dataclasses

import keras
import numpy as np
import pytest
from fixtures.support import SMALL

from pipeline.config import POOLING, ClassifierConfig, ModelConfig
from pipeline.config.errors import StageError
from pipeline.models import FAMILIES, build_model
from pipeline.training import statistics

RNG = np.random.default_rng(0)


def model() -> keras.Model:
    layers = [keras.Input((5,)), keras.layers.Dropout(0.2), keras.layers.BatchNormalization(momentum=0.9)]
    return keras.Sequential([*layers, keras.layers.Dense(2)])


def tracked(built: keras.Model) -> list[np.ndarray]:
    return [weight.numpy() for weight in built.non_trainable_weights]


@pytest.mark.parametrize("batches", [1, 2, 30])
def test_they_are_the_mean_of_the_batches_of_late(batches):
    built = model()
    statistics.start_at_zero(built)
    built.layers[0].rate = 0.0
    inputs = RNG.normal(3, 2, (batches, 50, 5)).astype(np.float32)
    for batch in inputs:
        built(batch, training=True)
    shares = 0.9 ** np.arange(batches)[::-1]
    expected = [np.tensordot(shares / shares.sum(), value, 1) for value in (inputs.mean(axis=1), inputs.var(axis=1))]
    before = tracked(built)
    with statistics.corrected_statistics(built, batches):
        for statistic, value in zip(tracked(built), expected, strict=True):
            np.testing.assert_allclose(statistic, value, rtol=1e-4)
    for statistic, value in zip(tracked(built), before, strict=True):
        np.testing.assert_array_equal(statistic, value)


@pytest.mark.parametrize("batches", [1, 3])
def test_statistics_of_a_checkpoint_that_began_as_the_layers_do_become_those_that_began_at_0(batches):
    """As of version 0.1.0, which a killed training may have left."""
    older, newer = model(), model()
    older.layers[0].rate = newer.layers[0].rate = 0.0
    start = statistics.start_at_zero(newer)
    for batch in RNG.normal(3, 2, (batches, 50, 5)).astype(np.float32):
        older(batch, training=True)
        newer(batch, training=True)
    statistics.remove_start(older, start, batches)
    for statistic, expected in zip(tracked(older)[-2:], tracked(newer)[-2:], strict=True):
        np.testing.assert_allclose(statistic, expected, rtol=1e-5, atol=1e-6)


def test_constant_features_keep_a_variance_of_nothing():
    """It cannot come out below: rsqrt would make NaN of it."""
    built = model()
    statistics.start_at_zero(built)
    built(np.full((8, 5), 7.7, np.float32), training=True)
    with statistics.corrected_statistics(built, 1):
        assert (tracked(built)[1] >= 0).all()


def small(family: str) -> keras.Model:
    """With every layer that tracks anything."""
    known = {field.name for field in dataclasses.fields(POOLING[family])}
    settings = {
        "clusters": (4, 2),
        "groups": (2,),
        "heads": (2,),
        "hidden": (4,),
        "latents": (3,),
        "projection": (3, 2),
    }
    settings["dropout"] = 0.0
    pooling = POOLING[family](**{name: value for name, value in settings.items() if name in known})
    classifier = ClassifierConfig(hidden=8, head_hidden=(6,), descriptor_batch_norm=True)
    return build_model(ModelConfig(family, pooling, classifier), SMALL)


@pytest.mark.wide
@pytest.mark.parametrize("family", FAMILIES)
def test_every_statistic_of_every_family_is_known_and_moves_as_they_do(family):
    """Corrected after one batch they are the batch's own: inference by them gives what training gave."""
    built = small(family)
    found = [id(statistic) for _, statistic in statistics._tracked(built)]
    assert len(set(found)) == len(found), "one that is found twice is corrected twice"
    assert set(found) == {id(weight) for weight in built.non_trainable_weights}
    statistics.start_at_zero(built)
    inputs = {"frames": RNG.integers(0, 256, (16, 6, 8), np.uint8), "num_frames": np.full(16, 6, np.int32)}
    trained = np.asarray(built(inputs, training=True))
    with statistics.corrected_statistics(built, 1):
        np.testing.assert_allclose(np.asarray(built(inputs, training=False)), trained, atol=2e-3)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_named(value):
    built = model()
    statistics.check_finite(built, 7)
    variance = built.layers[1].moving_variance
    variance.assign(np.full(variance.shape, value))
    with pytest.raises(StageError, match=r"moving_variance of layer batch_norm\S* is not finite by step 7: .*try"):
        statistics.check_finite(built, 7)
