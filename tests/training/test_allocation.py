"""Freed memory that is kept: the system is asked for it once, on JAX; on TensorFlow nothing changes."""

import ctypes
import os
import platform
import subprocess
import sys

import pytest

from pipeline.training.allocation import keep_freed_memory

PROGRAM = """
import ctypes, resource
from pipeline.training.allocation import keep_freed_memory

keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
before = 0
for number in range(11):
    block = libc.malloc(64 << 20)
    libc.memset(block, 1, 64 << 20)
    libc.free(block)
    before = before or resource.getrusage(resource.RUSAGE_SELF).ru_minflt
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="no glibc")
def test_on_jax_the_system_is_asked_for_it_once():
    """Ten blocks of 64 MiB, 16,384 pages each, one after the other, take hardly a page after the first one."""
    pytest.importorskip("jax")
    found = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | {"KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(found.stdout) < 1000


def test_on_tensorflow_nothing_changes(monkeypatch):
    asked = []
    monkeypatch.setattr(ctypes, "CDLL", asked.append)
    keep_freed_memory()
    assert not asked
