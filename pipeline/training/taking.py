"""Give a model the weights of another one, layer by layer, where name, kind and shapes agree."""

from collections.abc import Mapping
from dataclasses import dataclass

import keras

_OF_CLASSES = ("head", "output_gating")
"""Layers whose weights belong to classes: of other classes they would say nothing, whatever their shapes."""


@dataclass(frozen=True)
class Taken:
    """A layer of a model, and what became of it."""

    name: str
    shapes: tuple[tuple[int, ...], ...]
    parameters: int
    fault: str = ""
    """Why it keeps its random weights; empty if it has been given others."""

    @property
    def fits(self) -> bool:
        return not self.fault

    def __str__(self) -> str:
        return f"{self.name} {_listed(self.shapes)}{': ' * bool(self.fault)}{self.fault}"


def take_layers(source: keras.Model, model: keras.Model, names: Mapping[str, str], same_classes: bool) -> list[Taken]:
    """Give each layer of `model` the weights of its namesake in `source` if all of them fit; else leave it alone.

    Args:
        source: the model that has them; it is not changed.
        model: the model that is given them.
        names: of the layers that are called otherwise in `source`: name in `model` -> name there.
        same_classes: whether the classes of both are the same; if not, no layer of classes is given weights.

    Returns:
        What became of each layer that has weights, in the model's order.
    """
    there = {layer.name: layer for layer in source.layers}
    found = []
    for layer in with_weights(model):
        shapes = _shapes(layer)
        other = there.get(names.get(layer.name, layer.name))
        if layer.name in _OF_CLASSES and not same_classes:
            theirs = f", {_listed(_shapes(other))} there" if other and _shapes(other) != shapes else ""
            fault = f"the classes are others{theirs}"
        elif other is None:
            fault = "there is no such layer"
        elif type(other) is not type(layer):
            fault = f"its kind is {type(other).__name__} there, {type(layer).__name__} here"
        elif _shapes(other) != shapes:
            fault = f"{_listed(_shapes(other))} there"
        else:
            fault = ""
            layer.set_weights(other.get_weights())
        found.append(Taken(layer.name, shapes, layer.count_params(), fault))
    return found


def with_weights(model: keras.Model) -> list[keras.Layer]:
    """Return the layers of a model that have weights."""
    return [layer for layer in model.layers if layer.weights]


def _shapes(layer: keras.Layer) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(weight.shape) for weight in layer.weights)


def _listed(shapes: tuple[tuple[int, ...], ...]) -> str:
    return " ".join("x".join(map(str, shape)) or "1" for shape in shapes)
