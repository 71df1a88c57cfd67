"""NeXtVLAD against its equations, in float64 with a loop over frames, groups and clusters."""

import keras
import numpy as np
import pytest
from reference import literal

from pipeline.models.nextvlad import NeXtVLAD

K, F, GROUPS, EXPANSION = 5, 6, 4, 2
N = EXPANSION * F // GROUPS


def descriptors(weights, videos, training):
    expanded = [video @ weights["expand/kernel"] + weights["expand/bias"] for video in videos]
    gates = [1 / (1 + np.exp(-video @ weights["attention/kernel"] - weights["attention/bias"])) for video in expanded]
    logits = literal.batch_norm(weights, "norm", [video @ weights["logits/kernel"] for video in expanded], training)
    out = []
    for row, video in enumerate(expanded):
        vlad = np.zeros((K, N))
        for t, frame in enumerate(video):
            for g in range(GROUPS):
                small = frame[g * N : (g + 1) * N]
                assignment = literal.softmax(logits[row][t, g * K : (g + 1) * K])
                for k in range(K):
                    vlad[k] += gates[row][t, g] * assignment[k] * (small - weights["centres"][k])
        out.append((vlad / np.linalg.norm(vlad, axis=1, keepdims=True)).reshape(1, -1))
    return [rows[0] for rows in literal.batch_norm(weights, "descriptor_norm", out, training)]


def data(lengths, length):
    keras.utils.set_random_seed(0)
    return literal.case(NeXtVLAD(K, GROUPS, EXPANSION, dropout=0.0), F, lengths, length)


@pytest.mark.parametrize(
    ("lengths", "length", "training"),
    [
        ([9, 1, 4, 7], 12, False),
        ([9, 1, 4, 7], 12, True),
        ([1], 1, False),
        ([300, 41], 300, False),
        ([300, 41, 2], 300, True),
    ],
)
def test_it_equals_its_equations(lengths, length, training):
    videos, frames, mask, layer = data(lengths, length)
    expected = descriptors(literal.weights_of(layer), videos, training)
    literal.check_outputs(layer(frames, mask, training=training), expected)


@pytest.mark.parametrize("training", [False, True])
def test_gradients(training):
    videos, frames, mask, layer = data([9, 1, 4, 7], 12)
    literal.check_gradients(
        layer, lambda: layer(frames, mask, training=training), lambda weights: descriptors(weights, videos, training)
    )


def test_dropout_is_of_the_descriptor_in_training():
    keras.utils.set_random_seed(0)
    frames = np.random.default_rng(0).normal(size=(40, 3, F)).astype(np.float32)
    mask = np.ones((40, 3), np.float32)
    layer = NeXtVLAD(K, GROUPS, EXPANSION)
    assert (np.asarray(layer(frames, mask)) != 0).all()
    dropped = np.asarray(layer(frames, mask, training=True))
    assert (dropped == 0).mean() == pytest.approx(0.5, abs=0.1)
    layer = NeXtVLAD(K, GROUPS, EXPANSION, dropout=0.0)
    assert (np.asarray(layer(frames, mask, training=True)) != 0).all()


def test_the_descriptor_is_normalized_over_the_batch_without_a_shift():
    _, frames, mask, layer = data([4] * 50, 4)
    layer.descriptor_norm.gamma.assign(np.full(K * N, 2.0))
    found = np.asarray(layer(frames, mask, training=True))
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(found.std(axis=0), 2, rtol=0.2)  # their variances are not all large beside epsilon


def test_groups_must_divide_the_expanded_frame():
    with pytest.raises(ValueError, match=r"5 groups do not divide a frame of 12 values \(6 expanded 2 times\)"):
        NeXtVLAD(K, groups=5).build((None, None, F))


def test_a_video_without_frames_is_finite():
    _, frames, mask, layer = data([3, 0], 4)
    assert np.isfinite(np.asarray(layer(frames, mask))).all()


@pytest.mark.parametrize(("clusters", "groups", "size"), [(128, 8, 1024), (64, 4, 128)])
def test_parameters_at_the_papers_size(clusters, groups, size):
    layer = NeXtVLAD(clusters, groups)
    layer.build((None, None, size))
    expanded, small = 2 * size, 2 * size // groups
    expected = (
        (size + 1) * expanded
        + (expanded + 1) * groups  # attention
        + expanded * groups * clusters + 2 * groups * clusters  # assignment and its norm
        + clusters * small + clusters * small  # centers; scales of the descriptor
    )  # fmt: skip
    assert sum(int(np.prod(weight.shape)) for weight in layer.trainable_weights) == expected
    assert layer.compute_output_shape((None, None, size)) == (None, clusters * small)
