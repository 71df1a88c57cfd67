"""Attention NetVLAD against its equations, in float64 with the residuals one by one."""

import numpy as np
import pytest
from reference import literal

from pipeline.models.attention_netvlad import AttentionNetVLAD

K, F, HEADS = 3, 8, 2
one_and_two_encoders = pytest.mark.parametrize("encoders", [1, 2])


def assignments(weights, videos, encoders, training):
    """Of each video [n,K]."""
    rows = literal.encoder(weights, "encoder/", videos, videos, HEADS, training) if encoders == 2 else videos
    rows = literal.block(weights, "assignment/block", rows, rows, HEADS, training)
    kernel, bias = weights["assignment/widen/kernel"], weights["assignment/widen/bias"]
    rows = [np.maximum(video @ kernel + bias, 0) for video in rows]
    rows = literal.batch_norm(weights, "assignment/norm", rows, training)
    rows = [np.maximum(video @ weights["assignment/narrow/kernel"], 0) for video in rows]
    return literal.batch_norm(weights, "assignment/last_norm", rows, training)


def descriptors(weights, videos, encoders, training):
    out = []
    for video, assignment in zip(videos, assignments(weights, videos, encoders, training)):
        vlad = np.zeros((K, F))
        for k in range(K):
            for t, frame in enumerate(video.astype(np.float64)):
                vlad[k] += assignment[t, k] * (frame - weights["centres"][k])
            vlad[k] /= np.linalg.norm(vlad[k])
        out.append(vlad.ravel() / np.linalg.norm(vlad))
    return out


def data(lengths, length, encoders=2):
    return literal.case(AttentionNetVLAD(K, HEADS, encoders, dropout=0.0), F, lengths, length)


@one_and_two_encoders
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("lengths", "length"), [([9, 1, 4, 7], 12), ([1], 1), ([300, 41], 300)])
def test_it_equals_its_equations(lengths, length, training, encoders):
    videos, frames, mask, layer = data(lengths, length, encoders)
    expected = descriptors(literal.weights_of(layer), videos, encoders, training)
    literal.check_outputs(layer(frames, mask, training=training), expected)


@pytest.mark.wide
@one_and_two_encoders
@pytest.mark.parametrize(
    ("lengths", "length", "training"), [([9, 1, 4, 7], 12, True), ([1], 1, False), ([300, 41], 300, True)]
)
def test_gradients(lengths, length, training, encoders):
    videos, frames, mask, layer = data(lengths, length, encoders)
    literal.check_gradients(
        layer,
        lambda: layer(frames, mask, training=training),
        lambda weights: descriptors(weights, videos, encoders, training),
    )


def test_weights_have_either_sign_and_padding_has_none():
    videos, frames, mask, layer = data([9, 1, 4, 7], 12)
    expected = assignments(literal.weights_of(layer), videos, 2, True)
    assert np.concatenate(expected).min() < -0.5 < 0.5 < np.concatenate(expected).max()
    encoded = layer.encoder(frames, mask=mask, training=True)
    got = np.asarray(layer.assignment(encoded, mask, training=True))
    literal.check_outputs(got, expected)
    assert (got[mask == 0] == 0).all()


def test_a_cluster_that_no_frame_belongs_to_has_finite_gradients():
    """A dead ReLU gives its cluster weights of 0, and so a sum of 0, where a norm has no gradient."""
    import tensorflow as tf

    _, frames, mask, layer = data([9, 1, 4, 7], 12)
    layer.assignment.narrow.kernel.assign(np.zeros((4 * F, K)))
    layer.assignment.last_norm.beta.assign(np.zeros(K))
    with tf.GradientTape() as tape:
        out = layer(frames, mask, training=True)
        total = tf.reduce_sum(out)
    assert (np.asarray(out) == 0).all()
    for gradient in tape.gradient(total, layer.trainable_weights):
        assert np.isfinite(gradient).all()


def test_there_are_one_or_two_encoders():
    with pytest.raises(ValueError, match="encoders must be 1 or 2, not 3"):
        AttentionNetVLAD(K, HEADS, encoders=3)


@one_and_two_encoders
@pytest.mark.parametrize(("clusters", "heads", "size"), [(256, 64, 1024), (64, 8, 128)])
def test_parameters_at_the_papers_size(clusters, heads, size, encoders):
    layer = AttentionNetVLAD(clusters, heads, encoders)
    layer.build((None, None, size))
    attention = 4 * size**2 + heads + 2 * size + 2 * size  # with the layer norm after it
    expected = (
        (encoders - 1) * (attention + 8 * size**2 + 5 * size + 2 * size)
        + attention
        + 4 * size**2 + 4 * size + 8 * size  # to four times the size, its norm
        + 4 * size * clusters + clusters  # to the clusters, the shift after it
        + clusters * size  # centers
    )  # fmt: skip
    assert sum(int(np.prod(weight.shape)) for weight in layer.trainable_weights) == expected
