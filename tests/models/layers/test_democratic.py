"""Democratic weights: they balance, equal frames get equal ones, padding none; the Gram matrix is the literal one."""

import numpy as np
import pytest
import tensorflow as tf

from pipeline.models.layers.democratic import balance, democratic_weights, gram
from pipeline.models.layers.triangulation import Triangulation, center_distances

K, F = 4, 8


def embedded(counts=(60, 1, 45, 30), length=60, spread=1.0, seed=0):
    """Assignments and distances of a layer of ours on videos whose frames resemble each other; garbage as padding."""
    rng = np.random.default_rng(seed)
    videos = rng.normal(size=(len(counts), 1, F)) + spread * rng.normal(size=(len(counts), length, F))
    mask = (np.arange(length) < np.array(counts)[:, None]).astype(np.float32)
    frames = np.where(mask[..., None] > 0, videos, 40.0).astype(np.float32)
    layer = Triangulation(K)
    layer.build(frames.shape)
    centers = rng.normal(size=(K, F)).astype(np.float32)
    layer.centers.assign(centers)
    shares, apart = (np.array(each) for each in layer(frames, mask))
    return shares, apart, frames, centers, mask


def error(similarity, weights, mask):
    """The largest difference of lambda_t sum_s Q_ts lambda_s from 1 on valid frames."""
    said = weights * np.einsum("bts,bs->bt", np.asarray(similarity, np.float64), weights)
    return np.abs(said - 1)[mask > 0].max()


@pytest.mark.parametrize("length", [1, 9, 300])
def test_the_gram_matrix_equals_its_literal_form(length):
    rng = np.random.default_rng(1)
    weights = rng.normal(size=(2, length, K)).astype(np.float32)  # of either sign
    frames = rng.normal(size=(2, length, F)).astype(np.float32)
    centers = rng.normal(size=(K, F)).astype(np.float32)
    for b in range(2):
        maps = np.zeros((length, K, F))
        for t in range(length):
            for k in range(K):
                maps[t, k] = weights[b, t, k] * (frames[b, t].astype(np.float64) - centers[k])
        expected = maps.reshape(length, -1) @ maps.reshape(length, -1).T
        got = np.asarray(gram(weights, frames, centers))[b]
        assert np.linalg.norm(got - expected) < 1e-5 * np.linalg.norm(expected)


@pytest.mark.parametrize("spread", [0.05, 0.3, 1.0, 3.0])
def test_ten_iterations_balance_embeddings(spread):
    case = embedded(spread=spread)
    shares, apart, frames, centers, mask = case
    similarity = np.maximum(np.asarray(gram(shares / apart, frames, centers)), 0)
    weights = np.asarray(democratic_weights(*case))
    assert error(similarity, weights, mask) < 1e-3
    assert (weights[mask > 0] > 0).all()


def test_thirty_iterations_balance_random_matrices():
    rng = np.random.default_rng(2)
    factors = np.abs(rng.normal(size=(5, 40, 30))) * rng.lognormal(sigma=2, size=(5, 40, 1))
    similarity = np.einsum("btf,bsf->bts", factors, factors).astype(np.float32)
    mask = np.ones((5, 40), np.float32)
    assert error(similarity, np.asarray(balance(similarity, mask, iterations=30)), mask) < 1e-3


def test_padding_gets_nothing_and_changes_nothing():
    shares, apart, frames, centers, mask = embedded()
    weights = np.asarray(democratic_weights(shares, apart, frames, centers, mask))
    assert np.isfinite(weights).all()
    assert (weights[mask == 0] == 0).all()
    frames = np.concatenate([frames, np.zeros((4, 6, F), np.float32)], axis=1)
    shares, mask = np.pad(shares, ((0, 0), (0, 6), (0, 0))), np.pad(mask, ((0, 0), (0, 6)))
    longer = np.asarray(
        democratic_weights(shares, np.asarray(center_distances(frames, centers)), frames, centers, mask)
    )
    np.testing.assert_allclose(longer[:, :-6], weights, rtol=1e-5)
    assert np.isfinite(
        np.asarray(democratic_weights(shares * 0, np.ones_like(shares), frames, centers, mask * 0))
    ).all()


def test_equal_frames_get_equal_weights():
    shares, apart, frames, centers, mask = embedded(spread=1.0)
    for each in (shares, apart, frames):
        each[:, 20:30] = each[:, 20:21]
    weights = np.asarray(democratic_weights(shares, apart, frames, centers, mask))
    for video in (0, 2, 3):
        np.testing.assert_allclose(weights[video, 20:30], weights[video, 20], rtol=1e-5)
        assert weights[video, :20].std() > 1e-3


def test_a_rare_frame_is_heard():
    """250 equal frames and 6 others, all orthogonal: the share of the sum's energy that is the six's."""
    frames = np.eye(7, 16)[np.concatenate([np.zeros(250, int), np.arange(1, 7)])][None]
    weights = np.asarray(balance(frames @ frames.transpose(0, 2, 1), np.ones((1, 256))))[0]
    share = {}
    for name, each in (("plain", np.ones(256)), ("democratic", weights)):
        energy = (each @ frames[0]) ** 2
        share[name] = energy[1:7].sum() / energy.sum()
    assert share["plain"] == pytest.approx(6 / (250**2 + 6))
    # Each of the 250 has lambda = 250^-1/2, so their sum has energy 250, and each of the six has 1.
    assert share["democratic"] == pytest.approx(6 / 256)
    assert share["democratic"] >= 6 / 256 - 1e-9


def test_no_gradient_flows_through_the_iterations():
    shares, apart, frames, centers, mask = (tf.constant(each) for each in embedded())
    with tf.GradientTape() as tape:
        tape.watch([shares, apart, frames, centers])
        value = tf.reduce_sum(democratic_weights(shares, apart, frames, centers, mask))
    assert tape.gradient(value, [shares, apart, frames, centers]) == [None] * 4
