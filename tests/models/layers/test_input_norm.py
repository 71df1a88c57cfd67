"""InputNorm: what batch norm gives on data of one kind, and what it gives without the videos that are of another."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipeline.models.layers.frame_norm import FrameNorm
from pipeline.models.layers.input_norm import FAR, InputNorm

B, T, F = 12, 7, 6


@pytest.fixture
def case():
    """frames [12,7,6] of no mean 0, each feature of its own size, and their mask [12,7] of 1 to 7 frames."""
    rng = np.random.default_rng(0)
    mask = (np.arange(T) < rng.integers(1, T + 1, (B, 1))).astype(np.float32)
    frames = rng.normal(1, 2, (B, T, F)) * [1, 1, 50, 0.2, 1, 1] + rng.normal(size=F)
    return frames.astype(np.float32), mask


def built(kind=InputNorm, **settings):
    layer = kind(center=False, **settings)
    layer.build((None, None, F))
    if layer.scale:
        layer.gamma.assign(np.linspace(-1, 2, F))
    return layer


def tracked(layer):
    return layer.moving_mean.numpy(), layer.moving_variance.numpy()


@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("videos", [B, 300])
def test_on_data_of_one_kind_it_is_batch_norm(case, scale, videos):
    """Outputs, the scale's gradient, what is tracked, and what inference gives; with more videos than tell the size."""
    frames, mask = (np.resize(each, (videos, *each.shape[1:])) for each in case)
    frames += 0.1 * np.random.default_rng(1).normal(size=frames.shape).astype(np.float32)
    found = []
    for kind in (InputNorm, FrameNorm):
        layer = built(kind, scale=scale, momentum=0.0)
        with tf.GradientTape() as tape:
            outputs = layer(frames, mask=tf.constant(mask), training=True)
            total = tf.reduce_sum(tf.sin(outputs))
        values = [outputs, *tape.gradient(total, layer.trainable_weights), *tracked(layer)]
        found.append([*values, layer(frames, mask=tf.constant(mask))])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("times", [1e3, 1e12, -1e3])
@pytest.mark.parametrize("part", [np.s_[2], np.s_[2, 0], np.s_[2, 0, :3], np.s_[1:3]], ids=str)
def test_what_is_of_another_size_is_not_in_the_statistics(case, times, part):
    """They are those of the other videos, for each feature; the good videos' values too."""
    frames, mask = case
    bad = frames.copy()
    bad[part] = np.abs(bad[part] + 5) * times
    layer = built()
    outputs = np.asarray(layer(bad, mask=tf.constant(mask), training=True))
    apart = (bad != frames).any(axis=1)  # B,F
    for feature, (mean, variance) in enumerate(zip(*tracked(layer))):
        videos = ~apart[:, feature]
        valid = frames[videos, :, feature][mask[videos] > 0].astype(np.float64)
        assert mean == pytest.approx(0.01 * valid.mean(), rel=1e-4)
        assert variance == pytest.approx(0.99 + 0.01 * valid.var(), rel=1e-4)
        others = ~apart.any(axis=1)
        expected = (frames[others, :, feature] - valid.mean()) / np.sqrt(valid.var() + 1e-3)
        np.testing.assert_allclose(outputs[others, :, feature], expected * layer.gamma[feature], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("training", [False, True])
def test_a_frame_too_long_is_shortened_and_keeps_its_direction(case, training):
    frames, mask = case
    bad = frames.copy()
    bad[0, 0] *= 1e6
    outputs = np.asarray(built(scale=False)(bad, mask=tf.constant(mask), training=training))[0, 0]
    assert np.sqrt(np.mean(outputs**2)) == pytest.approx(FAR, rel=1e-4)
    assert np.array_equal(np.sign(outputs), np.sign(bad[0, 0]))


def test_a_quarter_of_the_videos_may_be_of_another_size_and_small_batches_count_whole(case):
    frames, mask = case
    for bad, videos, out in ((2, 12, True), (2, 4, False), (1, 4, False), (1, 5, True)):
        layer, changed = built(), frames[:videos].copy()
        changed[:bad] *= 1e4
        layer(changed, mask=tf.constant(np.ones_like(mask[:videos])), training=True)
        assert (tracked(layer)[1].max() < 1e3) == out, (bad, videos)


@pytest.mark.parametrize("constant", [0, 5.3, 1e6])
def test_where_most_videos_are_constant_all_count(case, constant):
    frames, mask = case
    frames[3:] = constant
    found = []
    for kind in (InputNorm, FrameNorm):
        layer = built(kind)
        layer(frames, mask=tf.constant(mask), training=True)
        found.append(tracked(layer))
    np.testing.assert_allclose(*found, rtol=1e-3, atol=1e-6)


def test_a_batch_of_padding_alone_gives_numbers_and_moves_to_nothing(case):
    frames, mask = case
    layer = built()
    assert np.isfinite(layer(frames, mask=tf.constant(0 * mask), training=True)).all()
    np.testing.assert_allclose(tracked(layer), ([0.0] * F, [0.99] * F), rtol=1e-6)


def test_one_that_is_not_trained_keeps_its_statistics(case):
    frames, mask = case
    layer = built()
    layer.trainable = False
    np.testing.assert_array_equal(
        layer(frames, mask=tf.constant(mask), training=True), layer(frames, mask=tf.constant(mask))
    )
    np.testing.assert_array_equal(layer.moving_mean, np.zeros(F))


def test_it_has_the_weights_of_the_layer_of_keras():
    ours, theirs = built(), built(keras.layers.BatchNormalization)
    assert [weight.name for weight in ours.weights] == [weight.name for weight in theirs.weights]
    assert InputNorm.from_config(ours.get_config()).get_config() == ours.get_config()
