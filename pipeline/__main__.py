"""`python -m pipeline`, or `learnable-pooling`: list the stages and the presets; followed by a stage, run it."""

import importlib
import sys
from pathlib import Path

from pipeline.artifacts.done import VERSION
from pipeline.cli.running import run_stage
from pipeline.cli.stages import STAGES
from pipeline.config import ConfigError, find_by_name
from pipeline.presets import first_line, presets

_HERE = Path(__file__).parent


def main() -> None:
    first = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if not first.startswith("-"):
        name = first.replace("-", "_")
        find_by_name(name, dict.fromkeys(STAGES), "stage")
        sys.argv = [str(_HERE / f"{name}.py"), *sys.argv[2:]]
        importlib.import_module(f"pipeline.{name}").main()  # by its name: no file imports a stage
    elif first == "--version":
        print(VERSION)
    elif first in ("--help", "-h"):
        _list()
    else:
        raise ConfigError(f"{first} is no flag of `python -m pipeline`; there are --help and --version, and the stages")


def run() -> None:
    """The command `learnable-pooling` that an installation has: `learnable-pooling STAGE` runs a stage."""
    run_stage(main)


def _list() -> None:
    print("Stages: python -m pipeline.<stage> --help explains one, --version tells the version.\n")
    for stage in STAGES:
        print(f"  {stage:<12}{first_line(_HERE / f'{stage}.py')}")
    print("\nPresets: --preset <name>, or the path of a file like pipeline/presets/demo.py.\n")
    for name, line in presets().items():
        print(f"  {name:<18}{line}")


if __name__ == "__main__":
    run()
