"""The encoders against their equations, and batch norm of the logits against the logits themselves."""

import keras
import numpy as np
import pytest
from reference import literal

from pipeline.models.layers.encoder import LogitScale, MultiHeadAttention, TransformerEncoder, row_dropout

F, HEADS = 8, 2
both_modes = pytest.mark.parametrize("training", [False, True])


def videos(lengths, size=F, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(length, size)).astype(np.float32) for length in lengths]


def an_encoder(rows_shape, keys_shape=None, **settings):
    encoder = TransformerEncoder(HEADS, **{"dropout": 0.0, **settings})
    encoder.build(rows_shape, keys_shape)
    literal.perturb(encoder)
    return encoder


@pytest.mark.parametrize("offset", [0, 30])
def test_the_scale_of_the_logits_is_that_of_batch_norm_on_all_of_them(offset):
    """With an offset the mean of the logits is some hundred times their spread: nothing may cancel."""
    rng = np.random.default_rng(0)
    queries, keys = rng.normal(size=(4, 3, 6, 5)), rng.normal(size=(4, 3, 9, 5))
    queries[..., 0] += offset
    keys[..., 0] = keys[..., 0] * 0.01 + offset
    valid_queries = (np.arange(6) < np.array([6, 1, 4, 3])[:, None]).astype(np.float32)
    valid_keys = (np.arange(9) < np.array([2, 9, 1, 5])[:, None]).astype(np.float32)
    expected = []
    for head in range(3):
        logits = []
        for video in range(4):
            for t in range(6):
                for s in range(9):
                    if valid_queries[video, t] and valid_keys[video, s]:
                        logits.append(queries[video, head, t] @ keys[video, head, s])
        expected.append(np.var(logits))
    expected = np.array(expected)
    layer = LogitScale()
    layer.build(queries.shape, keys.shape)
    layer.gamma.assign([0.5, 1, -2])
    arguments = [x.astype(np.float32) for x in (queries, keys, valid_queries, valid_keys)]
    scale = np.array([0.5, 1, -2]) / np.sqrt(expected + 1e-3)
    np.testing.assert_allclose(layer(*arguments, training=True), scale, rtol=1e-5)
    tracked = 0.99 + 0.01 * expected
    np.testing.assert_allclose(layer.moving_variance, tracked, rtol=1e-5)
    np.testing.assert_allclose(layer(*arguments), np.array([0.5, 1, -2]) / np.sqrt(tracked + 1e-3), rtol=1e-5)
    layer.trainable = False
    layer(*arguments, training=True)
    np.testing.assert_allclose(layer.moving_variance, tracked, rtol=1e-5)


@both_modes
@pytest.mark.parametrize(("lengths", "length"), [([9, 1, 4, 7], 12), ([1], 1), ([300, 41], 300)])
def test_an_encoder_equals_its_equations(lengths, length, training):
    data = videos(lengths)
    frames, mask = literal.padded(data, length)
    encoder = an_encoder(frames.shape)
    expected = literal.encoder(literal.weights_of(encoder), "", data, data, HEADS, training)
    literal.check_outputs(encoder(frames, mask=mask, training=training), expected)


@both_modes
def test_rows_may_attend_to_other_keys(training):
    """As learned queries do: as many rows for every video, keys of another size, of which some are padding."""
    latents, data = videos([3, 3, 3], seed=1), videos([6, 1, 4], size=5)
    frames, mask = literal.padded(data, 6)
    rows = np.stack(latents)
    encoder = an_encoder(rows.shape, frames.shape)
    expected = literal.encoder(literal.weights_of(encoder), "", latents, data, HEADS, training)
    literal.check_outputs(encoder(rows, keys=frames, keys_mask=mask, training=training), expected)


@both_modes
def test_without_a_mask_every_row_counts(training):
    frames = np.stack(videos([5, 5]))
    encoder = an_encoder(frames.shape, center=False)
    expected = literal.encoder(literal.weights_of(encoder), "", list(frames), list(frames), HEADS, training)
    literal.check_outputs(encoder(frames, training=training), expected)
    assert "norm/beta" not in literal.weights_of(encoder)


@pytest.mark.parametrize(
    ("lengths", "length", "training"), [([9, 1, 4, 7], 12, True), ([1], 1, False), ([300, 41], 300, True)]
)
def test_gradients_among_rows(lengths, length, training):
    data = videos(lengths)
    frames, mask = literal.padded(data, length)
    encoder = an_encoder(frames.shape)
    literal.check_gradients(
        encoder,
        lambda: encoder(frames, mask=mask, training=training),
        lambda weights: literal.encoder(weights, "", data, data, HEADS, training),
    )


def test_gradients_from_rows_to_keys():
    latents, data = videos([3, 3, 3], seed=1), videos([6, 1, 4], size=5)
    frames, mask = literal.padded(data, 6)
    rows = np.stack(latents)
    encoder = an_encoder(rows.shape, frames.shape)
    literal.check_gradients(
        encoder,
        lambda: encoder(rows, keys=frames, keys_mask=mask, training=True),
        lambda weights: literal.encoder(weights, "", latents, data, HEADS, True),
    )


def test_a_video_of_padding_alone_stays_finite():
    frames, mask = literal.padded(videos([4, 4]), 5)
    mask[1] = 0
    assert np.isfinite(np.asarray(an_encoder(frames.shape)(frames, mask=mask, training=True))).all()


def test_dropout_takes_the_same_values_from_every_row_of_a_video():
    keras.utils.set_random_seed(0)
    dropped = np.asarray(row_dropout(0.25, "float32")(np.ones((20, 7, 50), np.float32), training=True))
    np.testing.assert_array_equal(dropped, np.broadcast_to(dropped[:, :1], dropped.shape))
    assert (dropped == 0).mean() == pytest.approx(0.25, abs=0.05)
    assert dropped[dropped > 0] == pytest.approx(1 / 0.75)
    frames = np.stack(videos([5, 5]))
    encoder = an_encoder(frames.shape, dropout=0.5)
    still = an_encoder(frames.shape)
    still.set_weights(encoder.get_weights())
    np.testing.assert_array_equal(encoder(frames), still(frames))
    assert np.abs(np.asarray(encoder(frames, training=True)) - np.asarray(still(frames, training=True))).max() > 0.1


def test_heads_have_to_divide_the_size():
    with pytest.raises(ValueError, match="3 heads do not divide a row of 8 values"):
        MultiHeadAttention(3).build((None, None, 8))


@pytest.mark.parametrize("center", [True, False])
def test_parameters_at_the_papers_size(center):
    encoder = TransformerEncoder(64, center=center)
    encoder.build((None, None, 1024))
    expected = (
        4 * 1024**2 + 64 + 2 * 1024  # queries, keys, values, output; scales of the logits; norm of the heads
        + 2 * 1024  # layer norm
        + 2 * 1024 * 4096 + 4096 + 1024  # feed-forward
        + (2 if center else 1) * 1024  # layer norm
    )  # fmt: skip
    assert sum(int(np.prod(weight.shape)) for weight in encoder.trainable_weights) == expected
