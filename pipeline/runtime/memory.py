"""How much memory is free, and whether an error says that it ran out, on any backend."""

import os
from pathlib import Path

_CACHED = ("active_file ", "inactive_file ")


def free_memory(system: Path = Path("/")) -> int:
    """Return the bytes of memory that are free, in this container too; where the system does not tell, half of all."""
    found = []
    try:
        fields = dict(line.split(":") for line in (system / "proc/meminfo").read_text(encoding="ascii").splitlines())
        found.append(int(fields["MemAvailable"].split()[0]) * 1024)
        limit, used, kinds = (
            (system / f"sys/fs/cgroup/memory.{name}").read_text() for name in ("max", "current", "stat")
        )
        # The page cache counts as used, and is given up when memory is asked for.
        cached = sum(int(line.split()[1]) for line in kinds.splitlines() if line.startswith(_CACHED))
        found.append(int(limit) - int(used) + cached)
    except (OSError, KeyError, ValueError):  # macOS; or no container, or one without a limit
        pass
    return max(min(found), 0) if found else os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that the device or the host is out of memory, or that the system killed for it."""
    text, kind = str(error), type(error).__name__
    if "No space left on device" in text or "Disk quota exceeded" in text:  # TensorFlow's name for it is the same
        return False
    if isinstance(error, MemoryError) or kind == "ResourceExhaustedError":
        return True
    # Of JAX, of TensorFlow, of PyTorch, of ONNX Runtime.
    told = ("RESOURCE_EXHAUSTED", "bad_alloc", "DefaultCPUAllocator", "Available memory of")
    return any(each in text for each in told) or "out of memory" in text.lower()
