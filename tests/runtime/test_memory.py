"""What says that memory ran out, and how much of it is free."""

import pytest

from pipeline.runtime.memory import free_memory, is_out_of_memory

ResourceExhaustedError = type("ResourceExhaustedError", (Exception,), {})


@pytest.mark.parametrize(
    "error, out",
    [
        (MemoryError(), True),
        (ResourceExhaustedError("OOM when allocating tensor with shape[8192,1024]"), True),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 8 bytes"), True),
        (RuntimeError("std::bad_alloc"), True),
        (RuntimeError("Available memory of 5 is smaller than requested bytes of 8"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"), True),
        (type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (ResourceExhaustedError("/runs/tensorboard/events; No space left on device"), False),
        (ValueError("shapes do not match"), False),
    ],
)
def test_out_of_memory(error, out):
    assert is_out_of_memory(error) == out


def test_free_memory_is_that_of_the_machine_or_of_the_container(tmp_path):
    assert free_memory(tmp_path) > 1 << 20  # as on macOS
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:    5 kB\n")
    assert free_memory(tmp_path) == 5 * 1024
    cgroup = tmp_path / "sys" / "fs" / "cgroup"
    cgroup.mkdir(parents=True)
    cases = (("max", "100", 0, 5 * 1024), ("1100", "100", 0, 1000), ("1100", "1090", 90, 100), ("100", "1100", 0, 0))
    for limit, used, cached, free in cases:
        (cgroup / "memory.max").write_text(limit + "\n")
        (cgroup / "memory.current").write_text(used + "\n")
        (cgroup / "memory.stat").write_text(f"anon 7\nfile {cached}\ninactive_file {cached - cached // 3}\n")
        with (cgroup / "memory.stat").open("a") as file:
            file.write(f"active_file {cached // 3}\nworkingset_refault_file 1000\n")
        assert free_memory(tmp_path) == free
