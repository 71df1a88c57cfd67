"""Cut a model in two: what it makes of each frame alone, and what it makes of windows of frames from that."""

import keras

from pipeline.models.pooling import Pooling


def cut_in_two(model: keras.Model) -> tuple[keras.Model, keras.Model] | None:
    """Return the two halves of a model of `pipeline.models`; None if its frames see each other before they are pooled.

    The first maps the model's inputs to products, name -> [B,T,..]. The second maps those of one video, name ->
    [T,..], and the frames of windows to probabilities float32 [W,V]: "places", int32 [W,N], says which frames, and
    "counts", float32 [W,N], how often each is seen, 0 for padding; a window names no frame twice.
    """
    poolings = [layer for layer in model.layers if isinstance(layer, Pooling)]
    if not all(layer.frames_apart for layer in poolings):
        return None
    places = keras.Input((None,), dtype="int32", name="places")
    counts = keras.Input((None,), dtype="float32", name="counts")
    products, inputs, descriptors = {}, {"places": places, "counts": counts}, []
    for number, layer in enumerate(poolings):
        made = {f"{number}_{place}": each for place, each in enumerate(_PerFrame(layer)(*layer.input))}
        own = {name: keras.Input(each.shape[2:], dtype=each.dtype, name=name) for name, each in made.items()}
        products |= made
        inputs |= own
        descriptors.append(_Pool(layer)(list(own.values()), places, counts))
    rest = keras.Model([layer.output for layer in poolings], model.output)
    return keras.Model(model.input, products), keras.Model(inputs, rest(descriptors))


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

    def call(self, products, places, counts):
        return self.pooling.pool_windows(products, places, counts)
