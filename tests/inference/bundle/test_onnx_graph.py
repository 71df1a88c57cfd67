"""The parts of a file's graph that no conversion makes: sampling and blending, each as the pipeline does it."""

import dataclasses

import numpy as np
import onnx
import onnxruntime
import pytest
from fixtures.support import SMALL
from onnx import TensorProto, helper

from pipeline.config import SamplingConfig
from pipeline.ensembling.recipe import Member, Recipe
from pipeline.ensembling.scales import quantiles_of, to_scores, to_values
from pipeline.inference.bundle.onnx_graph import Graph
from pipeline.inference.bundle.quantization import dequantize_weight, quantize_weight
from pipeline.inputs.reading.sampling import choose_frames, sampled_length

RNG = np.random.default_rng(0)


def answers(graph: Graph, outputs: list[str], **inputs: np.ndarray) -> list[np.ndarray]:
    def named(name: str, dtype=None):
        kind = helper.np_dtype_to_tensor_dtype(dtype) if dtype else TensorProto.UNDEFINED
        return helper.make_tensor_value_info(name, kind, None)

    shown = [named(name, values.dtype) for name, values in inputs.items()]
    whole = helper.make_graph(graph.nodes, "g", shown, [onnx.ValueInfoProto(name=name) for name in outputs])
    whole.initializer.extend(graph.tensors)
    model = helper.make_model(whole, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    return onnxruntime.InferenceSession(model.SerializeToString()).run(outputs, inputs)


@pytest.mark.parametrize("level", ["frame", "video"])
@pytest.mark.parametrize("sampling", [SamplingConfig(evaluation="all"), SamplingConfig(frames=5)])
@pytest.mark.parametrize("longest", [20, 9])
def test_frames_are_chosen_as_by_the_reader(sampling, level, longest):
    dataset = dataclasses.replace(SMALL, level=level)
    counts = np.array([1, 4, 9, min(12, longest), longest], np.int32)
    frames = RNG.integers(0, 256, (5, longest, 8), dtype=np.uint8)
    graph = Graph()
    chosen, number = answers(graph, list(graph.sample(sampling, dataset)), frames=frames, num_frames=counts)
    length = sampled_length(sampling.evaluation, sampling, dataset)
    indices, wanted = choose_frames(sampling.evaluation, counts, length)
    np.testing.assert_array_equal(number, wanted)
    for row, count in enumerate(wanted):
        np.testing.assert_array_equal(chosen[row, :count], frames[row, indices[row, :count]])
    assert chosen.dtype == np.uint8 and number.dtype == np.int32


def test_lengths_that_cannot_be_are_taken_for_the_nearest():
    frames, graph = RNG.integers(0, 256, (3, 4, 8), dtype=np.uint8), Graph()
    sampled = graph.sample(SamplingConfig(evaluation="all"), SMALL)
    _, number = answers(graph, list(sampled), frames=frames, num_frames=np.array([-3, 0, 99], np.int32))
    assert number.tolist() == [1, 1, 4]


@pytest.mark.parametrize("combine", ["probabilities", "logits", "ranks"])
def test_scales_are_those_of_the_blend(combine):
    scores = [RNG.random((9, 30)).astype(np.float32) ** 4 for _ in range(3)]
    for number, ends in ((0, slice(5)), (2, slice(4, 9))):
        scores[number][ends] = np.float32([0, 1e-12, 1e-7, 1 - 1e-7, 1])[:, None]
    seen = np.round(RNG.random(3000) ** 3 * 64) / 64  # many quantiles are equal, and float32 holds them
    scores[1][:3] = seen[:30].astype(np.float32)  # as high as a quantile
    quantiles = quantiles_of(seen) if combine == "ranks" else ()
    recipe = Recipe((Member("a", "", 1.0, quantiles), Member("b", "", 3.0, quantiles)), combine)
    graph = Graph()
    graph.blend([["a", "b"], ["c"]], recipe)
    (found,) = answers(graph, ["probabilities"], **dict(zip("abc", scores)))
    values = [to_values(each, combine, quantiles) for each in ((scores[0] + scores[1]) / 2, scores[2])]
    np.testing.assert_allclose(found, to_scores(values[0] / 4 + values[1] * 3 / 4, combine), atol=1e-5)


@pytest.mark.parametrize("wanted", ["float32", "float16", "int8"])
def test_weights_are_those_of_a_zip(wanted):
    values = RNG.normal(size=(3, 32, 20)).astype(np.float32)
    encoding, content = quantize_weight(values, True, wanted)
    assert encoding == wanted
    graph = Graph()
    graph.add("Identity", graph.weight("w", values.shape, encoding, content), name="out")
    (found,) = answers(graph, ["out"])
    np.testing.assert_array_equal(found, dequantize_weight(content, values.shape, encoding))
