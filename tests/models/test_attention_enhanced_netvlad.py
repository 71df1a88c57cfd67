"""Attention-enhanced NetVLAD against its equations, in float64 with the residuals one by one."""

import numpy as np
import pytest
from reference import literal

from pipeline.models.attention_enhanced_netvlad import AttentionEnhancedNetVLAD

K, F, HEADS = 3, 8, 2


def descriptors(weights, videos, training):
    frames = literal.encoder(weights, "frame_encoder/", videos, videos, HEADS, training)
    logits = [video @ weights["assignment/logits/kernel"] for video in frames]
    clusters = []
    for video, values in zip(frames, literal.batch_norm(weights, "assignment/norm", logits, training)):
        assignment = literal.softmax(values)
        vlad = np.zeros((K, F))
        for k in range(K):
            for t, frame in enumerate(video):
                vlad[k] += assignment[t, k] * (frame - weights["centres"][k])
            vlad[k] *= np.sqrt(F) / np.linalg.norm(vlad[k])
        clusters.append(vlad)
    clusters = literal.encoder(weights, "cluster_encoder/", clusters, clusters, HEADS, training)
    return [video.ravel() for video in clusters]


def data(lengths, length):
    return literal.case(AttentionEnhancedNetVLAD(K, HEADS, dropout=0.0), F, lengths, length)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("lengths", "length"), [([9, 1, 4, 7], 12), ([1], 1), ([300, 41], 300)])
def test_it_equals_its_equations(lengths, length, training):
    videos, frames, mask, layer = data(lengths, length)
    expected = descriptors(literal.weights_of(layer), videos, training)
    got = layer(frames, mask, training=training)
    assert got.shape == layer.compute_output_shape(frames.shape)
    literal.check_outputs(got, expected)


def test_gradients():
    videos, frames, mask, layer = data([9, 1, 4, 7], 12)
    literal.check_gradients(
        layer, lambda: layer(frames, mask, training=True), lambda weights: descriptors(weights, videos, True)
    )


@pytest.mark.parametrize(("clusters", "heads", "size"), [(256, 64, 1024), (64, 8, 128)])
def test_parameters_at_the_papers_size(clusters, heads, size):
    layer = AttentionEnhancedNetVLAD(clusters, heads)
    layer.build((None, None, size))
    expected = (
        2 * (4 * size**2 + heads + 2 * size)  # attention of both encoders
        + 2 * (8 * size**2 + 5 * size)  # their feed-forward
        + 7 * size  # their layer norms, the last without a shift
        + 2 * clusters * size + 2 * clusters  # centers, assignment, its norm
    )  # fmt: skip
    assert sum(int(np.prod(weight.shape)) for weight in layer.trainable_weights) == expected
