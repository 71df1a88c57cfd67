"""What a jaxpr takes to run: FLOPs of its matrix products, counted without running it."""

import math
from typing import Any


def count_flops(jaxpr: Any) -> int:
    """FLOPs of the matrix products of a jaxpr, 2mnk for those of m x k by k x n; the rest is not counted.

    A scan's body counts as often as it runs; of a condition's branches the most expensive one counts. Raises
    ValueError on products in a loop whose rounds are not known.
    """
    return sum(map(_flops, getattr(jaxpr, "jaxpr", jaxpr).eqns))


def _flops(equation: Any) -> int:
    kind, parameters = equation.primitive.name, equation.params
    if kind == "dot_general":
        (summed, _), _ = parameters["dimension_numbers"]
        left = equation.invars[0].aval.shape
        return 2 * math.prod(equation.outvars[0].aval.shape) * math.prod(left[axis] for axis in summed)
    if kind == "conv_general_dilated":
        raise ValueError("convolutions are not counted")
    costs = [count_flops(inner) for inner in _inner(parameters)]
    if kind == "cond":
        return max(costs)
    if kind == "while" and any(costs):
        raise ValueError("products in a loop whose rounds are not known")
    return sum(costs) * (parameters["length"] if kind == "scan" else 1)


def _inner(parameters: dict[str, Any]) -> list[Any]:
    """The jaxprs that an equation runs."""
    values = [
        part for value in parameters.values() for part in (value if isinstance(value, (tuple, list)) else [value])
    ]
    return [value for value in values if hasattr(value, "eqns") or hasattr(value, "jaxpr")]
