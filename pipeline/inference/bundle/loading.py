"""A bundle's models, built by this program from their settings and given the stored weights."""

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.config import DatasetConfig
from pipeline.config.wording import counted
from pipeline.inference.bundle.container import BundleError, Container, open_bundle, weights_name
from pipeline.inference.bundle.header import StoredModel, parse_header
from pipeline.inference.bundle.quantization import dequantize_weight, stored_weight_bytes
from pipeline.inference.ensemble import Ensemble, EnsembleMember
from pipeline.models import build_model

if TYPE_CHECKING:
    import keras


def load_bundle(path: Path) -> Ensemble:
    """Everything that a bundle predicts with, on any backend, with no network; raises BundleError as `read_header`."""
    with open_bundle(path) as container:
        header = parse_header(container)
        members = tuple(
            EnsembleMember(_model(container, weights_name(number), stored, header.dataset), stored.sampling)
            for number, stored in enumerate(header.models)
        )
    return Ensemble(header.dataset, members, header.recipe, header.kept, header.names)


def _model(container: Container, name: str, stored: StoredModel, dataset: DatasetConfig) -> "keras.Model":
    size = container.sizes[name]
    with _at_most(len(stored.encodings), size):
        model = build_model(stored.model, dataset, stored.precision)
    shapes = [tuple(weight.shape) for weight in model.weights]
    if len(shapes) != len(stored.encodings):
        raise BundleError(
            f"{container.path}: {name} has {counted(len(stored.encodings), 'weight')}, its model {len(shapes)}"
        )
    sizes = [stored_weight_bytes(shape, encoding) for shape, encoding in zip(shapes, stored.encodings)]
    if sum(sizes) != size:
        raise BundleError(f"{container.path}: {name} has {size} bytes where its model's weights take {sum(sizes)}")
    with container.open(name) as file:
        for weight, shape, encoding, length in zip(model.weights, shapes, stored.encodings, sizes):
            weight.assign(dequantize_weight(file.read(length), shape, encoding))
        file.read(1)  # the end, where the checksum is verified
    return model


@contextlib.contextmanager
def _at_most(weights: int, values: int) -> Iterator[None]:
    """No model of more weights, or more values in them, is built in the block, whatever its settings say.

    A stored value takes a byte at least, so that no more is built than was sent. The weights begin as zeros: they are
    about to be replaced, and random ones would take longer than reading them.

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
