"""Triangulation: unit vectors from centers to frames, summed without building any of them."""

import functools

import keras
from keras import ops

from pipeline.models.layers.assignment import SoftAssignment

CLAMP = 1e-4
"""The squared distance of x and c is at least this share of ||x||^2 + ||c||^2; below it rounding would decide."""


@keras.saving.register_keras_serializable(package="pipeline")
class Triangulation(keras.layers.Layer):
    """frames [B,T,F], mask [B,T] -> assignments a_tk and distances d_tk to the centers c_k, both float32 [B,T,K].

    The unit vector (x_t - c_k) / d_tk is the embedding; see `center_distances`. Parameters: 2KF + 2K.
    Source: Jegou, Zisserman 2014.
    """

    def __init__(self, clusters: int, **kwargs):
        super().__init__(**kwargs)
        self.clusters = clusters
        self.supports_masking = True
        self.assignment = SoftAssignment(clusters, dtype=self.dtype_policy, name="assignment")

    def build(self, frames_shape):
        self.assignment.build(frames_shape)
        # Centers are spread as widely as frames after batch norm. From a center far inside, each frame would lie in
        # the frame's own direction.
        self.centers = self.add_weight(
            name="centres",
            shape=(self.clusters, frames_shape[-1]),
            initializer=keras.initializers.RandomNormal(stddev=1.0),
            autocast=False,
        )

    def call(self, frames, mask, training=False):
        assignment = ops.cast(self.assignment(frames, mask, training=training), "float32")
        return assignment, center_distances(ops.cast(frames, "float32"), self.centers)

    def compute_output_shape(self, frames_shape):
        shape = (*frames_shape[:2], self.clusters)
        return shape, shape

    def get_config(self):
        return {**super().get_config(), "clusters": self.clusters}


def center_distances(frames, centers):
    """frames [B,T,F], centers [K,F], float32 -> ||x_t - c_k|| [B,T,K], clamped from below by `CLAMP`."""
    lengths = ops.sum(ops.square(frames), axis=-1, keepdims=True) + ops.sum(ops.square(centers), axis=-1)  # B,T,K
    squared = lengths - 2 * ops.matmul(frames, ops.transpose(centers))
    return ops.sqrt(ops.maximum(squared, CLAMP * lengths + 1e-12))  # a root at 0 has no gradient


def weighted_sums(weights, values):
    """weights [B,T,K], of either sign, values [B,T,N] -> sum_t w_tk v_t [B,K,N]."""
    return ops.matmul(ops.transpose(weights, (0, 2, 1)), values)


def residual_sums(weights, frames, centers):
    """weights [B,T,K], of either sign, frames [B,T,F], centers [K,F] -> sum_t w_tk (x_t - c_k) [B,K,F]."""
    return shift_residual_sums(weighted_sums(weights, frames), ops.sum(weights, axis=1), centers)


def residual_outer_sums(weights, frames, products, centers):
    """weights [B,T,K], of either sign, frames [B,T,D], centers [K,D] -> sum_t w_tk (x_t - c_k)(x_t - c_k)^T [B,K,D,D].

    `products` [B,T,D(D+1)/2] are the `Triangle.products` of the frames.
    """
    triangle = Triangle(frames.shape[-1])
    matrices = triangle.unpack(weighted_sums(weights, products))  # B,K,D,D
    return shift_outer_sums(matrices, weighted_sums(weights, frames), ops.sum(weights, axis=1), centers)


def shift_residual_sums(first, mass, shift):
    """sum w y [B,K,D], sum w [B,K], shift s [K,D] -> sum w (y - s) [B,K,D]."""
    return first - mass[..., None] * shift


def shift_outer_sums(second, first, mass, shift):
    """sum w y y^T [B,K,D,D], sum w y [B,K,D], sum w [B,K], shift s [K,D] -> sum w (y - s)(y - s)^T [B,K,D,D]."""
    cross = (first - mass[..., None] * shift / 2)[..., :, None] * shift[:, None, :]  # B,K,D,D
    return second - cross - ops.swapaxes(cross, -1, -2)


def shift_outer_diagonals(squares, first, mass, shift):
    """Return only the diagonals of `shift_outer_sums`, [..,K,D], from sum w y^2 [..,K,D]."""
    return squares - (2 * first - mass[..., None] * shift) * shift


class Triangle:
    """The D(D+1)/2 different entries of a symmetric matrix of size D, and their order.

    They are ordered by diagonals that wrap around the edge: (i, i+s mod D) for s = 0 .. D/2. So the products of a
    vector with itself are its products with its rotations, whole rows at once. The first D are the squares.
    """

    def __init__(self, size: int):
        self.size = size
        self.entries = size * (size + 1) // 2

    @functools.cached_property
    def pairs(self):
        """Row and column of each entry: listed when they are used, not where settings alone ask for a large matrix."""
        size = self.size
        return [(i, (i + s) % size) for s in range(size // 2 + 1) for i in range(s if 2 * s == size else size)]

    def products(self, values):
        """values [..,D] -> v_i v_j [..,D(D+1)/2]."""
        rotations = [values * ops.roll(values, -s, axis=-1) for s in range(self.size // 2 + 1)]
        return ops.concatenate(rotations, axis=-1)[..., : self.entries]

    def pack(self, matrices):
        """Symmetric matrices [..,D,D] -> their entries [..,D(D+1)/2]."""
        flat = ops.reshape(matrices, (*ops.shape(matrices)[:-2], self.size**2))
        return ops.take(flat, [i * self.size + j for i, j in self.pairs], axis=-1)

    def unpack(self, entries):
        """Entries [..,D(D+1)/2] -> symmetric matrices [..,D,D]."""
        place = {pair: number for number, (i, j) in enumerate(self.pairs) for pair in ((i, j), (j, i))}
        indices = [place[i, j] for i in range(self.size) for j in range(self.size)]
        return ops.reshape(ops.take(entries, indices, axis=-1), (*ops.shape(entries)[:-1], self.size, self.size))
