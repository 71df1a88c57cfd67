"""Gradients written out by hand, for Keras's every backend."""

from collections.abc import Callable
from typing import Any

from keras import ops


def custom_gradient(function: Callable[..., tuple[Any, Callable]]) -> Callable[..., Any]:
    """A function of tensors that gives its value and its gradient -> the function of the value, with that gradient.

    `function` returns (y, gradient), and `gradient(dy)` the gradient by each of the arguments, in their order. Weights
    are passed as arguments: TensorFlow refuses variables that a gradient of one's own closes over.
    """

    def value_and_gradient(*arguments):
        value, gradient = function(*arguments)

        def called(*given, upstream=None):  # TensorFlow and JAX call it by position, PyTorch by name
            return gradient(given[0] if upstream is None else upstream)

        return value, called

    return ops.custom_gradient(value_and_gradient)
