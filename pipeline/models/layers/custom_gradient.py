"""Give functions a gradient that is written by hand, on every Keras backend."""

from collections.abc import Callable
from typing import Any

from keras import ops


def custom_gradient(function: Callable[..., tuple[Any, Callable]]) -> Callable[..., Any]:
    """Turn a function of tensors that returns its value and its gradient into one with this value and this gradient.

    `function` returns (y, gradient); `gradient(dy)` returns the gradient by each argument, in order. Weights must be
    passed as arguments, since TensorFlow does not allow a custom gradient to close over variables.
    """

    def value_and_gradient(*arguments):
        value, gradient = function(*arguments)

        def called(*given, upstream=None):  # TensorFlow and JAX pass it by position, PyTorch by name
            return gradient(given[0] if upstream is None else upstream)

        return value, called

    return ops.custom_gradient(value_and_gradient)
