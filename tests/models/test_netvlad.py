"""NetVLAD and NetRVLAD against their literal forms, in float64 with loops."""

import keras
import numpy as np
import pytest

from pipeline.models.netrvlad import NetRVLAD
from pipeline.models.netvlad import NetVLAD

K, F = 5, 7


def literal(layer, frames, mask, centres):
    """The residuals one by one; batch norm with its tracked statistics."""
    weights = {weight.path.split("/")[-1]: weight.numpy().astype(np.float64) for weight in layer.weights}
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
                out[b, k] += assignment[k] * (x - centres[k])
        for k in range(K):
            out[b, k] /= max(np.linalg.norm(out[b, k]), 1e-12)
    out = out.reshape(len(frames), -1)
    return out / np.linalg.norm(out, axis=1, keepdims=True)


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    frames = rng.normal(size=(4, 9, F)).astype(np.float32)
    mask = (np.arange(9) < np.array([9, 1, 4, 7])[:, None]).astype(np.float32)
    return frames, mask


@pytest.mark.parametrize("family", [NetVLAD, NetRVLAD])
def test_it_equals_its_literal_form(family, data):
    keras.utils.set_random_seed(0)
    frames, mask = data
    layer = family(clusters=K)
    layer(frames, mask)
    rng = np.random.default_rng(1)
    for weight in layer.weights:
        weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    centres = layer.centres.numpy().astype(np.float64) if family is NetVLAD else np.zeros((K, F))
    expected = literal(layer, frames, mask, centres)
    got = np.asarray(layer(frames, mask))
    assert np.linalg.norm(got - expected) < 1e-5 * np.linalg.norm(expected)


def test_aggregation_takes_weights_of_either_sign(data):
    frames, _ = data
    layer = NetVLAD(clusters=K)
    layer.build(frames.shape)
    weights = np.random.default_rng(2).normal(size=(4, 9, K)).astype(np.float32)
    centres = layer.centres.numpy().astype(np.float64)
    expected = np.einsum("btk,btkf->bkf", weights, frames[:, :, None] - centres)
    got = np.asarray(layer.aggregate(weights, frames))
    assert np.linalg.norm(got - expected) < 1e-5 * np.linalg.norm(expected)


@pytest.mark.parametrize(("family", "parameters"), [(NetVLAD, 2 * 256 * 1024), (NetRVLAD, 256 * 1024)])
def test_parameters_at_the_papers_size(family, parameters):
    layer = family(clusters=256)
    layer.build((None, None, 1024))
    assert sum(int(np.prod(weight.shape)) for weight in layer.trainable_weights) == parameters + 2 * 256
