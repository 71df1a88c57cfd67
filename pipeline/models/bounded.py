"""A bound on the size of a model that is built to be given stored weights: no larger than their file."""

import contextlib
import math
from collections.abc import Iterator


@contextlib.contextmanager
def at_most(weights: int, values: int) -> Iterator[None]:
    """Build no model of more weights, or of more values in them, in the block, whatever its settings say.

    A stored value takes a byte at least, so that no more is built than the file has. The weights begin as zeros: they
    are about to be replaced, and random ones would take longer than reading them. A layer that asks for more raises
    ValueError.

    Keras has no public place to do it: initializers are objects that each layer makes, and weights that are only
    declared, in a `keras.StatelessScope`, stop no build midway, and are allocated when another such scope ends.
    """
    import keras

    original = keras.layers.Layer.add_weight

    def add_weight(layer, shape=(), initializer=None, *arguments, **settings):
        nonlocal weights, values
        weights -= 1
        values -= math.prod(shape)
        if weights < 0 or values < 0:
            raise ValueError("its settings are of a larger model than it holds")
        return original(layer, shape, "zeros", *arguments, **settings)

    keras.layers.Layer.add_weight = add_weight
    try:
        yield
    finally:
        keras.layers.Layer.add_weight = original
