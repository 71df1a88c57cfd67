"""Write trained runs to a bundle."""

import warnings
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np

from pipeline.artifacts.failures import is_refusal
from pipeline.config import labels_kept
from pipeline.config.errors import StageError
from pipeline.inference.bundle import container, onnx_container
from pipeline.inference.bundle.header import Header, StoredModel
from pipeline.inference.bundle.ingredients import Ingredients
from pipeline.inference.bundle.opening import is_onnx
from pipeline.inference.bundle.quantization import Encoding, quantize_weight
from pipeline.inference.runs import TrainedRun
from pipeline.models import build_model
from pipeline.runtime.progress import progress_bar


def write_bundle(path: Path, made_of: Ingredients, keep_precision: bool = False) -> None:
    """Write a bundle; the same runs give the same bytes.

    Args:
        path: the file to write; it must not exist yet.
        made_of: the runs, and what is said of them.
        keep_precision: whether the models compute in the precision that they were trained in; otherwise in float32.
    Raises:
        StageError: a run's weights do not fit its settings, or are not finite.
    """
    stored = []
    models = [(run, model) for run in made_of.runs for model in run.models]
    described = f"export as {made_of.weights}"
    with zipfile.ZipFile(path, "x", zipfile.ZIP_STORED) as archive:
        for number, (run, model) in enumerate(progress_bar(models, desc=described, unit=" models")):
            encodings = []
            with container.new_entry(archive, container.weights_name(number)) as file:
                for encoding, content in stored_weights(trained_model(run, model), model, made_of.weights):
                    encodings.append(encoding)
                    file.write(content)
            precision = run.precision if keep_precision else "float32"
            stored.append(StoredModel(run.model, run.sampling, precision, tuple(encodings)))
        header = header_of(made_of, stored)
        container.add_entry(archive, container.HEADER, container.to_json(header.to_dict()))


def header_of(made_of: Ingredients, stored: Sequence[StoredModel], made_with: Sequence[str] = ()) -> Header:
    """Return the header of a bundle of `stored`, the models of all runs; `made_with` names other packages."""
    classes, recipe = made_of.dataset.num_classes, made_of.recipe
    return Header(
        dataset=made_of.dataset,
        models=tuple(stored),
        # The paths of the machine that exports mean nothing elsewhere.
        recipe=replace(recipe, members=tuple(replace(member, path="") for member in recipe.used)),
        kept=min(labels_kept(made_of.inference.top_k, classes), classes),
        names=tuple(made_of.names),
        weights=made_of.weights,
        versions={name: version(name) for name in ("keras", "numpy", keras.backend.backend(), *made_with)},
        inputs=made_of.inputs,
        thresholds=made_of.thresholds,
        folds=tuple(len(run.models) for run in made_of.runs) if len(stored) > len(made_of.runs) else (),
    )


def add_scores(path: Path, scores: dict[str, Any]) -> None:
    """Add to a bundle what is known of its scores."""
    if is_onnx(path):
        onnx_container.add_scores(path, container.to_json(scores))
        return
    with zipfile.ZipFile(path, "a", zipfile.ZIP_STORED) as archive:
        container.add_entry(archive, container.SCORES, container.to_json(scores))


def trained_model(run: TrainedRun, path: Path) -> keras.Model:
    """Return one of a run's models, in float32. Raises StageError if its weights do not fit its settings."""
    model = build_model(run.model, run.dataset)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # Keras only warns if it leaves weights at their initial values
            model.load_weights(path)
    except (ValueError, OSError, KeyError, UserWarning) as error:
        if is_refusal(error):
            raise
        raise StageError(f"{path} is not of the model in its config ({error}): train it again") from error
    return model


def stored_weights(model: keras.Model, path: Path, wanted: Encoding) -> Iterator[tuple[Encoding, bytes]]:
    """Yield how each weight of a model from `path` is stored, and its bytes; StageError if one is not finite."""
    for weight in model.weights:
        values = keras.ops.convert_to_numpy(weight)
        if values.dtype != np.float32:
            raise StageError(f"{path}: the weight {weight.path} is {values.dtype}; a bundle can only hold float32")
        try:
            yield quantize_weight(values, weight.trainable, wanted)
        except ValueError:
            raise StageError(f"{path}: the weight {weight.path} is not finite: train it again") from None
