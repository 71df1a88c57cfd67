"""The container of a bundle in ONNX's form: an .onnx file whose metadata hold the header, checked before it is run.

Nothing outside the file is read: tensors in other files are refused, and so are operations that ONNX itself does not
define. How much memory the operations take is bounded by what is free; how much time is not, as it is for a zip.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.artifacts.failures import is_refusal
from pipeline.artifacts.stored_json import parse_json
from pipeline.config.errors import ConfigError, StageError
from pipeline.config.wording import counted
from pipeline.inference.bundle.container import HEADER, LONGEST_JSON, SCORES, BundleError
from pipeline.runtime.memory import is_out_of_memory

if TYPE_CHECKING:
    import onnx

FRAMES, NUM_FRAMES, PROBABILITIES = "frames", "num_frames", "probabilities"
EXTRA = "it is part of the extra onnx: .venv/bin/uv sync --inexact --extra onnx"
MOST_BYTES = (1 << 31) - 1
"""The most that protobuf reads as one message."""


def tensor_of_model(number: int, name: str) -> str:
    """Return the name of a tensor of one of the models: FRAMES and NUM_FRAMES go in, PROBABILITIES come out."""
    return f"model_{number:04d}/{name}"


class OnnxContainer:
    """What an .onnx file holds, which `open_onnx` has opened. `model` is its content, an onnx.ModelProto."""

    def __init__(self, path: Path, model: "onnx.ModelProto"):
        self.path = path
        self.model = model
        self._texts = {entry.key: entry.value for entry in model.metadata_props}
        if HEADER not in self._texts:
            raise BundleError(f"{path} is an ONNX model that `export --onnx` did not make: it has no {HEADER}")
        if len(self._texts) < len(model.metadata_props):
            raise BundleError(f"{path} holds an entry twice")
        if model.functions or model.training_info:
            raise BundleError(f"{path} brings functions of its own, which do not belong in a bundle")
        _check(path, model.graph)

    def json(self, name: str) -> Any:
        """Return the values of an entry that holds JSON."""
        if name not in self._texts:
            raise BundleError(f"{self.path} has no {name}: export it again")
        text = self._texts[name].encode()
        if len(text) > LONGEST_JSON:
            raise BundleError(f"{self.path}: {name} is {len(text)} bytes long; it may have at most {LONGEST_JSON}")
        return parse_json(text, finite=True)

    def check_models(self, count: int) -> None:
        """Raise BundleError if the graph has not so many models."""
        made = {name for node in self.model.graph.node for name in node.output}
        missing = [number for number in range(count) if tensor_of_model(number, PROBABILITIES) not in made]
        if missing or tensor_of_model(count, PROBABILITIES) in made:
            raise BundleError(f"{self.path}: {counted(count, 'model')} in {HEADER}, and others in the graph")


@contextlib.contextmanager
def open_onnx(path: Path) -> Iterator[OnnxContainer]:
    """Open an .onnx file as a bundle. Raises BundleError if the file is faulty, also for faults found inside the block.

    Raises StageError if the package onnx is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise StageError(f"the package onnx reads {path} and is not installed ({error}); {EXTRA}") from error
    try:
        if (size := path.stat().st_size) > MOST_BYTES:
            raise BundleError(f"{path} has {size:,} bytes; an .onnx file has {MOST_BYTES:,} at most")
        model = onnx.ModelProto()
        try:
            model.ParseFromString(path.read_bytes())
        except Exception as error:  # protobuf's own
            if is_refusal(error) or is_out_of_memory(error):
                raise
            raise BundleError(f"{path} is no .onnx file, or is damaged ({error}): export it again") from error
        yield OnnxContainer(path, model)
    except (ConfigError, ValueError, KeyError) as error:
        raise BundleError(f"{path} is not a bundle, or is damaged ({error}): export it again") from error


def add_scores(path: Path, content: bytes) -> None:
    """Add to an .onnx file what is known of its scores: of two messages one after the other, lists are joined."""
    import onnx

    added = onnx.ModelProto()
    added.metadata_props.add(key=SCORES, value=content.decode())
    with path.open("ab") as file:
        file.write(added.SerializeToString())


def read_by(node: "onnx.NodeProto") -> list[str]:
    """Return the names of the tensors that a node reads, also from within its graphs, which may hand on others'."""
    names = list(node.input)
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                names += read_by(inner)
            names += [each.name for each in graph.output]
    return names


def _check(path: Path, graph: "onnx.GraphProto") -> None:
    """Raise BundleError where a graph, or one inside it, reads another file or has operations of others."""
    for tensor in graph.initializer:
        _check_tensor(path, tensor)
    if graph.sparse_initializer:
        raise BundleError(f"{path} holds a sparse tensor, which does not belong in a bundle")
    for node in graph.node:
        if node.domain not in ("", "ai.onnx"):
            raise BundleError(f"{path}: the operation {node.op_type!r} of {node.domain!r} does not belong in a bundle")
        for attribute in node.attribute:
            for tensor in (attribute.t, *attribute.tensors):
                _check_tensor(path, tensor)
            for inner in (attribute.g, *attribute.graphs):
                _check(path, inner)
            if attribute.HasField("sparse_tensor") or attribute.sparse_tensors:
                raise BundleError(f"{path} holds a sparse tensor, which does not belong in a bundle")


def _check_tensor(path: Path, tensor: "onnx.TensorProto") -> None:
    if tensor.external_data or tensor.data_location != type(tensor).DEFAULT:
        raise BundleError(f"{path}: the tensor {tensor.name!r} lies in another file, which a bundle may not name")
