"""Chains of small operations as one, compiled by XLA where TensorFlow would take them one at a time."""

import functools
from collections.abc import Callable
from typing import Any

import keras


def fused(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of tensors without side effects -> the same function, which reads and writes each tensor once.

    It is for what memory bounds: operations on single values, softmax, sums. TensorFlow takes these one after the
    other, each from memory into memory, and sums columns at a fifth of the speed; XLA makes loops of them, on all
    processors. Matrix products are left outside, where oneDNN is faster. JAX compiles a whole step anyway.

    It belongs into training alone: what is stored for serving must not depend on a compiler.
    """

    @functools.cache
    def compiled() -> Callable[..., Any]:
        import tensorflow as tf

        return tf.function(function, autograph=False, jit_compile=True)

    @functools.wraps(function)
    def called(*arguments):
        return (compiled() if keras.backend.backend() == "tensorflow" else function)(*arguments)

    return called
