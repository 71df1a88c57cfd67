"""The soft bag of frames against its equation, frame by frame and cluster by cluster."""

import numpy as np
import pytest
from reference.literal import batch_norm, check_gradients, check_outputs, padded, perturb, weights_of

from pipeline.models.soft_dbof import SoftDBoF

K, F = 6, 5
LENGTHS = (9, 1, 4, 300, 2)
both_modes = pytest.mark.parametrize("training", [False, True])


def videos(lengths=LENGTHS):
    rng = np.random.default_rng(0)
    return [rng.normal(size=(length, F)).astype(np.float32) for length in lengths]


def a_layer():
    layer = SoftDBoF(K)
    layer.build((None, None, F))
    perturb(layer)
    return layer


def literal(weights, shown, training):
    projected = [video.astype(np.float64) @ weights["assignment/logits/kernel"] for video in shown]
    out = []
    for logits in batch_norm(weights, "assignment/norm", projected, training):
        histogram = np.zeros(K)
        for frame in logits:
            exponents = np.exp(frame - frame.max())
            for k in range(K):
                histogram[k] += exponents[k] / exponents.sum()
        out.append(histogram / np.sqrt((histogram**2).sum()))
    return out


@both_modes
def test_it_equals_its_literal_form(training):
    layer, shown = a_layer(), videos()
    expected = literal(weights_of(layer), shown, training)
    check_outputs(layer(*padded(shown, 302), training=training), expected)


@both_modes
def test_gradients(training):
    layer, shown = a_layer(), videos()
    frames, mask = padded(shown, 302)
    # The tracked statistics move in training; neither form reads them then.
    check_gradients(
        layer,
        lambda: layer(frames, mask, training=training),
        lambda weights: literal(weights, shown, training),
    )


def test_a_frame_shown_twice_changes_nothing_but_another_does():
    """Only the shares of the clusters count."""
    layer, (video, other) = a_layer(), videos((4, 1))
    alone = np.asarray(layer(*padded([video], 8)))
    twice = np.asarray(layer(*padded([np.concatenate([video, video])], 8)))
    np.testing.assert_allclose(twice, alone, rtol=1e-5)
    more = np.asarray(layer(*padded([np.concatenate([video, other])], 8)))
    assert np.abs(more - alone).max() > 1e-3


def test_a_video_without_frames_gives_0():
    descriptor = np.asarray(a_layer()(*padded(videos((3, 0)), 4)))
    assert (descriptor[1] == 0).all()
    assert (descriptor[0] > 0).all()


def test_parameters_at_full_size():
    trained = 0
    for size, clusters in ((1024, 8000), (128, 2000)):
        layer = SoftDBoF(clusters)
        layer.build((None, None, size))
        trained += sum(int(np.prod(weight.shape)) for weight in layer.trainable_weights)
        assert layer.compute_output_shape((3, None, size)) == (3, clusters)
    assert trained == (1024 + 2) * 8000 + (128 + 2) * 2000
