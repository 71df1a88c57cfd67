"""Cut a model in two: what it makes of each frame alone, and what it makes of windows of frames from that."""

import keras

from pipeline.models.pooling import Pooling


def cut_in_two(model: keras.Model) -> tuple[keras.Model, keras.Model] | None:
    """Return the two halves of a model of `pipeline.models`; None if its frames see each other before they are pooled.

    The first maps the model's inputs to a list of products, [B,T,..] each. The second maps {"counts": float32 [W,N],
    "products": the list, of the N frames of each window, [W,N,..]} to probabilities float32 [W,V]; a count says how
    often a frame is seen, 0 for padding. On frames that are seen once each, the second half of the first is the model.
    """
    poolings = [layer for layer in model.layers if isinstance(layer, Pooling)]
    made = [_PerFrame(layer)(*layer.input) if layer.frames_apart else None for layer in poolings]
    if None in made:
        return None
    first = keras.Model(model.input, [product for products in made for product in products])
    counts = keras.Input((None,), dtype="float32", name="counts")
    inputs, descriptors = [], []
    for layer, products in zip(poolings, made):
        own = [keras.Input((None, *product.shape[2:]), dtype=product.dtype) for product in products]
        inputs += own
        descriptors.append(_Pool(layer)(own, counts))
    rest = keras.Model([layer.output for layer in poolings], model.output)
    return first, keras.Model({"counts": counts, "products": inputs}, rest(descriptors))


class _Part(keras.layers.Layer):
    """A part of a pooling layer, as a layer; its frames go on without a mask."""

    def __init__(self, pooling: Pooling, part: str):
        super().__init__(dtype=pooling.dtype_policy, autocast=False, name=f"{pooling.name}_{part}")
        self.supports_masking = True
        self.pooling = pooling

    def compute_mask(self, *arguments, **others):
        return None


class _PerFrame(_Part):
    def __init__(self, pooling: Pooling):
        super().__init__(pooling, "per_frame")

    def call(self, frames, mask):
        return self.pooling.per_frame(frames, mask)


class _Pool(_Part):
    def __init__(self, pooling: Pooling):
        super().__init__(pooling, "pool")

    def call(self, products, counts):
        return self.pooling.pool(products, counts)
