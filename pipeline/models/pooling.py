"""The base class of pooling layers, which map frames [B,T,F] and a mask [B,T] to a descriptor [B,D]."""

import keras
from keras import ops


class Pooling(keras.layers.Layer):
    """Base of the pooling families.

    A family implements `call(frames, mask, training=False)`, `build(frames_shape)`,
    `compute_output_shape(frames_shape)` and `get_config`. In `call`, padding must change nothing, and at inference no
    video may depend on the others of its batch. The mask is not passed on, since a descriptor has no frames.
    """

    source = ""
    """Where a family comes from, in a few words for the table of families; its docstring says more."""

    scale_matters = True
    """Whether it changes what a model can learn if each of the F features is scaled before the layer.

    It changes nothing if weights multiply the frames, or the descriptor, before anything else does, since these weights
    can include the scale. Then the batch norm of the frames has no scale, and no gradient by the frames is needed; in
    `dbof` that gradient is a third of the work of all matrix products.
    """

    frames_apart = False
    """Whether what is made of a frame, until frames are pooled, depends on that frame alone.

    Then the layer has `per_frame` and `pool`, and `pool(per_frame(frames, mask), mask)` is what `call` returns at
    inference. So the windows of a video are pooled from products that are made once: see `pipeline.models.windowed`.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def compute_mask(self, frames, previous_mask=None):
        return None

    def per_frame(self, frames, mask):
        """frames [B,T,F], mask [B,T] -> what `pool` takes of each frame, made of that frame alone: a list of [B,T,..].

        Only of families with `frames_apart`.
        """
        raise NotImplementedError(f"the frames of {self.name} see each other")

    def pool(self, products, counts):
        """Products [B,T,..], and how often each frame counts [B,T], 0 for padding -> descriptor [B,D]."""
        raise NotImplementedError(f"the frames of {self.name} see each other")

    def pool_windows(self, products, places, counts):
        """Products of one video [T,..], places and counts [W,N] of windows (`windowed.cut_in_two`) -> [W,D]."""
        return self.pool([ops.take(each, places, axis=0) for each in products], counts)

    def frame_weights(self, frames, mask):
        """frames [B,T,F], mask [B,T] -> how much each frame counts at inference, [B,T,K]; None if nothing tells.

        K is the number of the family's clusters, or of what it has instead. Each has its own weights over the frames:
        those that `call` uses, and 0 on padding. They are not negative unless the family says otherwise.
        """
