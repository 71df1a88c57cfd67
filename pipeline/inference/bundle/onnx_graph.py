"""The graph of an .onnx file: from all frames of a video to what its models are shown, and from theirs to the blend."""

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto, helper, numpy_helper

from pipeline.config import DatasetConfig, SamplingConfig
from pipeline.ensembling.recipe import Recipe
from pipeline.ensembling.scales import QUANTILES, to_values
from pipeline.inference.bundle.onnx_container import FRAMES, NUM_FRAMES, PROBABILITIES, read_by
from pipeline.inference.bundle.quantization import Encoding
from pipeline.inputs.reading.sampling import sampled_length


class Graph:
    """Nodes and tensors in the order in which they are added; each method returns the name of its result."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.tensors: list[TensorProto] = []
        self.bytes = 0
        """Of the weights."""

    def add(self, operation: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        """Add an operation with one result, called `name`."""
        name = name or f"{operation.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operation, inputs, [name], **attributes))
        return name

    def constant(self, values: Any, dtype: Any) -> str:
        name = f"constant_{len(self.tensors)}"
        self.tensors.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def weight(self, name: str, shape: tuple[int, ...], encoding: Encoding, content: bytes) -> str:
        """Add a weight as `quantize_weight` stores it, to be used as float32 [shape]."""
        if encoding == "float32":
            self._tensor(name, TensorProto.FLOAT, shape, content)
            return name
        stored = f"{name}/{encoding}"
        if encoding == "float16":
            self._tensor(stored, TensorProto.FLOAT16, shape, content)
            return self.add("Cast", stored, name=name, to=TensorProto.FLOAT)
        scales = f"{name}/scales"
        self._tensor(scales, TensorProto.FLOAT, shape[-1:], content[: 4 * shape[-1]])
        self._tensor(stored, TensorProto.INT8, shape, content[4 * shape[-1] :])
        return self.add("Mul", self.add("Cast", stored, to=TensorProto.FLOAT), scales, name=name)

    def _tensor(self, name: str, kind: int, shape: tuple[int, ...], content: bytes) -> None:
        self.tensors.append(helper.make_tensor(name, kind, shape, content, raw=True))
        self.bytes += len(content)

    def sample(self, sampling: SamplingConfig, dataset: DatasetConfig) -> tuple[str, str]:
        """Sample as `inputs.reading.sampling.choose_frames` does: frames [B,t,F], and their number int32 [B]."""
        most = self.constant([sampled_length(sampling.evaluation, sampling, dataset)], np.int64)
        zero, one = self.constant(0, np.int64), self.constant(1, np.int64)
        second, third = self.constant([1], np.int64), self.constant([2], np.int64)  # axes
        rows = self.add("Shape", FRAMES, start=1, end=2)  # 1
        given = self.add("Max", self.add("Cast", NUM_FRAMES, to=TensorProto.INT64), one)
        there = self.add("Min", given, rows)  # B
        length = self.add("Min", most, rows) if sampling.evaluation == "all" else most
        places = self.add("Range", zero, self.add("Squeeze", length), one)  # t
        column = self.add("Unsqueeze", there, second)  # B,1
        spread = self.add("Div", self.add("Mul", column, places), length)  # B,t
        if sampling.evaluation == "all":
            spread = self.add("Where", self.add("Greater", column, length), spread, places)
            counts = self.add("Min", there, length)
        else:
            counts = self.add("Expand", length, self.add("Shape", NUM_FRAMES))
        wanted = self.add("Unsqueeze", spread, third)  # B,t,1
        chosen = self.add("GatherND", FRAMES, wanted, batch_dims=1)
        return chosen, self.add("Cast", counts, to=TensorProto.INT32)

    def blend(self, members: list[list[str]], recipe: Recipe) -> None:
        """Add PROBABILITIES [B,V], of the probabilities of each member's models."""
        weights = [member.weight for member in recipe.used]
        values = []
        for models, member, weight in zip(members, recipe.used, weights):
            mean = self.add("Mean", *models)
            value = self._value(mean, recipe, member.quantiles)
            values.append(self.add("Mul", value, self.constant(weight / sum(weights), np.float32)))
        if recipe.combine == "logits":
            self.add("Sigmoid", self.add("Sum", *values), name=PROBABILITIES)
        else:
            self.add("Sum", *values, name=PROBABILITIES)

    def _value(self, probabilities: str, recipe: Recipe, quantiles: tuple[float, ...]) -> str:
        """Compute `pipeline.ensembling.scales.to_values`."""
        if recipe.combine == "probabilities":
            return probabilities
        if recipe.combine == "logits":
            least, largest = self.constant(2.0**-24, np.float32), self.constant(1 - 2.0**-24, np.float32)
            bounded = self.add("Clip", probabilities, least, largest)
            other = self.add("Sub", self.constant(1, np.float32), bounded)
            return self.add("Sub", self.add("Log", bounded), self.add("Log", other))
        last = QUANTILES + 1
        knots = self.constant(np.r_[0.0, quantiles, 1.0], np.float32)
        # Evenly spread quantiles give the places, which are the same for all quantiles.
        even = np.linspace(0, 1, last + 1)
        places = self.constant(to_values(even, "ranks", even[1:-1]), np.float32)
        # The last knot that is not above the probability, by halves: ONNX has no search.
        found = self.constant(0, np.int64)
        for step in (1 << bit for bit in reversed(range(last.bit_length()))):
            further = self.add("Add", found, self.constant(step, np.int64))
            further = self.add("Min", further, self.constant(last, np.int64))
            reached = self.add("LessOrEqual", self.add("Gather", knots, further), probabilities)
            found = self.add("Where", reached, further, found)
        before = self.add("Min", found, self.constant(last - 1, np.int64))
        after = self.add("Add", before, self.constant(1, np.int64))
        low, high = self.add("Gather", knots, before), self.add("Gather", knots, after)
        share = self.add("Div", self.add("Sub", probabilities, low), self.add("Sub", high, low))
        between = self.add("Less", probabilities, high)
        share = self.add("Where", between, share, self.constant(1, np.float32))
        start, end = self.add("Gather", places, before), self.add("Gather", places, after)
        return self.add("Add", start, self.add("Mul", share, self.add("Sub", end, start)))

    def insert(self, graph: GraphProto, prefix: str) -> None:
        """Add the nodes and tensors of a whole graph, whose inputs and outputs get a prefix; all others get numbers."""
        own = GraphProto()
        own.CopyFrom(graph)
        _settle(own)
        names = {"": ""}  # what is left out stays so
        for each in (*own.input, *own.output):
            names[each.name] = prefix + each.name
        _rename(own, lambda name: names.setdefault(name, f"{prefix}{len(names)}"))
        places = {name: place for place, name in enumerate(names.values())}
        self.nodes += own.node
        self.tensors += sorted(own.initializer, key=lambda tensor: places[tensor.name])


def _settle(graph: GraphProto) -> None:
    """Put the nodes of a graph, and of graphs in it, in the order in which its outputs need them, and drop the others.

    So the same model is the same file: converters order nodes by names, which depend on what they converted before.
    """
    for node in graph.node:
        node.name = node.doc_string = ""
        node.attribute.sort(key=lambda attribute: attribute.name)
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                attribute.g.name = "inner"
                _settle(attribute.g)
    makers = {name: place for place, node in enumerate(graph.node) for name in node.output if name}
    ordered = GraphProto()
    met = set()
    waiting = [(each.name, False) for each in reversed(graph.output)]
    while waiting:
        name, is_ready = waiting.pop()
        place = makers.get(name)
        if is_ready:
            ordered.node.append(graph.node[place])
        elif place is not None and place not in met:
            met.add(place)
            waiting += [(name, True), *((each, False) for each in reversed(read_by(graph.node[place])))]
    del graph.node[:]
    graph.node.extend(ordered.node)


def _rename(graph: GraphProto, renamed: Callable[[str], str]) -> None:
    """Rename the tensors of a graph, and of graphs in it, one after the other as its nodes read and make them."""
    for each in (*graph.input, *graph.output):
        each.name = renamed(each.name)
    del graph.value_info[:]
    for node in graph.node:
        node.input[:] = map(renamed, node.input)
        node.output[:] = map(renamed, node.output)
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                _rename(attribute.g, renamed)
    for tensor in graph.initializer:
        tensor.name = renamed(tensor.name)
