"""BufferPool of large arrays, used again once nothing refers to them any more."""

import math
import mmap
import weakref

import numpy as np


class BufferPool:
    """Makes arrays without initializing them; new memory costs more than to fill it, so it comes back from old ones.

    Whoever has an array, or a view on it, keeps its memory, as with any other array: also TensorFlow and JAX, which
    take large aligned arrays for tensors without copying them, and hold on to the array for that. Threads may share it.
    """

    def __init__(self):
        self._free: list[mmap.mmap] = []

    def array(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """An array of any content, its first byte at the start of a page."""
        size = math.prod(shape) * dtype.itemsize
        # The last one freed is the one nearest to the processor. One that is too small gives way to a larger one.
        block = self._free.pop() if self._free else None
        if block is None or len(block) < size:
            block = mmap.mmap(-1, max(size, 1), mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            if hasattr(mmap, "MADV_HUGEPAGE"):
                block.madvise(mmap.MADV_HUGEPAGE)
        whole = np.frombuffer(block, np.uint8)  # every view on it refers to it
        weakref.finalize(whole, self._free.append, block).atexit = False
        return whole[:size].view(dtype).reshape(shape)
