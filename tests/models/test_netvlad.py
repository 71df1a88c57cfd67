"""NetVLAD and NetRVLAD against their literal forms, in float64 with loops."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipeline.models.netrvlad import NetRVLAD
from pipeline.models.netvlad import NetVLAD

K, F = 5, 7


def literal(layer, frames, mask, centers):
    """The residuals one by one; batch norm with its tracked statistics."""
    weights = {weight.path.split("/")[-1]: weight.numpy().astype(np.float64) for weight in layer.weights}
    masses = np.zeros((len(frames), K))
    out = np.zeros((len(frames), K, F))
    for b, video in enumerate(frames.astype(np.float64)):
        for t, x in enumerate(video):
            if not mask[b, t]:
                continue
            logits = x @ weights["kernel"]
            logits = (logits - weights["moving_mean"]) / np.sqrt(weights["moving_variance"] + 1e-3)
            logits = logits * weights["gamma"] + weights["beta"]
            assignment = np.exp(logits - logits.max())
            assignment /= assignment.sum()
            for k in range(K):
                masses[b, k] += assignment[k]
                out[b, k] += assignment[k] * (x - centers[k])
        for k in range(K):
            out[b, k] /= max(np.linalg.norm(out[b, k]), 0.01 * masses[b, k] * np.linalg.norm(centers[k]), 1e-12)
    out = out.reshape(len(frames), -1)
    return out / np.linalg.norm(out, axis=1, keepdims=True)


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    frames = rng.normal(size=(4, 9, F)).astype(np.float32)
    mask = (np.arange(9) < np.array([9, 1, 4, 7])[:, None]).astype(np.float32)
    return frames, mask


@pytest.mark.parametrize("compiled", [False, True])
def test_frames_on_a_center(data, compiled):
    """Of a video's only frame rounding is all that is left of A^T X - (sum a) c, and a compiler may round otherwise."""
    frames, mask = data
    layer = NetVLAD(clusters=K)
    layer.build(frames.shape)
    centers = layer.centers.numpy()
    centers[1], centers[2], centers[4] = frames[0, 3], frames[1, 0], 20 * frames[3, 0]
    layer.centers.assign(centers)
    frames[3, :2], frames[2, :] = centers[4], centers[2]

    @tf.function(jit_compile=compiled)
    def run():
        with tf.GradientTape() as tape:
            out = layer(frames, mask)
            total = tf.reduce_sum(out * tf.range(K * F, dtype=tf.float32))
        return out, tape.gradient(total, layer.trainable_weights)

    out, gradients = run()
    expected = literal(layer, frames, mask, centers.astype(np.float64))
    assert (np.linalg.norm(out - expected, axis=1) < 1e-4).all()  # descriptors of length 1
    assert all(np.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("family", [NetVLAD, NetRVLAD])
def test_it_equals_its_literal_form(family, data):
    keras.utils.set_random_seed(0)
    frames, mask = data
    layer = family(clusters=K)
    layer(frames, mask)
    rng = np.random.default_rng(1)
    for weight in layer.weights:
        weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    centers = layer.centers.numpy().astype(np.float64) if family is NetVLAD else np.zeros((K, F))
    expected = literal(layer, frames, mask, centers)
    got = np.asarray(layer(frames, mask))
    assert np.linalg.norm(got - expected) < 1e-5 * np.linalg.norm(expected)


@pytest.mark.parametrize("counts", [[9, 1, 4, 7], [1], [300]], ids=["padding", "one frame", "300 frames"])
def test_aggregation_and_its_gradients_take_weights_of_either_sign(counts):
    """Against loops over frames and clusters; the gradients of a weighted sum of the result by hand."""
    import tensorflow as tf

    rng = np.random.default_rng(2)
    mask = np.arange(max(counts)) < np.array(counts)[:, None]
    frames = rng.normal(size=(*mask.shape, F)).astype(np.float32)
    assignment = (rng.normal(size=(*mask.shape, K)) * mask[:, :, None]).astype(np.float32)
    layer = NetVLAD(clusters=K)
    layer.build(frames.shape)
    centers = layer.centers.numpy().astype(np.float64)
    cotangent = rng.normal(size=(len(counts), K, F)).astype(np.float32)

    expected = np.zeros((len(counts), K, F))
    by_assignment, by_frames, by_centers = np.zeros(assignment.shape), np.zeros(frames.shape), np.zeros((K, F))
    for b, count in enumerate(counts):
        for t in range(count):
            for k in range(K):
                weight, residual = float(assignment[b, t, k]), frames[b, t].astype(np.float64) - centers[k]
                expected[b, k] += weight * residual
                by_assignment[b, t, k] = cotangent[b, k] @ residual
                by_frames[b, t] += weight * cotangent[b, k]
                by_centers[k] -= weight * cotangent[b, k]

    inputs = [tf.constant(assignment), tf.constant(frames)]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        got = layer.aggregate(*inputs)
        total = tf.reduce_sum(got * cotangent)
    gradients = tape.gradient(total, [*inputs, layer.centers.value])
    # Padding has weight 0, but a gradient of its own: what it would add if it had one.
    found = [got, gradients[0] * mask[:, :, None], *gradients[1:]]
    for value, wanted in zip(found, [expected, by_assignment, by_frames, by_centers], strict=True):
        assert np.linalg.norm(value - wanted) < 1e-5 * np.linalg.norm(wanted)


@pytest.mark.parametrize(("family", "parameters"), [(NetVLAD, 2 * 256 * 1024), (NetRVLAD, 256 * 1024)])
def test_parameters_at_the_papers_size(family, parameters):
    layer = family(clusters=256)
    layer.build((None, None, 1024))
    assert sum(int(np.prod(weight.shape)) for weight in layer.trainable_weights) == parameters + 2 * 256
