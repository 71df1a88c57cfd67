"""Networks in .onnx files: their outputs, and what is wrong with a file."""

import numpy as np
import onnx
import pytest
from fixtures.backbones import SIDE, SIZE, tiny_pictures
from onnx import TensorProto, helper, numpy_helper

from pipeline.config.errors import StageError
from pipeline.features.backbone import Backbone
from pipeline.features.onnx_backbone import OnnxBackbone, pooled


def backbone(**fields) -> Backbone:
    return Backbone(name="a", file="a", **fields)


def test_an_inner_output_is_computed_in_batches_of_one_size(tmp_path):
    path = tiny_pictures(tmp_path / "a.onnx")
    inputs = np.random.default_rng(1).normal(size=(5, 3, SIDE, SIDE)).astype(np.float32)
    weights = numpy_helper.to_array(onnx.load(path).graph.initializer[0])
    features = OnnxBackbone(path, backbone(output="feature"), 1)(inputs)
    np.testing.assert_allclose(features, inputs.reshape(5, -1) @ weights, atol=1e-5)
    assert features.shape == (5, SIZE)
    np.testing.assert_allclose(OnnxBackbone(path, backbone(), 1)(inputs).sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("layout", "pooling", "shape", "expected"),
    [
        ("nchw", "mean", (2, 3, 4, 5), lambda x: x.mean((2, 3))),
        ("nhwc", "mean", (2, 4, 5, 3), lambda x: x.mean((1, 2))),
        ("nchw", "mean", (2, 7, 3), lambda x: x.mean(1)),
        ("nchw", "first", (2, 7, 3), lambda x: x[:, 0]),
        ("nchw", "none", (2, 3, 1, 1), lambda x: x.reshape(2, 3)),
    ],
)
def test_positions_are_pooled(layout, pooling, shape, expected):
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    np.testing.assert_allclose(pooled(values, backbone(layout=layout, pooling=pooling)), expected(values), rtol=1e-5)


def test_what_is_wrong_is_told(tmp_path):
    path = tiny_pictures(tmp_path / "a.onnx")
    with pytest.raises(StageError, match="no tensor head; the last ones are seen, flat, feature, classes"):
        OnnxBackbone(path, backbone(output="head"), 1)
    with pytest.raises(StageError, match=r"its input input is \['n', 3, 16, 16\], and got \[8, 3, 8, 8\]"):
        OnnxBackbone(path, backbone(), 1)(np.zeros((1, 3, 8, 8), np.float32))
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(StageError, match=r"text\.onnx is no \.onnx file"):
        OnnxBackbone(tmp_path / "text.onnx", backbone(), 1)
    onnx.save(onnx.load(path), tmp_path / "apart.onnx", save_as_external_data=True, size_threshold=0)
    with pytest.raises(StageError, match="keeps its weights in another file"):
        OnnxBackbone(tmp_path / "apart.onnx", backbone(), 1)
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 2]) for name in "abc"]
    two = helper.make_graph([helper.make_node("Add", ["a", "b"], ["c"])], "two", values[:2], values[2:])
    onnx.save(helper.make_model(two, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    with pytest.raises(StageError, match="has several inputs, a, b"):
        OnnxBackbone(path, backbone(), 1)
