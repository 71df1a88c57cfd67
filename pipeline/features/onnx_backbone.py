"""Run a backbone in an .onnx file with ONNX Runtime, on the processor or a GPU."""

from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config.errors import StageError
from pipeline.features.backbone import Backbone
from pipeline.features.media import EXTRA

_ON_PROCESSOR, _ON_GPU = 8, 64
"""Pictures or windows at a time: a processor gains nothing by more."""
_PREPARED = 2
"""Batches at a time on a GPU: one is prepared while the other is computed."""
_GPU = "CUDAExecutionProvider"


class OnnxBackbone:
    """A network whose outputs do not depend on what else is in a batch: all batches have one size.

    Attributes:
        batch: inputs at a time; a network that was stored for a fixed number has that.
        at_once: batches that are computed at a time, each by a thread of its own.
        device: where it works, in words.
    """

    def __init__(self, path: Path, backbone: Backbone, threads: int):
        runtime = _runtime()
        self._backbone, self._path = backbone, path
        options = runtime.SessionOptions()
        options.intra_op_num_threads = 1  # threads of one batch would wait for each other, and decoders need the time
        options.log_severity_level = 3
        available = runtime.get_available_providers()
        providers: list[Any] = ["CPUExecutionProvider"]
        if _GPU in available:
            providers.insert(0, (_GPU, {"cudnn_conv_algo_search": "HEURISTIC"}))  # the same one in every run
        graph = self._graph(path)
        try:
            self._session = runtime.InferenceSession(graph, options, providers)
        except Exception as error:  # ONNX Runtime has a class of errors for each of its states
            raise StageError(f"{path} cannot be used by ONNX Runtime: {str(error)[:500]}") from error
        self.device = "GPU" if self._session.get_providers()[0] == _GPU else "processor"
        self.at_once = _PREPARED if self._is_on_gpu else threads
        (self._input, *others) = self._session.get_inputs()
        if others:
            names = ", ".join(each.name for each in (self._input, *others))
            raise StageError(f"{path} has several inputs, {names}: a backbone has one, the pictures or the sound")
        stored = self._input.shape[0] if self._input.shape else None
        self.batch = stored if isinstance(stored, int) and stored > 0 else _ON_GPU if self._is_on_gpu else _ON_PROCESSOR
        outputs = [each.name for each in self._session.get_outputs()]
        self._output = backbone.output or outputs[0]

    @property
    def _is_on_gpu(self) -> bool:
        return self.device == "GPU"

    def _graph(self, path: Path) -> Any:
        """Return the file, or the network with another output. Raises StageError if it has no such output."""
        try:
            import onnx
        except ImportError as error:
            raise StageError(f"the package onnx looks into networks and is not installed ({error}); {EXTRA}") from error
        try:
            model = onnx.load(str(path), load_external_data=False)
        except Exception as error:  # protobuf's own
            raise StageError(f"{path} is no .onnx file, or is damaged: {str(error)[:200]}") from error
        if any(each.external_data for each in model.graph.initializer):
            raise StageError(
                f"{path} keeps its weights in another file, which its checksum does not cover: write both as one, with "
                "onnx.save_model(onnx.load(FILE), ONE_FILE)"
            )
        wanted = self._backbone.output
        if not wanted or wanted in [each.name for each in model.graph.output]:
            return str(path)
        there = [name for node in model.graph.node for name in node.output]
        if wanted not in there:
            raise StageError(
                f"{path} has no tensor {wanted}; the last ones are {', '.join(there[-8:])}. Name one as `output`"
            )
        del model.graph.output[:]
        model.graph.output.append(onnx.helper.make_empty_tensor_value_info(wanted))
        return model.SerializeToString()

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """Return the features, float32 [n,F], of at most `batch` inputs [n,...]: the rest of the batch is zeros.

        Raises StageError if the network cannot take them, or gives anything else than numbers for each.
        """
        count = len(inputs)
        if count < self.batch:
            inputs = np.concatenate([inputs, np.zeros((self.batch - count, *inputs.shape[1:]), inputs.dtype)])
        kind = np.float16 if self._input.type == "tensor(float16)" else np.float32
        try:
            (values,) = self._session.run([self._output], {self._input.name: inputs.astype(kind, copy=False)})
        except Exception as error:
            raise StageError(
                f"{self._path} cannot be used: its input {self._input.name} is {self._input.shape}, and got "
                f"{list(inputs.shape)}: {str(error)[:300]}. Give it what it needs in the JSON beside it, or by "
                "--backbone-option"
            ) from error
        if len(values) != self.batch:
            raise StageError(
                f"{self._path}: the output {self._output} is {list(values.shape)} for {self.batch} inputs; name one as "
                "`output` that has a row for each"
            )
        return pooled(np.asarray(values, np.float32), self._backbone)[:count]


def pooled(values: np.ndarray, backbone: Backbone) -> np.ndarray:
    """Return one vector [n,F] for each of n outputs [n,...], by the backbone's pooling and layout."""
    if values.ndim == 4 and backbone.pooling != "none" and backbone.layout == "nchw":
        values = np.moveaxis(values, 1, -1)
    if values.ndim > 2 and backbone.pooling != "none":
        positions = values.reshape(len(values), -1, values.shape[-1])  # N,P,F
        values = positions[:, 0] if backbone.pooling == "first" else positions.mean(axis=1)
    return np.ascontiguousarray(values.reshape(len(values), -1))


def _runtime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise StageError(f"ONNX Runtime runs backbones and is not installed ({error}); {EXTRA}") from error
    return onnxruntime
