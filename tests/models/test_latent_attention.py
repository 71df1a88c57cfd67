"""Pooling by attention against its equations, all logits of every head written out."""

import numpy as np
import pytest
from reference import literal

from pipeline.models.latent_attention import LatentAttention

L, HEADS, F = 3, 2, 6
LENGTHS = (9, 1, 4, 300)
both_modes = pytest.mark.parametrize("training", [False, True])
every_depth = pytest.mark.parametrize("blocks", [0, 2])


def videos(lengths=LENGTHS):
    rng = np.random.default_rng(0)
    return [rng.normal(size=(length, F)).astype(np.float32) for length in lengths]


def a_layer(blocks=2):
    layer = LatentAttention(L, HEADS, blocks, dropout=0.0)
    layer.build((None, None, F))
    literal.perturb(layer)
    return layer


def pooled(weights, shown, blocks, training):
    rows = [weights["queries"][0] for _ in shown]
    rows = literal.encoder(weights, "read/", rows, shown, HEADS, training)
    for number in range(blocks):
        rows = literal.encoder(weights, f"block_{number}/", rows, rows, HEADS, training)
    return [latents.mean(axis=0) for latents in rows]


@every_depth
@both_modes
def test_it_equals_its_literal_form(blocks, training):
    layer, shown = a_layer(blocks), videos()
    expected = pooled(literal.weights_of(layer), shown, blocks, training)
    literal.check_outputs(layer(*literal.padded(shown, 302), training=training), expected)


@both_modes
def test_gradients(training):
    layer, shown = a_layer(), videos((9, 1, 4))
    frames, mask = literal.padded(shown, 11)
    literal.check_gradients(
        layer,
        lambda: layer(frames, mask, training=training),
        lambda weights: pooled(weights, shown, 2, training),
    )


def test_latents_start_different_and_of_the_size_that_gives_logits_of_variance_1():
    layer = LatentAttention(64, 16)
    layer.build((None, None, 1024))
    queries = layer.queries.numpy()[0].astype(np.float64)
    rng = np.random.default_rng(0)
    read = layer.encoders[0].block.attention
    projected = (
        (rows @ kernel.numpy()).reshape(len(rows), 16, 64)
        for rows, kernel in ((queries, read.query.kernel), (rng.normal(size=(300, 1024)), read.key.kernel))
    )
    logits = np.einsum("lhd,thd->hlt", *projected)
    assert logits.var() == pytest.approx(1, rel=0.1)
    distances = np.linalg.norm(queries[:, None] - queries, axis=2)[~np.eye(64, dtype=bool)]
    assert distances.min() > 3


@every_depth
def test_only_the_last_shift_is_absent(blocks):
    """A batch norm follows the mean."""
    paths = [weight.path for weight in a_layer(blocks).trainable_weights]
    names = ["read", *(f"block_{number}" for number in range(blocks))]
    assert [name for name in names if not any(path.endswith(f"{name}/norm/beta") for path in paths)] == names[-1:]


def test_a_video_without_frames_is_finite_and_leaves_the_others_alone():
    layer, shown = a_layer(), videos((3, 0))
    descriptor = np.asarray(layer(*literal.padded(shown, 4)))
    assert np.isfinite(descriptor).all()
    literal.check_outputs(descriptor[:1], pooled(literal.weights_of(layer), shown[:1], 2, training=False))


def test_dropout_acts_in_training_only():
    layer = LatentAttention(L, HEADS, dropout=0.5)
    frames, mask = literal.padded(videos(), 302)
    alike = [np.asarray(layer(frames, mask)) for _ in range(2)]
    np.testing.assert_array_equal(*alike)
    other = [np.asarray(layer(frames, mask, training=True)) for _ in range(2)]
    assert np.abs(other[0] - other[1]).max() > 0.01


def test_parameters_at_full_size():
    """Latents; for each of three encoders attention, feed-forward and their norms; the last shift is absent."""
    trained = 0
    for size, heads in ((1024, 16), (128, 2)):
        layer = LatentAttention(64, heads)
        layer.build((None, None, size))
        trained += sum(int(np.prod(weight.shape)) for weight in layer.trainable_weights)
        assert layer.compute_output_shape((3, None, size)) == (3, size)
    expected = 0
    for size, heads in ((1024, 16), (128, 2)):
        attention = 4 * size**2 + heads + 2 * size
        feed_forward = size * 4 * size + 4 * size + 4 * size * size + size
        expected += 64 * size + 3 * (attention + 2 * size + feed_forward + 2 * size) - size
    assert trained == expected


def test_heads_have_to_divide_the_feature():
    with pytest.raises(ValueError, match="4 heads do not divide a row of 6"):
        LatentAttention(L, 4).build((None, None, 6))
