"""`python -m pipeline`: the stages, in their order, the other commands, and the presets."""

from pathlib import Path

from pipeline.commandline import first_line, presets, run_stage

STAGES = (
    "run_all",
    "synthesize",
    "download",
    "ingest",
    "train",
    "soup",
    "infer",
    "ensemble",
    "submit",
    "evaluate",
    "report",
    "export",
    "predict",
)
COMMANDS = ("models",)
"""Packages that are commands too, by their `__main__.py`."""


def main() -> None:
    here = Path(__file__).parent
    print("Stages: python -m pipeline.<stage> --help explains one.\n")
    for stage in STAGES:
        print(f"  {stage:<12}{first_line(here / f'{stage}.py')}")
    print("\nBeside them: python -m pipeline.<name>.\n")
    for command in COMMANDS:
        print(f"  {command:<12}{first_line(here / command / '__main__.py')}")
    print("\nPresets: --preset <name>, or the path of a file like pipeline/presets/demo.py.\n")
    for name, line in presets().items():
        print(f"  {name:<18}{line}")


if __name__ == "__main__":
    run_stage(main)
