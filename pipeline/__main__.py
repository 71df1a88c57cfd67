"""`python -m pipeline`: list the stages, in their order, and the presets."""

from pathlib import Path

from pipeline.cli.running import run_stage
from pipeline.cli.stages import STAGES
from pipeline.presets import first_line, presets


def main() -> None:
    here = Path(__file__).parent
    print("Stages: python -m pipeline.<stage> --help explains one.\n")
    for stage in STAGES:
        print(f"  {stage:<12}{first_line(here / f'{stage}.py')}")
    print("\nPresets: --preset <name>, or the path of a file like pipeline/presets/demo.py.\n")
    for name, line in presets().items():
        print(f"  {name:<18}{line}")


if __name__ == "__main__":
    run_stage(main)
