"""The machine that figures were measured on, in words."""

import os
import platform
import shutil
import subprocess
from pathlib import Path


def machine() -> str:
    """Processors that this process may use and their model, memory, GPUs, versions of what computes."""
    import keras
    import numpy as np

    model = platform.processor()
    with Path("/proc/cpuinfo").open() as file:
        for line in file:
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    gigabytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    versions = f"Python {platform.python_version()}, Keras {keras.__version__}, NumPy {np.__version__}"
    processors = f"{len(os.sched_getaffinity(0))} processors {model}, {gigabytes:.0f} GiB"
    return ", ".join([processors, *_gpus(), versions])


def _gpus() -> list[str]:
    """Each NVIDIA GPU with its memory; none where there is no driver."""
    if not shutil.which("nvidia-smi"):
        return []
    query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    answer = subprocess.run(query, capture_output=True, text=True)
    return answer.stdout.strip().splitlines() if answer.returncode == 0 else []
