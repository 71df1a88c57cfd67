"""LSTM and GRU against their equations, step by step over the valid frames alone."""

import numpy as np
import pytest
from keras import ops
from reference.literal import check_gradients, check_outputs, padded, perturb, weights_of

from pipeline.models.recurrent import Recurrent

U, F = 4, 5
LENGTHS = (9, 1, 4, 2)
both_cells = pytest.mark.parametrize("cell", ["lstm", "gru"])


def videos(lengths=LENGTHS):
    rng = np.random.default_rng(0)
    return [rng.normal(size=(length, F)).astype(np.float32) for length in lengths]


def a_layer(cell):
    layer = Recurrent(cell, U)
    layer.build((None, None, F))
    perturb(layer)
    return layer


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm(frames, kernel, recurrent, bias):
    h, c = np.zeros(U), np.zeros(U)
    for x in frames:
        i, f, g, o = np.split(x @ kernel + h @ recurrent + bias, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
    return h


def gru(frames, kernel, recurrent, bias):
    h = np.zeros(U)
    for x in frames:
        z, r, new = np.split(x @ kernel + bias[0], 3)
        h_z, h_r, h_new = np.split(h @ recurrent + bias[1], 3)
        z, r = sigmoid(z + h_z), sigmoid(r + h_r)
        h = z * h + (1 - z) * np.tanh(new + r * h_new)
    return h


def literal(weights, shown, cell):
    run, out = {"lstm": lstm, "gru": gru}[cell], []
    for video in shown:
        states = []
        for direction, frames in (("forwards", video), ("backwards", video[::-1])):
            parts = (f"{direction}/{cell}_cell/{part}" for part in ("kernel", "recurrent_kernel", "bias"))
            states.append(run(frames.astype(np.float64), *(weights[part] for part in parts)))
        out.append(np.concatenate(states))
    return out


@both_cells
@pytest.mark.parametrize(("lengths", "length"), [(LENGTHS, 9), (LENGTHS, 12), ((1,), 1), ((300, 1, 299), 300)])
def test_it_equals_its_literal_form(cell, lengths, length):
    import tensorflow as tf

    layer, shown = a_layer(cell), videos(lengths)
    check_outputs(tf.function(layer)(*padded(shown, length)), literal(weights_of(layer), shown, cell))


@both_cells
def test_gradients_of_the_weights(cell):
    layer, shown = a_layer(cell), videos()
    frames, mask = padded(shown, 11)
    check_gradients(layer, lambda: layer(frames, mask), lambda weights: literal(weights, shown, cell))


@both_cells
def test_gradients_of_the_frames(cell):
    """Of each valid frame that of the literal form, of padding exactly none."""
    import tensorflow as tf

    layer, shown = a_layer(cell), videos()
    weights, rng = weights_of(layer), np.random.default_rng(5)
    cotangent = rng.normal(size=(len(shown), 2 * U))
    frames, mask = padded(shown, 11)
    frames = tf.constant(frames)
    with tf.GradientTape() as tape:
        tape.watch(frames)
        total = tf.reduce_sum(layer(frames, mask) * cotangent.astype(np.float32))
    gradient = tape.gradient(total, frames).numpy()
    assert (gradient[mask == 0] == 0).all()
    for row, video in enumerate(shown):
        for t in range(len(video)):
            step = np.zeros(video.shape)
            step[t] = 1e-6 * rng.normal(size=F)
            above, below = (literal(weights, [video + sign * step], cell)[0] @ cotangent[row] for sign in (1, -1))
            found = (gradient[row, t] * step[t]).sum() * 2
            assert abs(found - (above - below)) < 1e-5 * np.linalg.norm(gradient[row, t]) * 2e-6, (row, t)


@both_cells
def test_frames_masked_within_a_video_are_skipped(cell):
    """As when frames are dropped in training: the state goes on to the next valid frame."""
    layer, (video,) = a_layer(cell), videos((10,))
    mask = np.array([[0, 1, 1, 0, 0, 1, 0, 1, 1, 0]], np.float32)
    check_outputs(layer(video[None], mask), literal(weights_of(layer), [video[mask[0] > 0]], cell))


@both_cells
def test_a_video_without_frames_gives_0(cell):
    """Its gradients are finite, and the other videos have theirs."""
    import tensorflow as tf

    layer = a_layer(cell)
    frames, mask = padded(videos((3, 0)), 4)
    with tf.GradientTape() as tape:
        descriptor = layer(frames, mask)
        total = tf.reduce_sum(descriptor)
    assert (np.asarray(descriptor)[1] == 0).all()
    assert (np.asarray(descriptor)[0] != 0).all()
    for gradient in tape.gradient(total, layer.trainable_weights):
        assert np.isfinite(gradient).all()
        assert np.abs(gradient).max() > 0


@both_cells
def test_the_order_of_frames_matters(cell):
    layer, (video,) = a_layer(cell), videos((6,))
    mask = np.ones((1, 6), np.float32)
    there, back = (np.asarray(layer(shown[None], mask)) for shown in (video, video[[1, 0, 2, 3, 4, 5]]))
    assert np.abs(there - back).max() > 1e-3


@both_cells
def test_in_bfloat16_the_recurrence_is_float32(cell):
    """Only the frames and the descriptor are rounded, so 50 steps lose no more than one."""
    full, shown = a_layer(cell), videos((50, 20))
    half = Recurrent(cell, U, dtype="mixed_bfloat16")
    half.build((None, None, F))
    half.set_weights(full.get_weights())
    frames, mask = padded(shown, 50)
    rounded = np.asarray(half(frames, mask)).astype(np.float32)
    assert half.compute_dtype == "bfloat16"
    expected = np.asarray(full(ops.cast(ops.cast(frames, "bfloat16"), "float32"), mask))
    np.testing.assert_allclose(rounded, expected, rtol=2**-8, atol=1e-6)


@both_cells
def test_parameters_at_full_size(cell):
    """Two directions, with a block of columns for each gate; the gru has a bias for each of its two products."""
    import tensorflow as tf

    gates, biases = (4, 1) if cell == "lstm" else (3, 2)
    trained = 0
    for size, units in ((1024, 1024), (128, 256)):
        layer = Recurrent(cell, units)
        with tf.Graph().as_default():  # where weights are drawn when they are asked for
            layer.build((None, None, size))
        trained += sum(int(np.prod(weight.shape)) for weight in layer.trainable_weights)
        assert layer.compute_output_shape((3, None, size)) == (3, 2 * units)
    assert trained == 2 * gates * (1024 * (1024 + 1024 + biases) + 256 * (128 + 256 + biases))


def test_another_cell_is_refused():
    with pytest.raises(ValueError, match="lstm or gru, not 'rnn'"):
        Recurrent("rnn", 3)
