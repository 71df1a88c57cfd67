"""Installs: the size of an environment of each backend, and how long it takes to start there.

    python -m benchmarks.installs [--backends jax torch]

Each environment is made as ./run_all.sh makes it, in a temporary folder, of what uv.lock pins for its backend and
nothing else, bytecode included; packages come from uv's cache where it has them. Its size is the sum of its files. The
start is a fresh process that gets a backend ready, as every stage does that computes; beside it Python's own start.
"""

import dataclasses
import functools
import os
import subprocess
import tempfile
from pathlib import Path

import tyro

from benchmarks.figures import Common, Figure, interleaved, show
from pipeline.runtime.backend import BACKENDS

ROOT = Path(__file__).parent.parent
START = "from pipeline.runtime.backend import start_backend; start_backend()"


@dataclasses.dataclass(frozen=True)
class Flags(Common):
    backends: tuple[str, ...] = BACKENDS


def main() -> None:
    flags = tyro.cli(Flags, description=__doc__)
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as name:
        environments = {backend: Path(name, backend) for backend in flags.backends}
        for backend, folder in environments.items():
            _make(folder, backend)
            figures.append(Figure("size", backend, _bytes(folder) / 1e9, "GB"))
        starts = {backend: (folder, START) for backend, folder in environments.items()}
        starts |= {f"{backend}: pass": (folder, "pass") for backend, folder in environments.items()}
        for backend, (folder, code) in starts.items():
            _python(folder, backend, code)  # fills the page cache
        seconds = interleaved(
            flags.rounds, {who: functools.partial(_python, folder, who, code) for who, (folder, code) in starts.items()}
        )
    for who, taken in seconds.items():
        backend, _, limit = who.partition(": ")
        figures.append(Figure("Python's start" if limit else "start", backend, taken, "s"))
    show(figures, flags.json, "environment")


def _make(folder: Path, backend: str) -> None:
    make = f". tools/environment.sh && make_environment {backend}"
    subprocess.run(["bash", "-c", make], cwd=ROOT, env=os.environ | {"PIPELINE_VENV": str(folder)}, check=True)


def _python(folder: Path, who: str, code: str) -> None:
    environment = os.environ | {"KERAS_BACKEND": who.partition(":")[0]}
    subprocess.run([folder / "bin" / "python", "-c", code], cwd=ROOT, env=environment, capture_output=True, check=True)


def _bytes(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*"))


if __name__ == "__main__":
    main()
