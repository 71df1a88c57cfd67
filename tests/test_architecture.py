"""The rules of the tree: who may import whom, and what every file says of itself."""

import ast
import subprocess
from pathlib import Path

import pytest
from support import ROOT

from pipeline.__main__ import COMMANDS, STAGES

FILES = sorted((ROOT / "pipeline").rglob("*.py"))
RUNNABLE = {
    "pipeline.__main__",  # the list of them
    *(f"pipeline.{stage}" for stage in STAGES),
    *(f"pipeline.{command}.__main__" for command in COMMANDS),
}
OF_NO_MODULE = {"architecture", "end_to_end", "killed", "contract", "degenerate", "fuzz", "stored"}
"""What tests ask of many modules at once."""


def imported(path: Path) -> set[str]:
    """The project's modules that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def test_no_file_imports_a_stage():
    for path in FILES:
        assert not imported(path) & RUNNABLE, path


@pytest.mark.parametrize(("room", "other"), [("models", "inputs"), ("inputs", "models"), ("models", "training")])
def test_rooms_that_know_nothing_of_each_other(room, other):
    for path in (ROOT / "pipeline" / room).rglob("*.py"):
        assert not {name for name in imported(path) if name.startswith(f"pipeline.{other}")}, path


@pytest.mark.parametrize("room", ["metrics", "config"])
def test_rooms_that_import_nothing_else_of_the_project(room):
    for path in (ROOT / "pipeline" / f"{room}.py", *(ROOT / "pipeline" / room).rglob("*.py")):
        if path.exists():
            names = {name for name in imported(path) if name.startswith("pipeline")}
            assert not {name for name in names if not f"{name}.".startswith(f"pipeline.{room}.")}, path


def test_metrics_need_numpy_only():
    for path in (ROOT / "pipeline" / "metrics").rglob("*.py"):
        packages = {name.partition(".")[0] for name in imported(path)}
        assert packages <= {"numpy", "typing", "collections", "concurrent", "pipeline"}, path


def test_models_are_pure_keras():
    """No backend by name, so that all of them run the models."""
    for path in (ROOT / "pipeline" / "models").rglob("*.py"):
        assert not {name for name in imported(path) if name.partition(".")[0] in ("tensorflow", "jax", "numpy")}, path


def test_every_stage_is_listed_and_every_listed_stage_is_there():
    runnable = {path for path in FILES if "run_stage(main)" in path.read_text(encoding="utf-8")}
    assert {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in runnable} == RUNNABLE


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_first_line_says_what_a_file_knows(path):
    documentation = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert documentation and documentation.splitlines()[0].endswith((".", ":", ";", "submit, evaluate."))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_presets_are_short(path):
    if path.parent.name == "presets":
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 60


def test_tests_mirror_the_code():
    for path in (ROOT / "tests").rglob("test_*.py"):
        relative = path.relative_to(ROOT / "tests")
        if relative.stem.removeprefix("test_") in OF_NO_MODULE:
            continue
        mirrored = ROOT / "pipeline" / relative.parent / relative.stem.removeprefix("test_")
        assert mirrored.is_dir() or mirrored.with_suffix(".py").exists(), f"{path} mirrors nothing"


def test_the_readme_names_every_stage_preset_and_model():
    from pipeline.commandline import presets
    from pipeline.models import FAMILIES

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in (*STAGES, *FAMILIES):
        assert f"`{name}`" in readme, name
    for command in COMMANDS:
        assert f"python -m pipeline.{command}" in readme, command
    for preset in set(presets()) - {"demo"}:
        assert f"--preset {preset}" in readme, preset


@pytest.mark.parametrize("script", ["run_all.sh", "run_tests.sh"])
def test_the_scripts_explain_themselves(script):
    result = subprocess.run([f"./{script}", "--help"], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0
    assert result.stdout.startswith(f"./{script} [")
