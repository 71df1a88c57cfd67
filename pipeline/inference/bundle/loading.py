"""A bundle's models: built by this program from their settings and given the stored weights, or run as ONNX."""

import dataclasses
import itertools
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.config import DatasetConfig
from pipeline.config.wording import counted
from pipeline.inference.activations import values_within
from pipeline.inference.bundle.container import BundleError, Container, weights_name
from pipeline.inference.bundle.header import StoredModel, parse_header
from pipeline.inference.bundle.onnx_container import OnnxContainer
from pipeline.inference.bundle.onnx_model import OnnxModel
from pipeline.inference.bundle.opening import open_bundle
from pipeline.inference.bundle.quantization import dequantize_weight, stored_weight_bytes
from pipeline.inference.ensemble import Ensemble, EnsembleMember
from pipeline.inputs.reading.sampling import sampled_length
from pipeline.models import build_model
from pipeline.models.bounded import at_most

if TYPE_CHECKING:
    import keras

MOST_VALUES = 1 << 27
"""Values that pooling may make of one video: 300 frames have 6 million at most with the settings of the presets."""


def load_bundle(path: Path) -> Ensemble:
    """Everything that a bundle predicts with, on any backend, with no network; raises BundleError as `read_header`.

    Of an .onnx file the models need no backend, and Keras is not imported.
    """
    with open_bundle(path) as container:
        header = parse_header(container)
        numbers = itertools.count()
        members = tuple(
            EnsembleMember(
                tuple(_model(container, next(numbers), stored, header.dataset) for stored in models),
                models[0].sampling,
            )
            for models in header.of_members
        )
    return Ensemble(header.dataset, members, header.recipe, header.kept, header.names)


def _model(
    container: Container | OnnxContainer, number: int, stored: StoredModel, dataset: DatasetConfig
) -> "keras.Model | OnnxModel":
    _check_work(container.path, stored, dataset)
    if isinstance(container, OnnxContainer):
        return OnnxModel(container, number, dataset)
    return _built(container, weights_name(number), stored, dataset)


def _built(container: Container, name: str, stored: StoredModel, dataset: DatasetConfig) -> "keras.Model":
    size = container.sizes[name]
    with at_most(len(stored.encodings), size):
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


def _check_work(path: Path, stored: StoredModel, dataset: DatasetConfig) -> None:
    """Raise BundleError if pooling may make more than MOST_VALUES of one video, however few weights it has."""
    frames = sampled_length(stored.sampling.evaluation, stored.sampling, dataset)
    values = values_within(dataclasses.asdict(stored.model.pooling), frames)
    if values > MOST_VALUES:
        raise BundleError(
            f"{path}: its {stored.model.family} makes up to {values:,} values of each video, of {frames:,} "
            f"frames; the most is {MOST_VALUES:,}. Export a model of fewer --sampling.frames"
        )
