"""Which arithmetic this machine is fast in, without importing a backend."""

import os
import shutil
import subprocess
from pathlib import Path

_BFLOAT16 = {"avx512_bf16", "amx_bf16"}
"""Processor flags: instructions that multiply bfloat16. Without them it is emulated, slower than float32."""
_AMPERE = 8.0
"""NVIDIA's first compute capability with bfloat16."""


def fast_precision(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """`mixed_bfloat16` where the hardware multiplies bfloat16 faster, `float32` elsewhere.

    A GPU decides where there is one, by its compute capability; else the processor, by its flags. JAX multiplies
    bfloat16 on a processor no faster than float32. PyTorch takes fifty times as long where the processor has no
    instructions for it, and has not been measured where it has.
    """
    capabilities = _compute_capabilities()
    if capabilities:
        return "mixed_bfloat16" if min(capabilities) >= _AMPERE else "float32"
    if os.environ.get("KERAS_BACKEND") in ("jax", "torch"):
        return "float32"
    try:
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return "float32"
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    return "mixed_bfloat16" if _BFLOAT16 & set(flags) else "float32"


def _compute_capabilities() -> list[float]:
    """Of each NVIDIA GPU; empty where there is none, or no driver."""
    if not shutil.which("nvidia-smi"):
        return []
    query = ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"]
    answer = subprocess.run(query, capture_output=True, text=True)
    return [float(line) for line in answer.stdout.split()] if answer.returncode == 0 else []
