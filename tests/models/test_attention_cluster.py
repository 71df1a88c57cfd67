"""Attention clusters against equation 1, in float64 with a loop over clusters and frames."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from reference import literal

from pipeline.models.attention_cluster import AttentionCluster

K, F, HIDDEN = 5, 7, 4


def attentions(weights, videos, training):
    """Of each video [n,K]; the columns sum to 1."""
    hidden = [np.tanh(video @ weights["inner/kernel"] + weights["inner/bias"]) for video in videos]
    logits = literal.batch_norm(weights, "norm", [video @ weights["logits/kernel"] for video in hidden], training)
    return [literal.softmax(video.T).T for video in logits]


def descriptors(weights, videos, training):
    out = []
    for video, attention in zip(videos, attentions(weights, videos, training)):
        clusters = np.zeros((K, F))
        for k in range(K):
            for t, frame in enumerate(video.astype(np.float64)):
                clusters[k] += attention[t, k] * frame
            clusters[k] = weights["alpha"][k] * clusters[k] + weights["beta"][k]
            clusters[k] /= np.sqrt(K) * np.linalg.norm(clusters[k])
        out.append(clusters.ravel())
    return out


def data(lengths, length):
    keras.utils.set_random_seed(0)
    return literal.case(AttentionCluster(K, HIDDEN), F, lengths, length)


@pytest.mark.filterwarnings("ignore:You are using a softmax over axis")  # of one frame, which is meant
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("lengths", "length"), [([9, 1, 4, 7], 12), ([1], 1), ([300, 41], 300)])
def test_it_equals_its_equations(lengths, length, training):
    videos, frames, mask, layer = data(lengths, length)
    layer.alpha.assign([1.5, -0.7, 1, 0.2, -2])  # either sign
    expected = descriptors(literal.weights_of(layer), videos, training)
    literal.check_outputs(layer(frames, mask, training=training), expected)


@pytest.mark.parametrize("training", [False, True])
def test_gradients(training):
    videos, frames, mask, layer = data([9, 1, 4, 7], 12)
    literal.check_gradients(
        layer, lambda: layer(frames, mask, training=training), lambda weights: descriptors(weights, videos, training)
    )


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_attention_is_on_the_valid_frames_alone(precision):
    videos, frames, mask, layer = data([9, 1, 4, 7], 12)
    other = AttentionCluster(K, HIDDEN, dtype=precision)
    other.build(frames.shape)
    other.set_weights(layer.get_weights())
    inputs = tf.cast(frames, other.compute_dtype)
    found = tf.cast(other.attend(inputs, mask, training=True), "float32").numpy()
    assert (np.moveaxis(found, 1, 2)[mask == 0] == 0).all()
    np.testing.assert_allclose(found[1, :, 0], 1, rtol=1e-7, err_msg="the only frame of its video")  # a rounding apart
    for row, expected in enumerate(attentions(literal.weights_of(layer), videos, True)):
        tolerance = 1e-5 if precision == "float32" else 0.02
        np.testing.assert_allclose(found[row, :, : len(expected)].T, expected, atol=tolerance)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_video_without_frames_is_finite(compiled):
    _, frames, mask, layer = data([3, 0], 4)
    layer.beta.assign([0, 1, -1, 0, 2])  # nothing is left of clusters 0 and 3

    @tf.function(jit_compile=compiled)
    def run():
        with tf.GradientTape() as tape:
            out = layer(frames, mask)
            total = tf.reduce_sum(out)
        return out, tape.gradient(total, layer.trainable_weights)

    out, gradients = run()
    expected = np.repeat([0, 1, -1, 0, 1], F) / np.sqrt(K * F)
    np.testing.assert_allclose(out[1].numpy(), expected, atol=1e-6)
    assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_clusters_begin_apart_and_alpha_has_a_gradient():
    keras.utils.set_random_seed(0)
    frames, mask = np.random.default_rng(0).normal(size=(4, 30, F)).astype(np.float32), np.ones((4, 30), np.float32)
    layer = AttentionCluster(K, HIDDEN)
    with tf.GradientTape() as tape:
        out = layer(frames, mask, training=True)
        total = tf.reduce_sum(out[:, ::2])
    assert np.abs(tape.gradient(total, layer.alpha).numpy()).min() > 1e-4
    for clusters in out.numpy().reshape(4, K, F) * np.sqrt(K):
        similarity = clusters @ clusters.T
        np.testing.assert_allclose(np.diag(similarity), 1, atol=1e-5)
        assert similarity[~np.eye(K, dtype=bool)].max() < 0.99


@pytest.mark.parametrize(("clusters", "hidden", "size"), [(256, 256, 1024), (64, 64, 128)])
def test_parameters_at_the_papers_size(clusters, hidden, size):
    layer = AttentionCluster(clusters, hidden)
    layer.build((None, None, size))
    expected = (size + 1) * hidden + hidden * clusters + clusters + 2 * clusters  # the norm's scale; alpha, beta
    assert sum(int(np.prod(weight.shape)) for weight in layer.trainable_weights) == expected
    assert layer.compute_output_shape((None, None, size)) == (None, clusters * size)
