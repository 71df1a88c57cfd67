"""Whitening: a batch's embeddings come out white, the statistics are those of valid frames, the root is the root."""

import numpy as np
import pytest

from pipeline.models.layers.triangulation import Triangle, center_distances
from pipeline.models.layers.whitening import DiagonalWhitening, ZCAWhitening, newton_schulz

K = 3


def data(size, videos=24, length=100, seed=0):
    """Correlated frames (the spread of the embeddings has a condition below fifty), garbage as padding."""
    rng = np.random.default_rng(seed)
    mixing = np.eye(size) + 0.3 * rng.normal(size=(size, size)) / size**0.5
    frames = rng.normal(size=(videos, length, size)) @ mixing * np.linspace(0.6, 1.4, size) + 0.5 * rng.normal(
        size=size
    )
    mask = np.arange(length) < rng.integers(length // 2, length + 1, videos)[:, None]
    frames = np.where(mask[..., None], frames, 9.0).astype(np.float32)
    return frames, mask.astype(np.float32), rng.normal(size=(K, size)).astype(np.float32)


def embeddings(frames, mask, centers):
    """r_tk of the valid frames, in float64 [N,K,F]."""
    residuals = frames[mask > 0].astype(np.float64)[:, None] - centers
    return residuals / np.linalg.norm(residuals, axis=-1, keepdims=True)


def call(layer, frames, mask, centers, training):
    products = Triangle(frames.shape[-1]).products(frames) if isinstance(layer, ZCAWhitening) else np.square(frames)
    mean, root = layer(frames, products, center_distances(frames, centers), centers, mask, training=training)
    return np.asarray(mean, np.float64), np.asarray(root, np.float64)


@pytest.mark.parametrize("size", [16, 1024])
def test_diagonal_whitening_gives_variances_of_one(size):
    frames, mask, centers = data(size)
    layer = DiagonalWhitening()
    layer.build(centers.shape)
    mean, root = call(layer, frames, mask, centers, training=True)
    white = (embeddings(frames, mask, centers) - mean) * root
    np.testing.assert_allclose(white.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(white.var(0), 1, atol=0.05)


@pytest.mark.parametrize("size", [4, 32, 64])
def test_zca_whitening_gives_the_identity(size):
    frames, mask, centers = data(size)
    layer = ZCAWhitening()
    layer.build(centers.shape)
    mean, root = call(layer, frames, mask, centers, training=True)
    vectors = embeddings(frames, mask, centers) - mean
    for k in range(K):
        white = vectors[:, k] @ root[k].T
        np.testing.assert_allclose(white.T @ white / len(white), np.eye(size), atol=0.05)
        before = np.corrcoef(vectors[:, k].T) - np.eye(size)
        assert np.abs(before).max() > 0.1, "there was something to decorrelate"


@pytest.mark.parametrize("kind", [DiagonalWhitening, ZCAWhitening])
def test_training_moves_the_tracked_statistics_and_inference_takes_them(kind):
    frames, mask, centers = data(8)
    layer = kind(momentum=0.75)
    layer.build(centers.shape)
    vectors = embeddings(frames, mask, centers)
    mean = np.zeros((K, 8))
    spread = np.stack([np.eye(8)] * K) / 8  # what evenly spread unit vectors have
    for _ in range(3):
        call(layer, frames, mask, centers, training=True)
        mean = 0.75 * mean + 0.25 * vectors.mean(0)
        batch = np.stack([np.cov(vectors[:, k].T, bias=True) for k in range(K)])
        spread = 0.75 * spread + 0.25 * batch
    np.testing.assert_allclose(layer.moving_mean, mean, atol=1e-6)
    if kind is ZCAWhitening:
        tracked = layer.triangle.unpack(layer.moving_covariance / 8)
        np.testing.assert_allclose(tracked, spread, atol=1e-6)
    else:
        spread = spread * np.eye(8)
        np.testing.assert_allclose(layer.moving_variance / 8, np.einsum("kii->ki", spread), atol=1e-6)
    before = [weight.numpy() for weight in layer.weights]
    got_mean, got_root = call(layer, frames[:1] + 3, mask[:1], centers, training=False)
    for weight, value in zip(layer.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)
    np.testing.assert_allclose(got_mean, mean, atol=1e-6)
    for k in range(K):
        values, axes = np.linalg.eigh(spread[k] + 1e-3 * np.trace(spread[k]) / 8 * np.eye(8))
        root = got_root[k] if kind is ZCAWhitening else np.diag(got_root[k])
        expected = axes @ np.diag(values**-0.5) @ axes.T
        assert np.linalg.norm(root - expected) < 1e-5 * np.linalg.norm(expected)


@pytest.mark.parametrize("kind", [DiagonalWhitening, ZCAWhitening])
def test_padding_is_not_in_the_statistics(kind):
    frames, mask, centers = data(8)
    longer = np.concatenate([frames, np.full((len(frames), 5, 8), -7, np.float32)], axis=1)
    longer_mask = np.pad(mask, ((0, 0), (0, 5)))
    roots = []
    for each, valid in ((frames, mask), (longer, longer_mask)):
        layer = kind()
        layer.build(centers.shape)
        roots.append(call(layer, each, valid, centers, training=True)[1])
    assert np.linalg.norm(roots[1] - roots[0]) < 1e-5 * np.linalg.norm(roots[0])


@pytest.mark.parametrize("condition", [1, 10, 1e3])
@pytest.mark.parametrize("size", [5, 32, 64])
@pytest.mark.parametrize("spectrum", ["even", "one small", "one large"])
def test_newton_schulz_is_the_inverse_root(size, condition, spectrum):
    rng = np.random.default_rng(1)
    values = {
        "even": np.geomspace(1, 1 / condition, size),
        "one small": np.where(np.arange(size) == 0, 1 / condition, 1),
        "one large": np.where(np.arange(size) == 0, 1, 1 / condition),
    }[spectrum]
    axes = np.linalg.qr(rng.normal(size=(2, size, size)))[0]
    matrices = 0.02 * axes * values @ np.swapaxes(axes, 1, 2)  # of the size of covariances of unit vectors
    # After the shrinkage that it is used with.
    matrices = matrices + 1e-3 * matrices.trace(axis1=1, axis2=2)[:, None, None] / size * np.eye(size)
    values, axes = np.linalg.eigh(matrices)
    expected = axes * values[:, None] ** -0.5 @ np.swapaxes(axes, 1, 2)
    got = np.asarray(newton_schulz(matrices.astype(np.float32)))
    assert np.linalg.norm(got - expected) < 1e-4 * np.linalg.norm(expected)
