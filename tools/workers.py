"""Prints how many processes run the tests: one more than processors, since some wait, as far as memory has room."""

import os
from pathlib import Path

BYTES_EACH = 2_000_000_000


def free_memory(meminfo: Path = Path("/proc/meminfo")) -> int:
    """Return the bytes of memory that are free; where the system does not tell, half of all."""
    try:
        fields = dict(line.split(":") for line in meminfo.read_text(encoding="ascii").splitlines())
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError):  # macOS, or a container that hides it
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def workers(processors: int, memory: int) -> int:
    """Return how many processes run the tests."""
    return max(min(processors + 1, memory // BYTES_EACH), 1)


if __name__ == "__main__":
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    print(workers(usable, free_memory()))
