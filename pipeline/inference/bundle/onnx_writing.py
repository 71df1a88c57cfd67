"""Write trained runs to an .onnx file, which predicts by itself in ONNX Runtime, and as a bundle here."""

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras

from pipeline.artifacts.done import digest_json
from pipeline.config import DatasetConfig, to_dict
from pipeline.config.errors import StageError
from pipeline.inference.bundle import container
from pipeline.inference.bundle.header import StoredModel
from pipeline.inference.bundle.ingredients import Ingredients
from pipeline.inference.bundle.onnx_container import (
    EXTRA,
    FRAMES,
    MOST_BYTES,
    NUM_FRAMES,
    PROBABILITIES,
    tensor_of_model,
)
from pipeline.inference.bundle.quantization import Encoding
from pipeline.inference.bundle.writing import header_of, stored_weights, trained_model
from pipeline.inputs.reading.sampling import frames_chosen
from pipeline.runtime.progress import progress_bar

_OPSET = 18
_ABOUT = """frames: all frames of each video [batch, frames, values], the features side by side, rows from num_frames on
are ignored; num_frames: int32 [batch], at least 1; probabilities: float32 [batch, classes]. The metadata bundle.json
name the classes, among others."""


def write_onnx(path: Path, made_of: Ingredients) -> None:
    """Write an .onnx file; the stored weights are those of `writing.write_bundle`. The same runs give the same bytes.

    Its graph is from

        frames: the dataset's dtype [B,T,F], all frames of each video, with the features side by side in the dataset's
            order; rows from `num_frames` on are ignored; B and T are free
        num_frames: int32 [B], at least 1

    to probabilities, float32 [B,V]. It contains each model's own sampling, and the blend, of all classes: a class that
    a model would not keep among its best counts with its own probability, where `infer` takes the smallest that is
    kept. So only scores that low can differ from those of `infer`, which uses the models of the graph, and blends their
    best labels itself.

    Raises:
        StageError: the backend is not TensorFlow; or tf2onnx is not installed; or a run's weights do not fit its
            settings, or are not finite; or there are more than one file can hold.
    """
    tf2onnx = _converter()
    from pipeline.inference.bundle.onnx_graph import Graph

    graph, dataset, runs = Graph(), made_of.dataset, made_of.runs
    chosen = {frames_chosen(run.sampling): run.sampling for run in runs}
    sampled = {key: graph.sample(sampling, dataset) for key, sampling in chosen.items()}
    stored: list[StoredModel] = []
    members: list[list[str]] = []
    converted: dict[str, Any] = {}
    described = f"export as {made_of.weights}"
    with progress_bar(total=made_of.count_models(), desc=described, unit=" models") as bar:
        for run in runs:
            members.append([])
            for file in run.models:
                number, model = len(stored), trained_model(run, file)
                for name, given in zip((FRAMES, NUM_FRAMES), sampled[frames_chosen(run.sampling)]):
                    graph.add("Identity", given, name=tensor_of_model(number, name))
                encodings = _add_weights(graph, number, model, file, made_of.weights)
                kind = digest_json(to_dict(run.model))
                if kind not in converted:
                    converted[kind] = _convert(tf2onnx, model, dataset)
                graph.insert(converted[kind], tensor_of_model(number, ""))
                stored.append(StoredModel(run.model, run.sampling, "float32", encodings))
                members[-1].append(tensor_of_model(number, PROBABILITIES))
                bar.update()
    graph.blend(members, made_of.recipe)
    header = header_of(made_of, stored, made_with=("onnx", "tf2onnx"))
    path.write_bytes(_serialized(graph, dataset, container.to_json(header.to_dict()).decode()))


def _add_weights(graph: Any, number: int, model: keras.Model, file: Path, wanted: Encoding) -> tuple[Encoding, ...]:
    """Add a model's weights to the graph, and return how each is stored."""
    encodings = []
    for place, (encoding, content) in enumerate(stored_weights(model, file, wanted)):
        encodings.append(encoding)
        graph.weight(tensor_of_model(number, _weight(place)), tuple(model.weights[place].shape), encoding, content)
    if graph.bytes > MOST_BYTES:
        raise StageError(
            f"the weights take more than the {MOST_BYTES:,} bytes of an .onnx file: choose --weights int8, or fewer "
            "members (ensemble --runs), or leave out --onnx"
        )
    return tuple(encodings)


def _converter() -> Any:
    """Import tf2onnx, which converts TensorFlow's graphs, and let it be quiet."""
    if keras.backend.backend() != "tensorflow":
        raise StageError(
            f"an .onnx file is written by way of TensorFlow and cannot be written on {keras.backend.backend()}: "
            "set KERAS_BACKEND=tensorflow"
        )
    try:
        import tf2onnx
    except ImportError as error:
        raise StageError(f"tf2onnx writes .onnx files and is not installed ({error}); {EXTRA}") from error
    return tf2onnx


def _weight(place: int) -> str:
    return f"weight_{place:04d}"


def _convert(tf2onnx: Any, model: keras.Model, dataset: DatasetConfig) -> Any:
    """Return the graph of a model as onnx.GraphProto, with its weights as inputs beside frames and num_frames.

    So they stay as they are, one by one, and models of the same settings need one conversion.
    """
    import onnx
    import tensorflow as tf

    def probabilities(frames, num_frames, *weights):
        with keras.StatelessScope(state_mapping=list(zip(model.weights, weights))):
            return {PROBABILITIES: model({FRAMES: frames, NUM_FRAMES: num_frames}, training=False)}

    signature = [
        tf.TensorSpec((None, None, dataset.width), dataset.dtype, FRAMES),
        tf.TensorSpec((None,), "int32", NUM_FRAMES),
        *(tf.TensorSpec(weight.shape, "float32", _weight(place)) for place, weight in enumerate(model.weights)),
    ]
    function = tf.function(probabilities, signature, autograph=False)
    with _quiet():
        made, _ = tf2onnx.convert.from_function(function, signature, opset=_OPSET)
    if unknown := sorted({node.op_type for node in made.graph.node if not onnx.defs.has(node.op_type, node.domain)}):
        raise StageError(f"{model.name} cannot be written as .onnx: ONNX has no form of TensorFlow's {unknown[0]}")
    (output,) = made.graph.output
    if output.name != PROBABILITIES:
        made.graph.node.add(op_type="Identity", input=[output.name], output=[PROBABILITIES])
    return made.graph


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hold back the notices of tf2onnx, which are of what it tries on the way."""
    logger = logging.getLogger("tf2onnx")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _serialized(graph: Any, dataset: DatasetConfig, header: str) -> bytes:
    import numpy as np
    from onnx import TensorProto, helper
    from onnx.helper import make_tensor_value_info, np_dtype_to_tensor_dtype

    kind = np_dtype_to_tensor_dtype(np.dtype(dataset.dtype))
    whole = helper.make_graph(
        graph.nodes,
        "predict",
        [
            make_tensor_value_info(FRAMES, kind, ("batch", "frames", dataset.width)),
            make_tensor_value_info(NUM_FRAMES, TensorProto.INT32, ("batch",)),
        ],
        [make_tensor_value_info(PROBABILITIES, TensorProto.FLOAT, ("batch", dataset.num_classes))],
        graph.tensors,
        doc_string=_ABOUT,
    )
    model = helper.make_model(
        whole,
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=8,  # of this version of the operations
        producer_name="learnable-pooling",
    )
    model.metadata_props.add(key=container.HEADER, value=header)
    return model.SerializeToString(deterministic=True)
