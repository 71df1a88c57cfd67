"""Start-up: seconds until a command has explained itself, in a fresh process, beside Python's own start.

    python -m benchmarks.startup

Every `python -m pipeline.<stage> --help`; beside it `python -c pass`, and the imports that none can do without: tyro,
which reads the flags, and NumPy. The measured ones have a goal, half a second on an idle machine. That none imports a
backend or another library of a second's start is checked, not timed.
"""

import dataclasses
import functools
import subprocess
import sys
from pathlib import Path

import tyro

from benchmarks.figures import Common, Figure, interleaved, show
from pipeline.cli.stages import STAGES

ROOT = Path(__file__).parent.parent
GOAL = 0.5
HEAVY = {"tensorflow", "keras", "jax", "numba", "matplotlib", "pandas"}
LIMITS = {"python -c pass": "pass", "import tyro, numpy": "import tyro, numpy"}


@dataclasses.dataclass(frozen=True)
class Flags(Common):
    stages: tuple[str, ...] = tuple(STAGES)


def main() -> None:
    flags = tyro.cli(Flags, description=__doc__)
    helps = {f"{stage} --help": ["-m", f"pipeline.{stage}", "--help"] for stage in flags.stages}
    for stage, arguments in helps.items():  # also warms the page cache, and compiles what is not yet
        if heavy := HEAVY & _imported(arguments):
            raise SystemExit(f"{stage} imports {', '.join(sorted(heavy))}")
    commands = helps | {name: ["-c", code] for name, code in LIMITS.items()}
    seconds = interleaved(flags.rounds, {name: functools.partial(_run, *command) for name, command in commands.items()})
    figures = [Figure(case, "limit" if case in LIMITS else "ours", taken, "s") for case, taken in seconds.items()]
    slowest = max(helps, key=seconds.__getitem__)
    figures.append(Figure(f"the slowest, {slowest}: of the goal", "ours", seconds[slowest] / GOAL, "of it"))
    show(figures, flags.json, "start-up")


def _run(*arguments: str) -> str:
    """Run Python; returns what it says on the standard error."""
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stderr


def _imported(arguments: list[str]) -> set[str]:
    """The modules that a command imports."""
    return {line.rpartition("|")[2].strip() for line in _run("-X", "importtime", *arguments).splitlines()}


if __name__ == "__main__":
    main()
