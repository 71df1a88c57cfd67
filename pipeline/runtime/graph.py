"""What a TensorFlow graph of static shapes takes to run: FLOPs and memory, counted without running it."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf

_VIEWS = {"EnsureShape", "ExpandDims", "Identity", "IdentityN", "PreventGradient", "Reshape", "Squeeze", "StopGradient"}
_VIEWS |= {"TensorListFromTensor"}
"""Operations whose results lie where their inputs do."""
_NOTHING = {"BroadcastGradientArgs", "Const", "ReadVariableOp", "TensorListGetItem", "TensorListPopBack"}
"""Operations that make two short lists of axes, or that hand out what the graph, a variable or a list holds."""
_LOOPS = {"While", "StatelessWhile"}


def operations_needed_for(*results: "tf.Tensor | tf.Operation | None") -> "list[tf.Operation]":
    """The operations of a graph that these results need, in the order of their creation."""
    waiting = [getattr(result, "op", result) for result in results if result is not None]
    found = set(waiting)
    graph = waiting[0].graph
    while waiting:
        operation = waiting.pop()
        before = {tensor.op for tensor in operation.inputs}.union(operation.control_inputs) - found
        found |= before
        waiting.extend(before)
    return [operation for operation in graph.get_operations() if operation in found]


def count_flops(operations: "Iterable[tf.Operation]") -> int:
    """FLOPs of the matrix products among the operations, 2mnk for those of m x k by k x n; the rest is not counted.

    A loop's body counts as often as it runs; of a condition's branches the most expensive one counts.
    """
    return sum(map(_flops, operations))


def peak_bytes(operations: "Sequence[tf.Operation]", elsewhere: "Iterable[tf.Tensor]" = ()) -> int:
    """The most memory that results take at one time, if operations run one after the other in the order given.

    An estimate of what an executor needs that never writes a result over an input: a result is there from its
    operation until its last reader is done; inside what is compiled as one there are none. Views (reshaping,
    identities) take no memory and keep their input. A loop's lists are as long all the while as at its end; one round
    of its body is added to what is there while it runs.

    Args:
        operations: in an order in which they can run, that of their creation.
        elsewhere: results that are counted elsewhere.
    """
    owner: dict[str, str] = {}  # the name of a result -> that of the one whose memory it is
    last: dict[str, int] = {}
    for step, operation in enumerate(operations):
        for tensor in operation.inputs:
            last[owner.get(tensor.name, tensor.name)] = step
        for tensor, source in zip(operation.outputs, _sources(operation)):
            owner[tensor.name] = owner.get(source.name, source.name) if source is not None else tensor.name
            last.setdefault(owner[tensor.name], step)
    free = {owner.get(tensor.name) for tensor in elsewhere}
    ends = [0] * len(operations)
    now = peak = 0
    for step, operation in enumerate(operations):
        for tensor in operation.outputs:
            if owner[tensor.name] == tensor.name and tensor.name not in free:
                now += (size := _bytes(tensor))
                ends[max(last[tensor.name], step)] += size
        peak = max(peak, now + _peak_of_calls(operation))
        now -= ends[step]
    return peak


def _flops(operation: "tf.Operation") -> int:
    kind = operation.type
    if kind in _SUMMED:
        return 2 * operation.outputs[0].shape.num_elements() * _SUMMED[kind](operation)
    costs = [count_flops(function.get_operations()) for function in _functions(operation)]
    if kind in _LOOPS:
        return sum(costs) * _rounds(operation) if any(costs) else 0
    return max(costs, default=0)


def _einsum(operation: "tf.Operation") -> int:
    inputs, _, output = operation.get_attr("equation").decode().partition("->")
    sizes = {}
    for labels, tensor in zip(inputs.split(","), operation.inputs):
        before, _, after = labels.partition("...")
        shape = tensor.shape.as_list()
        sizes |= dict(zip(before, shape)) | dict(zip(after[::-1], shape[::-1]))
    products = len(operation.inputs) > 1
    return products * math.prod(size for label, size in sizes.items() if label not in output)


def _convolution(operation: "tf.Operation") -> int:
    return math.prod(operation.inputs[1].shape[:-1])


_SUMMED: "dict[str, Callable[[tf.Operation], int]]" = {
    "MatMul": lambda operation: operation.inputs[0].shape[0 if operation.get_attr("transpose_a") else 1],
    "BatchMatMulV2": lambda operation: operation.inputs[0].shape[-2 if operation.get_attr("adj_x") else -1],
    "BatchMatMulV3": lambda operation: operation.inputs[0].shape[-2 if operation.get_attr("adj_x") else -1],
    "Einsum": _einsum,
    "Conv2D": _convolution,
    "Conv3D": _convolution,
    "DepthwiseConv2dNative": lambda operation: math.prod(operation.inputs[1].shape[:2]),
}
"""How many products are summed for each value that these give."""


def _functions(operation: "tf.Operation") -> list:
    """The graphs that an operation runs: what it calls, a condition's branches, a loop's test and body."""
    names = []
    for attribute in operation.op_def.attr:
        if attribute.type == "func":
            names.append(operation.get_attr(attribute.name).name)
        elif attribute.type == "list(func)":
            names += [function.name for function in operation.get_attr(attribute.name)]
    return [operation.graph._get_function(name).graph for name in names]  # graphs have no public way to ask


def _sources(operation: "tf.Operation") -> "list[tf.Tensor | None]":
    """For each result the input that it is a view of."""
    if operation.type in _VIEWS:
        return list(operation.inputs)[: len(operation.outputs)]
    if operation.type in _LOOPS:  # what the body hands on as it is
        body = _functions(operation)[1]
        pairs = zip(operation.inputs, body.inputs, body.outputs)
        return [outer if inner.name == _same(result).name else None for outer, inner, result in pairs]
    return [None] * len(operation.outputs)


def _same(tensor: "tf.Tensor") -> "tf.Tensor":
    """What identities hand on."""
    return _same(tensor.op.inputs[0]) if tensor.op.type == "Identity" else tensor


def _bytes(tensor: "tf.Tensor") -> int:
    operation = tensor.op
    if tensor.dtype.name == "variant":
        if operation.type not in _LOOPS:
            return 0
        added = _added(_functions(operation)[1].outputs[tensor.value_index])
        return added * _rounds(operation) if added else 0
    if tensor.dtype.name == "resource" or operation.type in _NOTHING:
        return 0
    if (values := tensor.shape.num_elements()) is None:
        raise ValueError(f"{tensor.name} has no static shape: its size is not in the graph")
    return values * tensor.dtype.size


def _added(values: "tf.Tensor") -> int:
    """Bytes that one round of a loop's body adds to one of its lists."""
    operation = values.op
    if operation.type in ("TensorListPushBack", "TensorListSetItem"):
        return _added(operation.inputs[0]) + _bytes(operation.inputs[-1])
    return sum(map(_added, operation.inputs)) if operation.type in ("AddN", "Identity") else 0


def _peak_of_calls(operation: "tf.Operation") -> int:
    """What is compiled as one keeps nothing between its operations."""
    if "_XlaMustCompile" in operation.node_def.attr and operation.get_attr("_XlaMustCompile"):
        return 0
    return max(map(_peak_inside, _functions(operation)), default=0)


def _peak_inside(function) -> int:
    """What it is given and what it returns is counted outside."""
    return peak_bytes(function.get_operations(), [*function.inputs, *function.outputs])


def _rounds(loop: "tf.Operation") -> int:
    """How often a loop runs: the fewest rounds that one of its counters allows."""
    import tensorflow as tf

    test, body = _functions(loop)
    position = {tensor.name: number for number, tensor in enumerate(test.inputs)}

    def static(tensor: tf.Tensor) -> int | None:
        if tensor.name in position:
            tensor = loop.inputs[position[tensor.name]]
        if tensor.op.type in _LOOPS and tensor.value_index == 0:  # the backward loop ends where the forward one did
            return _rounds(tensor.op)
        return tf.get_static_value(tensor)

    rounds = []
    for operation in test.get_operations():
        if operation.type == "Less" and operation.inputs[0].name in position:
            counter, bound = operation.inputs
            start, end = static(counter), static(bound)
            step = tf.get_static_value(_same(body.outputs[position[counter.name]]).op.inputs[-1])
            if None not in (start, end, step):
                rounds.append(len(range(int(start), int(end), int(step))))
    if not rounds:
        raise ValueError(f"{loop.name}: how often it runs is not in the graph")
    return min(rounds)
