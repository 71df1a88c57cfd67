"""NetFV against its equations, in float64 with the residuals one by one."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from reference import literal

from pipeline.models.netfv import NetFV

K, F = 5, 7


def descriptors(weights, videos, training):
    logits = literal.batch_norm(
        weights, "assignment/norm", [video @ weights["assignment/logits/kernel"] for video in videos], training
    )
    widths = 0.1 + np.log(1 + np.exp(weights["widths"]))
    out = []
    for video, assignment in zip(videos, map(literal.softmax, logits)):
        first, second = np.zeros((K, F)), np.zeros((K, F))
        for k in range(K):
            for t, frame in enumerate(video.astype(np.float64)):
                residual = (frame - weights["centres"][k]) / widths[k]
                first[k] += assignment[t, k] * residual
                second[k] += assignment[t, k] * (residual**2 - 1)
            least = 0.01 * assignment[:, k].sum() * np.linalg.norm(weights["centres"][k] / widths[k])
            first[k] /= max(np.linalg.norm(first[k]), least)
            second[k] /= max(np.linalg.norm(second[k]), 1e-6)
        out.append(np.concatenate([first.ravel() / np.linalg.norm(first), second.ravel() / np.linalg.norm(second)]))
    return out


def data(lengths, length):
    keras.utils.set_random_seed(0)
    return literal.case(NetFV(clusters=K), F, lengths, length)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("lengths", "length"), [([9, 1, 4, 7], 12), ([1], 1), ([300, 41], 300)])
def test_it_equals_its_equations(lengths, length, training):
    videos, frames, mask, layer = data(lengths, length)
    expected = descriptors(literal.weights_of(layer), videos, training)
    literal.check_outputs(layer(frames, mask, training=training), expected)


@pytest.mark.parametrize(
    ("lengths", "length", "training"), [([9, 1, 4, 7], 12, True), ([1], 1, False), ([300, 41], 300, True)]
)
def test_gradients(lengths, length, training):
    videos, frames, mask, layer = data(lengths, length)
    literal.check_gradients(
        layer, lambda: layer(frames, mask, training=training), lambda weights: descriptors(weights, videos, training)
    )


def test_gradients_of_the_frames():
    """Along one direction for every video; padding has none."""
    videos, frames, mask, layer = data([9, 1, 4, 7], 12)
    weights, rng, step = literal.weights_of(layer), np.random.default_rng(3), 1e-6
    cotangent = rng.normal(size=(len(videos), 2 * K * F)).astype(np.float32)
    inputs = tf.constant(frames)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        total = tf.reduce_sum(layer(inputs, mask) * cotangent)
    gradient = tape.gradient(total, inputs).numpy()
    assert (gradient[mask == 0] == 0).all()
    for row, video in enumerate(videos):
        direction = rng.normal(size=video.shape)
        up, down = descriptors(weights, [video + step * direction, video - step * direction], False)
        found = gradient[row, : len(video)]
        assert abs((found * direction).sum() - cotangent[row] @ (up - down) / (2 * step)) < 1e-5 * np.linalg.norm(found)


@pytest.mark.parametrize("compiled", [False, True])
def test_frames_on_a_center(compiled):
    """x^2 - 2 x c + c^2 cancels there; the narrowest width magnifies what is left.

    The second video's only frame is a center, the fifth's are all the same one: of that cluster's first order rounding
    errors are left, or nothing as long as product and sum are rounded alike, which a compiler that fuses them does not.
    """
    videos, frames, mask, layer = data([9, 1, 4, 7, 12], 12)
    centers = layer.centers.numpy()
    centers[1], centers[2], centers[4] = videos[0][3], videos[1][0], 20 * videos[3][0]
    videos[3][:2] = frames[3, :2] = centers[4]
    videos[4][:] = frames[4] = centers[2]
    layer.centers.assign(centers)

    @tf.function(jit_compile=compiled)
    def run():
        with tf.GradientTape() as tape:
            out = layer(frames, mask)
            total = tf.reduce_sum(out * tf.cast(tf.range(2 * K * F), tf.float32))
        return out, tape.gradient(total, layer.trainable_weights)

    for widths in (layer.widths.numpy(), np.full((K, F), -20, np.float32)):
        layer.widths.assign(widths)
        out, gradients = run()
        expected = descriptors(literal.weights_of(layer), videos, False)
        literal.check_outputs(out.numpy()[[0, 2, 3]], [expected[row] for row in (0, 2, 3)])
        for row in (1, 4):
            assert np.linalg.norm(out[row] - expected[row]) < 1e-4 * np.linalg.norm(expected[row])
        assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_half_precision_sums_in_float32():
    """Frames far from 0 and near to their centers: all that is lost is the precision of frames and assignments."""
    rng = np.random.default_rng(0)
    near = (4 + rng.integers(-32, 33, (3, 200, F)) / 64).astype(np.float32)  # exact in bfloat16
    mask = np.ones((3, 200), np.float32)
    keras.utils.set_random_seed(0)
    full, half = NetFV(clusters=K), NetFV(clusters=K, dtype="mixed_bfloat16")
    for layer in (full, half):
        layer.build(near.shape)
    full.centers.assign(4 + rng.normal(0, 0.1, (K, F)))
    half.set_weights(full.get_weights())
    expected, found = np.asarray(full(near, mask)), np.asarray(half(near, mask))
    assert found.dtype == np.float32
    assert 0 < np.linalg.norm(found - expected) < 0.01 * np.linalg.norm(expected)


def test_widths_begin_at_1_and_have_a_floor():
    layer = NetFV(clusters=K)
    layer.build((None, None, F))
    frames, assignment = np.full((1, 1, F), 3, np.float32), np.ones((1, 1, K), np.float32)
    layer.centers.assign(np.ones((K, F)))
    first, second, least = layer.moments(assignment, frames)
    np.testing.assert_allclose(np.asarray(first), 2, rtol=1e-6)
    np.testing.assert_allclose(np.asarray(second), 3, rtol=1e-6)
    np.testing.assert_allclose(np.asarray(least), 0.01 * F**0.5, rtol=1e-6)
    layer.widths.assign(np.full((K, F), -1000))
    np.testing.assert_allclose(np.asarray(layer.moments(assignment, frames)[0]), 20, rtol=1e-6)


def test_a_video_without_frames_is_0():
    _, frames, mask, layer = data([3, 0], 4)
    found = np.asarray(layer(frames, mask))
    assert (found[1] == 0).all()
    assert np.isfinite(found).all()


@pytest.mark.parametrize(("clusters", "size"), [(128, 1024), (32, 128)])
def test_parameters_at_the_papers_size(clusters, size):
    layer = NetFV(clusters)
    layer.build((None, None, size))
    expected = size * clusters + 2 * clusters + 2 * clusters * size  # assignment, its norm; centers, widths
    assert sum(int(np.prod(weight.shape)) for weight in layer.trainable_weights) == expected
    assert layer.compute_output_shape((None, None, size)) == (None, 2 * clusters * size)
