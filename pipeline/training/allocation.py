"""What a training step frees, kept by the process for the next step."""

import ctypes

import keras

# Of <malloc.h>.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def keep_freed_memory() -> None:
    """From here on freed memory stays with the process; only on JAX, and where the C library is glibc.

    JAX on processors allocates what a step computes anew every time. glibc gives what is large back to the system at
    once, and a quarter of a step of some milliseconds goes into getting it again, page by page. TensorFlow keeps its
    own memory. The peak stays what it is.
    """
    if keras.backend.backend() != "jax":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, -1)
