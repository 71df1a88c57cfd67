"""Base classes of families with clusters: they hold the number of clusters and the soft assignment of frames."""

from keras import ops

from pipeline.models.layers.assignment import SoftAssignment
from pipeline.models.pooling import Pooling


class Clustered(Pooling):
    """Base of the families that have K clusters."""

    def __init__(self, clusters: int, **kwargs):
        super().__init__(**kwargs)
        self.clusters = clusters

    def get_config(self):
        return {**super().get_config(), "clusters": self.clusters}


class SoftlyAssigned(Clustered):
    """Base of the families that assign frames to clusters by a softmax; see `SoftAssignment`.

    A subclass defines `describe(assignment, frames)`, which makes the descriptor of a_tk [B,T,K] and frames [B,T,F].
    """

    frames_apart = True

    def __init__(self, clusters: int, **kwargs):
        super().__init__(clusters, **kwargs)
        self.assignment = SoftAssignment(clusters, dtype=self.dtype_policy, name="assignment")

    def build(self, frames_shape):
        self.assignment.build(frames_shape)
        super().build(frames_shape)

    def call(self, frames, mask, training=False):
        return self.describe(self.assignment(frames, mask, training=training), frames)

    def per_frame(self, frames, mask):
        return [self.assignment(frames, mask, training=False), frames]

    def pool(self, products, counts):
        assignment, frames = products
        return self.describe(assignment * ops.cast(counts, assignment.dtype)[:, :, None], frames)

    def frame_weights(self, frames, mask):
        """Return the assignments a_tk; those of a frame sum to 1."""
        return self.assignment(frames, mask, training=False)  # B,T,K
