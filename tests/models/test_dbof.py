"""The deep bag of frames against its equation, frame by frame and unit by unit."""

import numpy as np
import pytest
from reference.literal import batch_norm, check_gradients, check_outputs, padded, perturb, weights_of

from pipeline.models.dbof import DBoF

K, F = 6, 5
LENGTHS = (9, 1, 4, 300, 2)
both_statistics = pytest.mark.parametrize("statistic", ["max", "mean"])
both_modes = pytest.mark.parametrize("training", [False, True])


def videos(lengths=LENGTHS, scale=3.0):
    """Wide enough that units are clipped at 0 and at 6."""
    rng = np.random.default_rng(0)
    return [(scale * rng.normal(size=(length, F))).astype(np.float32) for length in lengths]


def a_layer(statistic):
    layer = DBoF(K, statistic)
    layer.build((None, None, F))
    perturb(layer)
    return layer


def literal(weights, shown, statistic, training):
    """ReLU6 of every frame, then the statistic of each unit."""
    projected = [video.astype(np.float64) @ weights["projection/kernel"] for video in shown]
    out = []
    for units in batch_norm(weights, "norm", projected, training):
        descriptor = np.zeros(K)
        for k in range(K):
            seen = [min(max(value, 0.0), 6.0) for value in units[:, k]]
            descriptor[k] = max(seen) if statistic == "max" else sum(seen) / len(seen)
        out.append(descriptor)
    return out


@both_statistics
@both_modes
def test_it_equals_its_literal_form(statistic, training):
    layer, shown = a_layer(statistic), videos()
    expected = literal(weights_of(layer), shown, statistic, training)
    check_outputs(layer(*padded(shown, 302), training=training), expected)


def test_both_clips_occur_in_what_is_compared():
    maxima = np.stack(literal(weights_of(a_layer("max")), videos(), "max", training=False))
    assert (maxima == 0).any()
    assert (maxima == 6).any()


@both_statistics
@both_modes
def test_gradients(statistic, training):
    layer, shown = a_layer(statistic), videos()
    frames, mask = padded(shown, 302)
    # The tracked statistics move in training; neither form reads them then.
    check_gradients(
        layer,
        lambda: layer(frames, mask, training=training),
        lambda weights: literal(weights, shown, statistic, training),
    )


def test_padding_is_no_maximum_where_every_frame_is_below_0():
    layer = DBoF(2)
    layer.build((None, None, 2))
    layer.projection.kernel.assign(np.eye(2))
    frames = np.array([[[-3, 2], [-1, -2], [9, 9]]], np.float32)
    descriptor = np.asarray(layer(frames, np.array([[1, 1, 0]], np.float32)))
    np.testing.assert_allclose(descriptor, [[0, 2 / np.sqrt(1.001)]], rtol=1e-5)


@both_statistics
def test_a_video_without_frames_gives_0(statistic):
    frames, mask = padded(videos((3, 0)), 4)
    descriptor = np.asarray(a_layer(statistic)(frames, mask))
    assert (descriptor[1] == 0).all()
    assert (descriptor[0] > 0).any()


@both_statistics
def test_parameters_at_full_size(statistic):
    """The mean has a shift for each unit."""
    trained = 0
    for size, clusters in ((1024, 8192), (128, 2048)):
        layer = DBoF(clusters, statistic)
        layer.build((None, None, size))
        trained += sum(int(np.prod(weight.shape)) for weight in layer.trainable_weights)
        assert layer.compute_output_shape((3, None, size)) == (3, clusters)
    norms = 1 if statistic == "max" else 2
    assert trained == (1024 + norms) * 8192 + (128 + norms) * 2048


def test_another_statistic_is_refused():
    with pytest.raises(ValueError, match="max or mean, not 'median'"):
        DBoF(3, "median")
