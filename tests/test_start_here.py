"""notebooks/00-start-here.ipynb, cell by cell, on Kaggle and on Colab: in folders laid out as theirs are."""

import os
import shutil
import subprocess
from pathlib import Path

import nbformat
import pytest
from fixtures.support import ROOT
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError


def run_cells(folder: Path, work: Path, arguments: list[str], repository: str = "") -> str:
    """Return what the notebook prints, where /kaggle and /content lie in `folder`; the kernel starts in `work`."""
    notebook = nbformat.read(ROOT / "notebooks" / "00-start-here.ipynb", 4)
    for cell in notebook.cells:
        for place in ("/kaggle", "/content"):
            cell.source = cell.source.replace(f'"{place}', f'"{folder}{place}')
        cell.source = cell.source.replace('REPOSITORY = ""', f"REPOSITORY = {repository!r}")
        cell.source = cell.source.replace('["--preset", "demo"]', repr(arguments))
    client = NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(work)}})
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PIPELINE_")}
    client.execute(env=environment)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(output.get("text") or output["data"]["text/plain"] for output in outputs)


def attach(target: Path) -> None:
    """Copy what a clone would hold."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    for name in subprocess.run(listed, cwd=ROOT, check=True, capture_output=True).stdout.decode().split("\0"):
        if name and not name.startswith(("tests/", "benchmarks/", "docs/")) and (ROOT / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target / name)


def files_of(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts}


@pytest.mark.wide
def test_on_kaggle(tiny_preset, tmp_path):
    project, work = tmp_path / "kaggle" / "input" / "pooling" / "learnable-pooling", tmp_path / "kaggle" / "working"
    attach(project)
    work.mkdir()
    before = files_of(project)
    told = run_cells(tmp_path, work, ["--preset", str(tiny_preset), "--models", "average", "--training.epochs", "1"])
    assert f"the project is {project}; results go to {work}" in told and "nothing, all is here" in told
    assert "Stage 2 of 8: ingest" in told and "all stages in" in told and "best score" in told
    (csv,) = (work / "submissions").glob("*.csv")
    assert f"{csv}: 40 rows" in told and told.splitlines()[-6].split() == ["VideoId", "LabelConfidencePairs"]
    assert files_of(project) == before, "what is attached can only be read"
    assert {path.name for path in work.iterdir()} == {"data", "runs", "submissions", "reports"}


@pytest.mark.wide
def test_on_colab_it_is_cloned(tmp_path):
    (tmp_path / "content").mkdir()
    with pytest.raises(CellExecutionError, match="attach the project as a dataset, or set REPOSITORY above"):
        run_cells(tmp_path, tmp_path / "content", ["--models", "nonsense"])
    with pytest.raises(CellExecutionError, match="unknown model 'nonsense'"):
        run_cells(tmp_path, tmp_path / "content", ["--models", "nonsense"], str(ROOT))
    assert (tmp_path / "content" / "learnable-pooling" / "pipeline" / "run_all.py").is_file()
