"""One of the models in an .onnx file, run by ONNX Runtime on the processors, without Keras."""

import functools
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.config import DatasetConfig
from pipeline.config.errors import StageError
from pipeline.inference.bundle.container import BundleError
from pipeline.inference.bundle.onnx_container import (
    EXTRA,
    FRAMES,
    NUM_FRAMES,
    PROBABILITIES,
    OnnxContainer,
    read_by,
    tensor_of_model,
)
from pipeline.inputs.reading.batches import Inputs
from pipeline.runtime.memory import free_memory, is_out_of_memory
from pipeline.runtime.parallel import default_workers

if TYPE_CHECKING:
    import onnx

_ELEMENTS = {"uint8": "UINT8", "float16": "FLOAT16", "float32": "FLOAT"}


class OnnxModel:
    """Maps frames, already sampled, to probabilities, as a model of `pipeline.models` does.

    The rest of the file's graph, which samples and blends, is left out: the pipeline does both for all bundles alike.

    Raises:
        StageError: ONNX Runtime is not installed.
        BundleError: it cannot use the graph.
    """

    def __init__(self, container: OnnxContainer, number: int, dataset: DatasetConfig):
        try:
            import onnxruntime as runtime
        except ImportError as error:
            raise StageError(f"ONNX Runtime runs {container.path} and is not installed ({error}); {EXTRA}") from error
        self._path: Path = container.path
        self._classes = dataset.num_classes
        self._names = [tensor_of_model(number, name) for name in (FRAMES, NUM_FRAMES, PROBABILITIES)]
        options = runtime.SessionOptions()
        options.intra_op_num_threads = default_workers()
        # Threads that wait by spinning take a third more of the processors, and time from whoever reads and ranks.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        _bound_memory()
        options.add_session_config_entry("session.use_env_allocators", "1")
        options.log_severity_level = 4  # what fails is told by its exception
        graph = _part(container.model, self._names, dataset).SerializeToString()
        try:
            self._session = runtime.InferenceSession(graph, options, ["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime has a class of errors for each of its states
            raise self._fault(error) from error

    def predict_on_batch(self, inputs: Inputs) -> NDArray[np.float32]:
        """Return the probabilities [B,V] of videos: frames as stored [B,T,F], num_frames int32 [B].

        Raises BundleError if the graph cannot take them, or answers with something else.
        """
        frames, num_frames, probabilities = self._names
        fed = {frames: inputs["frames"], num_frames: inputs["num_frames"]}
        try:
            (found,) = self._session.run([probabilities], fed)
        except Exception as error:
            if is_out_of_memory(error):
                raise
            raise self._fault(error) from error
        wanted = (len(inputs["num_frames"]), self._classes)
        if not isinstance(found, np.ndarray) or found.shape != wanted or found.dtype != np.float32:
            raise BundleError(f"{self._path}: {probabilities} are not float32 {list(wanted)}: export it again")
        return found

    def _fault(self, error: Exception) -> BundleError:
        return BundleError(f"{self._path} cannot be used by ONNX Runtime: {' '.join(str(error).split())[:300]}")


@functools.cache
def _bound_memory() -> None:
    """Let ONNX Runtime refuse what is larger than the memory that is free, once for all models of this process."""
    import onnxruntime as runtime

    kind, default = runtime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, -1
    place = runtime.OrtMemoryInfo("Cpu", kind, 0, runtime.OrtMemType.DEFAULT)
    runtime.create_and_register_allocator(place, runtime.OrtArenaCfg(free_memory(), default, default, default))


def _part(model: "onnx.ModelProto", names: list[str], dataset: DatasetConfig) -> "onnx.ModelProto":
    """Return what a graph does from two of its tensors, frames and num_frames, to a third, the probabilities."""
    from onnx import TensorProto, helper

    frames, num_frames, probabilities = names
    needed, nodes = {probabilities}, []
    for node in reversed(model.graph.node):  # a node stands after those that it needs
        if needed.intersection(node.output) and not {frames, num_frames}.intersection(node.output):
            nodes.append(node)
            needed.update(read_by(node))
    graph = helper.make_graph(
        nodes[::-1],
        "model",
        [
            helper.make_tensor_value_info(
                frames, getattr(TensorProto, _ELEMENTS[dataset.dtype]), ("batch", "frames", dataset.width)
            ),
            helper.make_tensor_value_info(num_frames, TensorProto.INT32, ("batch",)),
        ],
        [helper.make_tensor_value_info(probabilities, TensorProto.FLOAT, ("batch", dataset.num_classes))],
        [tensor for tensor in model.graph.initializer if tensor.name in needed],
    )
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
