"""A pool of large arrays, whose memory is used again once nothing refers to it."""

import contextlib
import math
import mmap
import weakref

import numpy as np


class BufferPool:
    """Makes uninitialized arrays from the memory of old ones, since new memory costs more than filling it.

    As with any other array, the memory is kept as long as somebody has the array or a view on it. This includes
    TensorFlow and JAX, which use large aligned arrays as tensors without a copy and keep a reference. Threads may share
    a pool.
    """

    def __init__(self):
        self._free: list[mmap.mmap] = []

    def array(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """Return an uninitialized array that begins at the start of a page."""
        size = math.prod(shape) * dtype.itemsize
        # The block that was freed last is most likely in the cache. If it is too small, a larger one replaces it.
        block = self._free.pop() if self._free else None
        if block is None or len(block) < size:
            block = mmap.mmap(-1, max(size, 1), mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            with contextlib.suppress(AttributeError, OSError):  # a kernel without huge pages
                block.madvise(mmap.MADV_HUGEPAGE)
        whole = np.frombuffer(block, np.uint8)  # every view on it refers to it
        weakref.finalize(whole, self._free.append, block).atexit = False
        return whole[:size].view(dtype).reshape(shape)
