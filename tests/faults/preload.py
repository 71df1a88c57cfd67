"""What the server of tests/faults/stages.py does once, so that its forks need not: imports, and what they cache.

Nothing here may start a thread, or TensorFlow's runtime: a fork would lack the one, and share the other.
"""

import gc
import importlib
import sys
from pathlib import Path

from pipeline.cli.parsing import parse_flags
from pipeline.cli.stages import STAGES

PACKAGES = (
    *("h5py", "jinja2", "keras", "matplotlib.pyplot", "numba", "tensorflow"),
    *("PIL.features", "encodings.cp437", "multiprocessing.synchronize", "pandas", "pyarrow.pandas_compat", "typeguard"),
    *("cffi.api", "numba.cpython.unsafe.numbers", "scipy.linalg"),
    *("av", "onnx", "onnxruntime", "tensorboard.compat.proto.event_pb2"),
)
"""Those that stages import, those from the second line on only when they are at work; PyArrow imports pandas."""
PIPELINE = Path(__file__).parents[2] / "pipeline"

for package in PACKAGES:
    importlib.import_module(package)
for path in sorted(PIPELINE.rglob("*.py")):
    if path.stem != "__main__":
        name = ".".join(path.relative_to(PIPELINE.parent).with_suffix("").parts)
        importlib.import_module(name.removesuffix(".__init__"))
for stage, (_, sections) in STAGES.items():
    flags = sys.modules[f"pipeline.{stage}"].Flags
    if stage not in ("run_all", "predict", "cost") and hasattr(flags, "preset"):  # pack and extract take none
        parse_flags(flags, sections, ["--preset", str(Path(__file__).with_name("small.py"))])
gc.freeze()  # what is here stays: looking at it again and again would copy its pages into each fork
