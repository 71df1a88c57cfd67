"""Bundles as .onnx from strangers: what is damaged, reaches for other files or asks for too much is refused by name."""

import dataclasses
import json
import resource
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from fixtures.made_runs import AVERAGE
from fixtures.support import SMALL
from onnx import TensorProto, helper, numpy_helper

from pipeline.config import SamplingConfig
from pipeline.config.errors import StageError
from pipeline.ensembling.recipe import Member, Recipe
from pipeline.inference.bundle import onnx_container
from pipeline.inference.bundle.container import BundleError, to_json
from pipeline.inference.bundle.header import Header, StoredModel, read_header, read_scores
from pipeline.inference.bundle.loading import load_bundle
from pipeline.inference.bundle.opening import is_onnx
from pipeline.runtime.memory import is_out_of_memory

HEADER = Header(
    SMALL,
    (StoredModel(AVERAGE, SamplingConfig(frames=5), "float32", ()),),
    Recipe((Member("average", "", 1.0),), top_k=9),
    9,
    tuple("abcdefghi"),
    "float32",
    {},
    {"a": "1"},
)
INPUTS = {"frames": np.zeros((2, 5, 8), np.uint8), "num_frames": np.array([5, 5], np.int32)}


def small_model() -> onnx.ModelProto:
    """A file as `export --onnx` makes it, of a model that says how many frames there are."""
    model, tensors = "model_0000", [numpy_helper.from_array(np.full((1, 9), 0.125, np.float32), "weights")]
    nodes = [
        helper.make_node("Identity", ["frames"], [f"{model}/frames"]),
        helper.make_node("Identity", ["num_frames"], [f"{model}/num_frames"]),
        helper.make_node("Cast", [f"{model}/num_frames"], ["counts"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["counts", "axis"], ["column"]),
        helper.make_node("Mul", ["column", "weights"], [f"{model}/probabilities"]),
        helper.make_node("Identity", [f"{model}/probabilities"], ["probabilities"]),
    ]
    tensors.append(numpy_helper.from_array(np.array([1]), "axis"))
    graph = helper.make_graph(
        nodes,
        "predict",
        [
            helper.make_tensor_value_info("frames", TensorProto.UINT8, ("batch", "frames", 8)),
            helper.make_tensor_value_info("num_frames", TensorProto.INT32, ("batch",)),
        ],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ("batch", 9))],
        tensors,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    made.metadata_props.add(key="bundle.json", value=to_json(HEADER.to_dict()).decode())
    return made


def stored(folder: Path, model: onnx.ModelProto) -> Path:
    path = folder / "bundle.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_what_is_made_is_taken(tmp_path):
    path = stored(tmp_path, small_model())
    assert is_onnx(path) and not is_onnx(tmp_path / "missing.onnx")
    assert read_header(path) == HEADER
    (member,) = load_bundle(path).members
    np.testing.assert_array_equal(member.models[0].predict_on_batch(INPUTS), np.full((2, 9), 0.625))
    with pytest.raises(BundleError, match=r"bundle\.onnx has no scores\.json: export it again"):
        read_scores(path)


def test_a_cut_file_is_refused(tmp_path):
    whole = small_model().SerializeToString()
    path = tmp_path / "cut.onnx"
    for size in range(3, len(whole) - 1, 61):
        path.write_bytes(whole[:size])
        with pytest.raises(BundleError, match=r"cut\.onnx"):
            load_bundle(path)
    path.write_bytes(b"\x08\x08\x12" + bytes(range(256)) * 9)
    with pytest.raises(BundleError, match=r"is no \.onnx file, or is damaged \(.*: export it again"):
        read_header(path)


def elsewhere(tensor: onnx.TensorProto) -> None:
    tensor.ClearField("raw_data")
    tensor.external_data.add(key="location", value="/etc/passwd")
    tensor.data_location = TensorProto.EXTERNAL


def weight_elsewhere(model):
    elsewhere(model.graph.initializer[0])


def constant_elsewhere(model):
    node = helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.zeros(3, np.float32), "value"))
    elsewhere(node.attribute[0].t)
    model.graph.node.insert(0, node)


def inner_weight_elsewhere(model):
    inner = helper.make_graph([], "inner", [], [], [numpy_helper.from_array(np.zeros(3, np.float32), "hidden")])
    elsewhere(inner.initializer[0])
    model.graph.node.insert(0, helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner))


def named_elsewhere_alone(model):
    model.graph.initializer[0].external_data.add(key="location", value="weights.bin")


def foreign_operation(model):
    model.graph.node.add(op_type="Anything", domain="com.example", output=["z"])


def inner_foreign_operation(model):
    inner = helper.make_graph([helper.make_node("Anything", [], ["z"], domain="ai.onnx.contrib")], "inner", [], [])
    model.graph.node.insert(0, helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner))


def own_function(model):
    model.functions.add(name="f", domain="")


def sparse(model):
    model.graph.sparse_initializer.add()


def header_twice(model):
    model.metadata_props.add(key="bundle.json", value="{}")


def no_header(model):
    del model.metadata_props[:]


def other_format(model):
    model.metadata_props[0].value = json.dumps({**HEADER.to_dict(), "format": 2})


def no_json(model):
    model.metadata_props[0].value = '{"format": 1,'


def other_number_of_names(model):
    model.metadata_props[0].value = json.dumps({**HEADER.to_dict(), "names": ["a"]})


def large_frames(model):
    dataset = dataclasses.replace(SMALL, max_frames=3600)
    features = tuple(dataclasses.replace(each, size=65536) for each in dataset.features)
    header = dataclasses.replace(HEADER, dataset=dataclasses.replace(dataset, features=features))
    header = dataclasses.replace(
        header, models=(dataclasses.replace(header.models[0], sampling=SamplingConfig(evaluation="all")),)
    )
    model.metadata_props[0].value = to_json(header.to_dict()).decode()


def another_model(model):
    model.graph.node.add(op_type="Identity", input=["probabilities"], output=["model_0001/probabilities"])


def no_model(model):
    model.graph.node[-2].output[0] = "other"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (weight_elsewhere, "'weights' lies in another file"),
        (constant_elsewhere, "'value' lies in another file"),
        (inner_weight_elsewhere, "'hidden' lies in another file"),
        (named_elsewhere_alone, "'weights' lies in another file"),
        (foreign_operation, "the operation 'Anything' of 'com.example' does not belong"),
        (inner_foreign_operation, "the operation 'Anything' of 'ai.onnx.contrib' does not belong"),
        (own_function, "functions of its own"),
        (sparse, "a sparse tensor"),
        (header_twice, "holds an entry twice"),
        (no_header, "an ONNX model that `export --onnx` did not make"),
        (other_format, "not of format 1"),
        (no_json, "or is damaged"),
        (other_number_of_names, "1 name for 9 classes"),
        (large_frames, r"a video has up to 471,859,200 values; the most is"),
        (another_model, "1 model in bundle.json, and others in the graph"),
        (no_model, "1 model in bundle.json, and others in the graph"),
    ],
)
def test_a_strangers_file_is_refused(tmp_path, change, message):
    model = small_model()
    change(model)
    path = stored(tmp_path, model)
    for opener in (read_header, load_bundle):
        with pytest.raises(BundleError, match=rf"bundle\.onnx.*{message}"):
            opener(path)


def unknown_operation(model):
    model.graph.node[4].op_type = "Unknown"


def other_frames(model):
    model.graph.node[2].CopyFrom(helper.make_node("StringNormalizer", ["model_0000/num_frames"], ["counts"]))


def other_classes(model):
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.zeros((1, 4), np.float32), "weights"))


def in_a_circle(model):
    model.graph.node[3].input[0] = "model_0000/probabilities"


def endless_frames(model):
    """More memory than there is."""
    model.graph.node[4].input[1] = "huge"
    model.graph.node.insert(4, helper.make_node("ConstantOfShape", ["shape"], ["huge"]))
    model.graph.initializer.append(numpy_helper.from_array(np.array([1 << 33, 9]), "shape"))


@pytest.mark.parametrize("change", [unknown_operation, other_frames, other_classes, in_a_circle])
def test_a_graph_that_does_not_answer_is_refused_when_it_is_asked(tmp_path, change):
    model = small_model()
    change(model)
    path = stored(tmp_path, model)
    with pytest.raises(BundleError, match=r"bundle\.onnx.*(cannot be used by ONNX Runtime|are not float32 \[2, 9\])"):
        load_bundle(path).members[0].models[0].predict_on_batch(INPUTS)


def test_what_a_graph_makes_is_refused_before_it_is_allocated(tmp_path):
    """It may have no weights, and make more than all memory of two videos."""
    changed = small_model()
    endless_frames(changed)
    model = load_bundle(stored(tmp_path, changed)).members[0].models[0]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(Exception, match=r"Available memory of [0-9]+ is smaller") as refused:
        model.predict_on_batch(INPUTS)
    assert is_out_of_memory(refused.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


def test_too_large_a_file_is_not_read(tmp_path, monkeypatch):
    path = stored(tmp_path, small_model())
    monkeypatch.setattr(onnx_container, "MOST_BYTES", 100)
    with pytest.raises(BundleError, match=r"bytes; an \.onnx file has 100 at most"):
        read_header(path)


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_a_missing_package_is_named_with_its_extra(tmp_path, monkeypatch, package):
    path = stored(tmp_path, small_model())
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(StageError, match=r"is not installed .*; it is part of the extra onnx: .*--extra onnx"):
        load_bundle(path)
