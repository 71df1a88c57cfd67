"""The project as a package: what a wheel of it holds, and the command that an installation has."""

import importlib
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from fixtures.support import ROOT, TINY, stage_environment

UV = Path(sys.executable).with_name("uv")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([UV, "build", "--quiet", "--offline", "--wheel", "--out-dir", folder, ROOT], check=True)
    (path,) = folder.glob("*.whl")
    return path


def test_a_wheel_holds_every_file_of_the_package_and_nothing_else(wheel):
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "pipeline"], cwd=ROOT, capture_output=True)
    ours = {name for name in listed.stdout.decode().splitlines() if (ROOT / name).exists()}
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if not name.endswith("/") and ".dist-info/" not in name}
    assert held == ours
    assert {"pipeline/reporting/page.html", "pipeline/runtime/keras_home/keras.json"} <= held


def command(monkeypatch, capsys, *arguments: str) -> str:
    """What `learnable-pooling` prints, in this process."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        module, _, name = tomllib.load(file)["project"]["scripts"]["learnable-pooling"].partition(":")
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/learnable-pooling", *arguments])
    try:
        getattr(importlib.import_module(module), name)()
    except SystemExit as end:
        assert not end.code, capsys.readouterr().err
    return capsys.readouterr().out


def test_the_command_lists_the_stages_and_runs_them(monkeypatch, capsys):
    assert "synthesize" in command(monkeypatch, capsys)
    assert command(monkeypatch, capsys, "submit", "--help").startswith("usage: python -m pipeline.submit")


@pytest.mark.parametrize(
    ("argv0", "watched"), [("/somewhere/bin/learnable-pooling", True), ("-m", True), ("/somewhere/pytest", False)]
)
def test_the_command_is_stopped_by_signals_from_its_beginning(argv0, watched, monkeypatch):
    calls = []
    monkeypatch.setattr("pipeline.runtime.signals.watch", lambda: calls.append(argv0))
    monkeypatch.setattr(sys, "argv", [argv0])
    exec(compile((ROOT / "pipeline" / "__init__.py").read_text(), "pipeline", "exec"), {})
    assert bool(calls) == watched


@pytest.mark.long
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_a_wheel_runs_the_demo_in_a_clean_environment(backend, wheel, tmp_path):
    """It loads what uv.lock pins of this backend alone, from the package index or uv's cache."""
    python = tmp_path / "environment" / "bin" / "python"
    subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, python.parents[1]], check=True)
    export = [UV, "export", "--quiet", "--frozen", "--no-emit-project", "--no-hashes", "--extra", backend]
    pins = tmp_path / "pins.txt"
    pins.write_bytes(subprocess.run(export, cwd=ROOT, check=True, capture_output=True).stdout)
    install = [UV, "pip", "install", "--quiet", "--python", python, "--constraint", pins]
    subprocess.run([*install, f"{wheel}[{backend}]"], cwd=tmp_path, check=True)
    names = subprocess.run([UV, "pip", "list", "--python", python], cwd=tmp_path, capture_output=True, text=True).stdout
    assert ("tensorflow " in names) == (backend == "tensorflow")
    (tmp_path / "tiny.py").write_text(TINY)
    environment = stage_environment(tmp_path) | {"KERAS_BACKEND": backend}
    environment.pop("PYTHONPATH", None)
    result = subprocess.run(
        [python.with_name("learnable-pooling"), "run_all", "--preset", "tiny.py", "--models", "average"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"{backend} on " in result.stdout
    (csv,) = (tmp_path / "submissions").glob("tiny-*.csv")
    page = (tmp_path / "reports" / "tiny.html").read_text(encoding="utf-8")
    assert csv.stat().st_size and "<style>" in page
