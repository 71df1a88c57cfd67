"""Keep the memory that a training step frees in the process, for the next step."""

import ctypes

import keras

# Constants of <malloc.h>.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def keep_freed_memory() -> None:
    """From now on keep freed memory in the process; only on JAX, and only if the C library is glibc.

    JAX on CPUs allocates memory for every step anew. glibc returns large blocks to the system at once, and getting them
    again, page by page, takes a quarter of a step of a few milliseconds. TensorFlow keeps its own memory. Peak memory
    does not change.
    """
    if keras.backend.backend() != "jax":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, -1)
