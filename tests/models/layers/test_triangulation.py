"""Distances and sums of residuals against their literal forms, with weights of either sign; the triangle's order."""

import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from pipeline.models.layers import triangulation
from pipeline.models.layers.triangulation import CLAMP, Triangle, Triangulation

K, F = 5, 6


@pytest.fixture(params=[1, 9, 300], ids="{} frames".format)
def case(request):
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(3, request.param, K)).astype(np.float32)
    frames = (rng.normal(size=(3, request.param, F)) * 2 + 1).astype(np.float32)
    centers = rng.normal(size=(K, F)).astype(np.float32)
    return weights, frames, centers


def near(got, expected, tolerance=1e-5):
    return np.linalg.norm(np.asarray(got, np.float64) - expected) < tolerance * np.linalg.norm(expected)


def squared_sums(weights, frames, centers):
    squares, sums = (triangulation.weighted_sums(weights, values) for values in (frames * frames, frames))
    return triangulation.shift_outer_diagonals(squares, sums, ops.sum(weights, axis=1), centers)


def matrix_sums(weights, frames, centers):
    return triangulation.residual_outer_sums(weights, frames, Triangle(F).products(frames), centers)


def residual_sums(weights, frames, centers):
    return triangulation.residual_sums(weights, frames, centers)


def literal(weights, frames, centers, power):
    """Sums of the residuals, their squares or their outer products, and the gradients of sum(sums * upstream).

    Frame by frame and cluster by cluster, in float64.
    """
    weights, frames, centers = (each.astype(np.float64) for each in (weights, frames, centers))
    shape = {"residual": (F,), "squared": (F,), "matrix": (F, F)}[power]
    sums = np.zeros((len(frames), K, *shape))
    upstream = np.random.default_rng(1).normal(size=sums.shape)
    gradients = [np.zeros_like(each) for each in (weights, frames, centers)]
    for b, video in enumerate(frames):
        for t, x in enumerate(video):
            for k, c in enumerate(centers):
                w, r, g = weights[b, t, k], x - c, upstream[b, k]
                value = {"residual": r, "squared": r * r, "matrix": np.outer(r, r)}[power]
                along = {"residual": g, "squared": 2 * r * g, "matrix": (g + g.T) @ r if g.ndim == 2 else None}[power]
                sums[b, k] += w * value
                gradients[0][b, t, k] += (g * value).sum()
                gradients[1][b, t] += w * along
                gradients[2][k] -= w * along
    return sums, upstream, gradients


@pytest.mark.parametrize("form", [residual_sums, squared_sums, matrix_sums], ids=lambda form: form.__name__)
def test_sums_and_gradients_equal_the_literal_form(form, case):
    expected, upstream, gradients = literal(*case, form.__name__.partition("_")[0])
    inputs = [tf.constant(each) for each in case]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        got = form(*inputs)
        value = tf.reduce_sum(got * tf.constant(upstream, tf.float32))
    assert near(got, expected)
    for gradient, wanted in zip(tape.gradient(value, inputs), gradients):
        assert near(gradient, wanted)


def test_distances():
    rng = np.random.default_rng(2)
    frames = rng.normal(size=(2, 7, F)).astype(np.float32)
    centers = rng.normal(size=(K, F)).astype(np.float32)
    frames[0, 3] = centers[2]
    frames[1, 1] = centers[4] * 1.001
    got = np.asarray(triangulation.center_distances(frames, centers))
    x, c = frames.astype(np.float64)[:, :, None], centers.astype(np.float64)
    squared = ((x - c) ** 2).sum(-1)
    bound = CLAMP * ((x**2).sum(-1) + (c**2).sum(-1))
    np.testing.assert_allclose(got, np.sqrt(np.maximum(squared, bound)), rtol=1e-5)
    assert (squared < bound).sum() == 2
    assert np.isfinite(np.asarray(triangulation.center_distances(frames * 0, centers * 0))).all()


def test_distances_are_float32_at_any_precision():
    layer = Triangulation(K, dtype="mixed_bfloat16")
    frames = np.random.default_rng(3).normal(size=(2, 4, F)).astype(np.float32)
    shares, distances = layer(frames, np.ones((2, 4)))
    assert shares.dtype == distances.dtype == "float32"
    rounded = tf.cast(tf.cast(frames, "bfloat16"), "float32")
    np.testing.assert_allclose(distances, triangulation.center_distances(rounded, layer.centers), rtol=1e-6)
    assert list(layer.compute_output_shape((2, 4, F))) == [shares.shape, distances.shape]


def test_padding_belongs_to_no_cluster():
    layer = Triangulation(K)
    frames = np.random.default_rng(3).normal(size=(2, 4, F)).astype(np.float32)
    mask = np.array([[1, 1, 1, 1], [1, 0, 0, 0]], np.float32)
    shares, _ = layer(frames, mask)
    np.testing.assert_allclose(np.asarray(shares).sum(-1), mask, rtol=1e-6)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8, 33])
def test_the_triangle_holds_each_product_once(size):
    triangle = Triangle(size)
    assert len(triangle.pairs) == size * (size + 1) // 2
    assert {tuple(sorted(pair)) for pair in triangle.pairs} == {(i, j) for j in range(size) for i in range(j + 1)}
    assert triangle.pairs[:size] == [(i, i) for i in range(size)]
    values = np.random.default_rng(4).normal(size=(3, 2, size)).astype(np.float32)
    outer = values[..., :, None] * values[..., None, :]
    np.testing.assert_array_equal(triangle.products(values), triangle.pack(outer))
    np.testing.assert_array_equal(triangle.unpack(triangle.products(values)), outer)
