"""What every pooling layer is: frames [B,T,F] and a mask [B,T] to a descriptor [B,D]."""

import keras


class Pooling(keras.layers.Layer):
    """Base of the pooling families.

    A family implements `call(frames, mask, training=False)`, where padding changes nothing and no video depends on the
    others of its batch at inference, `build(frames_shape)`, `compute_output_shape(frames_shape)`, and `get_config`.
    The mask ends here: a descriptor has no frames.
    """

    source = ""
    """Where a family comes from, in a few words for its line in the table of families; the docstring says more."""

    scale_matters = True
    """Whether a scale of its own for each of the F features, before the layer, changes what a model can learn.

    Not where weights multiply the frames, or the descriptor, before anything else does: they can hold the scale. The
    batch norm of the frames then has none, and no gradient by the frames is needed, which in `dbof` is a third of all
    the products' work.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def compute_mask(self, frames, previous_mask=None):
        return None

    def frame_weights(self, frames, mask):
        """frames [B,T,F], mask [B,T] -> how much each frame counts at inference, [B,T,K]; None where nothing says so.

        K are the family's clusters, or what it has in their place, each with its own weights over the frames: those
        that `call` works with, and 0 on padding. They are not negative unless the family says otherwise.
        """
