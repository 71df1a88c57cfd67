"""Tell whether an error says that memory ran out, on any backend."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that the device or the host is out of memory, or that the system killed for it."""
    text, kind = str(error), type(error).__name__
    if "No space left on device" in text or "Disk quota exceeded" in text:  # TensorFlow's name for it is the same
        return False
    if isinstance(error, MemoryError) or kind == "ResourceExhaustedError":
        return True
    told = ("RESOURCE_EXHAUSTED", "bad_alloc", "DefaultCPUAllocator")  # of JAX, of TensorFlow, of PyTorch
    return any(each in text for each in told) or "out of memory" in text.lower()
