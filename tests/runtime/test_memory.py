"""What says that memory ran out."""

import pytest

from pipeline.runtime.memory import is_out_of_memory

ResourceExhaustedError = type("ResourceExhaustedError", (Exception,), {})


@pytest.mark.parametrize(
    "error, out",
    [
        (MemoryError(), True),
        (ResourceExhaustedError("OOM when allocating tensor with shape[8192,1024]"), True),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 8 bytes"), True),
        (RuntimeError("std::bad_alloc"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"), True),
        (type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (ResourceExhaustedError("/runs/tensorboard/events; No space left on device"), False),
        (ValueError("shapes do not match"), False),
    ],
)
def test_out_of_memory(error, out):
    assert is_out_of_memory(error) == out
