"""The limit of what multiplies: products of two square matrices, one after the other, through Keras's backend."""

from collections.abc import Callable
from dataclasses import dataclass

SIZE = 2048
PRODUCTS = 16
"""Products in a row, so that starting them does not count."""


@dataclass(frozen=True)
class Products:
    """Products of `size` x `size` matrices, each of the one before."""

    run: Callable[[], object]
    flops: int
    """Of one `run`."""


def products(precision: str, size: int = SIZE) -> Products:
    """Compiled and run once. `precision` is a Keras dtype policy: `mixed_bfloat16` multiplies bfloat16."""
    import keras
    import numpy as np
    from keras import ops

    dtype = "bfloat16" if precision == "mixed_bfloat16" else "float32"
    matrix = ops.cast(np.random.default_rng(0).normal(size=(size, size)) / size**0.5, dtype)

    def chain(value):
        for _ in range(PRODUCTS):
            value = ops.matmul(value, matrix)
        return value

    if keras.backend.backend() == "jax":
        import jax

        compiled = jax.jit(chain)
    else:
        import tensorflow as tf

        compiled = tf.function(chain)

    def run() -> None:
        ops.convert_to_numpy(compiled(matrix)[:1, :1])

    run()
    return Products(run, PRODUCTS * 2 * size**3)
