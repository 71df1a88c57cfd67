"""Second-order pooling: first and second moments of triangulation embeddings, whitened in each cluster."""

import keras
from keras import ops

from pipeline.models.layers.democratic import democratic_weights
from pipeline.models.layers.normalization import l2_normalize, l2_normalize_rows
from pipeline.models.layers.penalties import PENALTIES
from pipeline.models.layers.triangulation import (
    Triangle,
    Triangulation,
    residual_outer_sums,
    residual_sums,
    shift_outer_sums,
    shift_residual_sums,
)
from pipeline.models.layers.whitening import WHITENING
from pipeline.models.pooling import Pooling


@keras.saving.register_keras_serializable(package="pipeline")
class SecondOrder(Pooling):
    """frames [B,T,F], mask [B,T] -> descriptor [R0; S1; S2], float32 [B, K + KF + KD(D+1)/2].

    There are two branches, each with its own centers c_k and assignments a_tk. With r_tk = (x_t - c_k) / ||x_t - c_k||,

        R0_k = sum_t a_tk        R1_k = sum_t a_tk r_tk        R2_k = sum_t a_tk r_tk r_tk^T
        S1_k = U_k (R1_k - R0_k mu_k)
        S2_k = U_k (R2_k - R1_k mu_k^T - mu_k R1_k^T + R0_k mu_k mu_k^T) U_k^T

    where mu_k is the mean of r_tk and U_k whitens it. The first branch uses x itself and gives R0 and S1. The second
    uses P x in D dimensions and gives the upper triangle of S2, with a factor of sqrt(2) off the diagonal. R0, each
    S1_k and each S2_k are L2-normalized, and then the whole. Everything except the assignments is float32 at any
    precision, since the sums, with weights a/d and a/d^2, take small differences of large numbers.

    With `democratic`, a_tk is replaced by lambda_t a_tk once the statistics are taken (see `democratic_weights`, of the
    first branch's maps). The last four arguments are the scales of penalties that are added to the training loss; each
    penalty is the sum over both branches.

    Parameters: 2K(F + 1) + FD + 2K(D + 1). A video costs 6TKF + 2TFD + TK(9D + D^2) + 4KD^3 FLOPs, and in training
    6TKF + TKD^2 more for the statistics. It keeps about 4 (2TF + TD(D+1)/2 + 6TK + KF + 6KD^2) bytes of activations.

    Sources: Kmiec, Bae, An 2018, section 3.3, equation 7; Jegou, Zisserman 2014; de Campos et al.
    """

    source = "Kmiec et al. 2018"

    def __init__(
        self,
        clusters: int = 64,
        projection: int = 64,
        first_whitening: str = "diagonal",
        second_whitening: str = "zca",
        democratic: bool = False,
        center_orthogonality: float = 0.0,
        center_sparsity: float = 0.0,
        assignment_entropy: float = 0.0,
        tangent_validity: float = 0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.settings = {
            "clusters": clusters,
            "projection": projection,
            "first_whitening": first_whitening,
            "second_whitening": second_whitening,
            "democratic": democratic,
            "center_orthogonality": center_orthogonality,
            "center_sparsity": center_sparsity,
            "assignment_entropy": assignment_entropy,
            "tangent_validity": tangent_validity,
        }
        self.penalties = tuple(name for name in PENALTIES if self.settings[name])
        self.triangle = Triangle(projection)
        dtype = self.dtype_policy
        self.first = Triangulation(clusters, dtype=dtype, name="first")
        # The projection has no bias, since it would only shift the centers.
        self.project = keras.layers.Dense(projection, use_bias=False, dtype=dtype, name="project")
        self.second = Triangulation(clusters, dtype=dtype, name="second")
        self.first_whitening = _whitening(first_whitening, ("none", "diagonal"), dtype, "first_whitening")
        self.second_whitening = _whitening(second_whitening, ("none", *WHITENING), dtype, "second_whitening")

    def build(self, frames_shape):
        projected_shape = (*frames_shape[:2], self.settings["projection"])
        self.first.build(frames_shape)
        self.project.build(frames_shape)
        self.second.build(projected_shape)
        for whitening, triangulation in ((self.first_whitening, self.first), (self.second_whitening, self.second)):
            if whitening:
                whitening.build(triangulation.centers.shape)

    def call(self, frames, mask, training=False):
        projected = self.project(frames)  # B,T,D
        first, first_distances = self.first(frames, mask, training=training)  # B,T,K
        second, second_distances = self.second(projected, mask, training=training)  # B,T,K
        frames, projected = ops.cast(frames, "float32"), ops.cast(projected, "float32")
        if training:
            branches = ((self.first.centers, frames, first, mask), (self.second.centers, projected, second, mask))
            for name in self.penalties:
                self.add_loss(self.settings[name] * sum(PENALTIES[name](*branch) for branch in branches))
        if self.settings["democratic"]:
            weights = self._votes(first, first_distances, frames, mask)  # B,T,1
            first, second = weights * first, weights * second
        return self._describe(first, first_distances, frames, second, second_distances, projected, mask, training)

    @property
    def frames_apart(self) -> bool:
        return not self.settings["democratic"]

    def per_frame(self, frames, mask):
        projected = self.project(frames)
        branches = (*self.first(frames, mask, training=False), frames, *self.second(projected, mask, training=False))
        return [ops.cast(each, "float32") for each in (*branches, projected)]

    def pool(self, products, counts):
        first, first_distances, frames, second, second_distances, projected = products
        weights = ops.cast(counts, "float32")[:, :, None]
        first, second = weights * first, weights * second
        mask = ops.sign(counts)
        return self._describe(first, first_distances, frames, second, second_distances, projected, mask, training=False)

    def _describe(self, first, first_distances, frames, second, second_distances, projected, mask, training):
        """Return the descriptor from the assignments and distances of both branches, their frames, and the mask."""
        parts = (
            l2_normalize(ops.sum(first, axis=1)),  # B,K
            l2_normalize_rows(self._first_order(first, first_distances, frames, mask, training)),  # B,KF
            l2_normalize_rows(self._second_order(second, second_distances, projected, mask, training)),  # B,KD(D+1)/2
        )
        return l2_normalize(ops.concatenate(parts, axis=-1))

    def frame_weights(self, frames, mask):
        """Return the first branch's assignments a_tk; those of a frame sum to 1, or with `democratic` to lambda_t."""
        assignment, distances = self.first(frames, mask, training=False)  # B,T,K
        if not self.settings["democratic"]:
            return assignment
        return assignment * self._votes(assignment, distances, ops.cast(frames, "float32"), mask)

    def _votes(self, assignment, distances, frames, mask):
        """Return lambda_t [B,T,1], from the maps of the first branch."""
        return democratic_weights(assignment, distances, frames, self.first.centers, mask)[:, :, None]

    def _first_order(self, assignment, distances, frames, mask, training):
        """Return S1 [B,K,F] of the first branch."""
        centers = self.first.centers
        sums = residual_sums(assignment / distances, frames, centers)  # B,K,F
        if not self.first_whitening:
            return sums
        mean, root = self.first_whitening(frames, ops.square(frames), distances, centers, mask, training=training)
        return self.first_whitening.whiten_first(shift_residual_sums(sums, ops.sum(assignment, axis=1), mean), root)

    def _second_order(self, assignment, distances, frames, mask, training):
        """Return S2 [B,K,D(D+1)/2] of the second branch: the different entries, with the norm of the whole matrices."""
        centers = self.second.centers
        products = self.triangle.products(frames)  # B,T,D(D+1)/2
        weights = assignment / distances  # B,T,K
        sums = residual_outer_sums(weights / distances, frames, products, centers)  # B,K,D,D
        if whitening := self.second_whitening:
            mean, root = whitening(frames, products, distances, centers, mask, training=training)
            first = residual_sums(weights, frames, centers)  # B,K,D
            sums = whitening.whiten_second(shift_outer_sums(sums, first, ops.sum(assignment, axis=1), mean), root)
        size = frames.shape[-1]
        scale = [1.0] * size + [2**0.5] * (self.triangle.entries - size)
        return self.triangle.pack(sums) * ops.convert_to_tensor(scale, sums.dtype)

    def compute_output_shape(self, frames_shape):
        values = 1 + frames_shape[-1] + self.triangle.entries
        return (frames_shape[0], self.settings["clusters"] * values)

    def get_config(self):
        return {**super().get_config(), **self.settings}


def _whitening(kind, kinds, dtype, name):
    if kind not in kinds:
        raise ValueError(f"{name} must be one of {', '.join(kinds)}, not {kind!r}")
    return WHITENING[kind](dtype=dtype, name=name) if kind != "none" else None
