"""Base classes of families with clusters: they hold the number of clusters and the soft assignment of frames."""

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
    """Base of the families that assign frames to clusters by a softmax; see `SoftAssignment`."""

    def __init__(self, clusters: int, **kwargs):
        super().__init__(clusters, **kwargs)
        self.assignment = SoftAssignment(clusters, dtype=self.dtype_policy, name="assignment")

    def build(self, frames_shape):
        self.assignment.build(frames_shape)
        super().build(frames_shape)

    def frame_weights(self, frames, mask):
        """Return the assignments a_tk; those of a frame sum to 1."""
        return self.assignment(frames, mask, training=False)  # B,T,K
