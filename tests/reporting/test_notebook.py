"""The notebooks: they define nothing, keep no outputs, and run on artifacts; and what they are made with."""

import ast
import json
import re

import nbformat
import numpy as np
import pytest
from fixtures.made_up_runs import DATASET, give_model, make_index, make_run
from fixtures.support import ROOT, name_classes, run_here, stage_environment
from nbclient import NotebookClient

from pipeline.artifacts.files import write_json
from pipeline.config import AverageConfig, ClassifierConfig, Experiment, ModelConfig, NetVLADConfig, to_dict
from pipeline.config.errors import StageError
from pipeline.inputs.index import HOLDOUT
from pipeline.reporting import card, figures, heat
from pipeline.reporting.notebook import Artifacts, Pictures

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MODELS = {
    "average": ModelConfig("average", AverageConfig(), ClassifierConfig(hidden=4)),
    "netvlad": ModelConfig("netvlad", NetVLADConfig((4, 2)), ClassifierConfig(hidden=4)),
}
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
NAME = "Tom & <Jerry>"
every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def test_the_notebooks_that_there_are():
    assert [path.stem for path in NOTEBOOKS] == ["00-start-here", "01-data", "02-results", "03-what-the-models-look-at"]


@every_notebook
def test_they_define_nothing(path):
    for cell in nbformat.read(path, 4).cells:
        if cell.cell_type == "code":
            for node in ast.walk(ast.parse(cell.source)):
                assert not isinstance(node, DEFINITIONS), cell.source


@every_notebook
def test_they_are_stored_without_outputs(path):
    notebook = nbformat.read(path, 4)
    nbformat.validate(notebook)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert set(notebook.metadata.language_info) == {"name"}, "whose Python it was"
    for cell in notebook.cells:
        assert not cell.metadata
        if cell.cell_type == "code":
            assert cell.outputs == [] and cell.execution_count is None


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """All that the notebooks read, without a training: runs of models as they begin, with predictions made up."""
    import keras

    from pipeline.models import build_model

    folder = tmp_path_factory.mktemp("artifacts")
    index = make_index(folder)
    card.write_card(index.folder / card.NAME, index.summary)
    name_classes(index.folder, [NAME if label == 5 else f"name {label}" for label in range(DATASET.num_classes)])
    keras.utils.set_random_seed(0)
    for (name, model), noise in zip(MODELS.items(), (3.0, 2.0)):
        run = make_run(folder, index, name, noise)
        config = to_dict(Experiment(DATASET, model))
        sections = ("dataset", "sampling", "model", "training")
        config = {section: config[section] for section in sections} | {"inputs": {"index": index.digest}}
        write_json(run / "config.json", config)
        write_json(run / "summary.json", {"parameters": 1234, "examples_per_second": 5.0})
        records = [{"step": step, "loss": 9 / step, "gap": 0.1 * step} for step in (1, 2, 3)]
        (run / "metrics.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in records))
        give_model(run, build_model(model, DATASET))
    run_here("ensemble", folder)
    return folder


@pytest.fixture(scope="module")
def shown(folder):
    """Name of a notebook -> the outputs of its cells. All run in one kernel, emptied in between: it starts once.

    The first one makes artifacts and shows none: tests/test_start_here.py runs it.
    """
    cells, ends = [], []
    for path in NOTEBOOKS[1:]:
        own = nbformat.read(path, 4).cells
        for cell in own:
            cell.id = f"{path.stem[:2]}-{cell.id}"
        cells += [*own, nbformat.v4.new_code_cell("%reset -f")]
        ends.append(len(cells))
    whole = nbformat.v4.new_notebook(cells=cells)
    client = NotebookClient(whole, timeout=300, resources={"metadata": {"path": str(ROOT / "notebooks")}})
    client.execute(env={**stage_environment(folder), "PRESET": str(folder / "small.py")})
    return {
        path.stem: [output for cell in whole.cells[start:end] for output in cell.get("outputs", [])]
        for path, start, end in zip(NOTEBOOKS[1:], [0, *ends], ends)
    }


def text_of(outputs) -> str:
    found = []
    for output in outputs:
        data = output.get("data", {})
        found.append(output.get("text") or data.get("text/html") or data.get("image/svg+xml") or data["text/plain"])
    return "\n".join(found)


@pytest.mark.wide
def test_they_run_without_a_warning(shown):
    for outputs in shown.values():
        assert len(outputs) > 5
        for output in outputs:
            assert output.output_type in ("display_data", "execute_result") or output.name == "stdout", output


@pytest.mark.wide
def test_they_show_what_the_artifacts_hold(folder, shown, monkeypatch):
    for variable, value in stage_environment(folder).items():
        monkeypatch.setenv(variable, value)
    artifacts = Artifacts.of(str(folder / "small.py"))
    index = artifacts.index
    data, results, looks = (text_of(shown[path.stem]) for path in NOTEBOOKS[1:])
    for split, count in index.splits.items():
        assert re.search(rf">{split}</th>\s*<td[^>]*>{count}</td>", data), split
    assert f"small: train {index.splits['train']}, holdout" in data, "the card"
    for name in ("average", "netvlad", "ensemble", "label priors"):
        assert re.search(rf">{name}</th>", results), name
    for run in artifacts.runs(HOLDOUT):
        assert f"{run.score('holdout'):.4f}" in results and f"{run.score('test'):.4f}" in results
    assert "netvlad: rgb 4, audio 2 clusters or heads" in looks, "the best run"
    assert "average, rgb" in looks and "netvlad, audio" in looks


@pytest.mark.wide
def test_names_of_strangers_are_escaped(shown):
    for outputs in shown.values():
        for output in outputs:
            assert NAME not in output.get("data", {}).get("text/html", "")


def test_artifacts_that_are_not_there(folder, tmp_path, monkeypatch):
    for variable, value in stage_environment(tmp_path).items():
        monkeypatch.setenv(variable, value)
    monkeypatch.delenv("PRESET", raising=False)
    with pytest.raises(
        StageError, match=r"data/demo/index is not there: `./run_all.sh --preset demo` makes everything"
    ):
        Artifacts.of()
    preset = str(folder / "small.py")
    monkeypatch.setenv("PRESET", preset)
    monkeypatch.setenv("PIPELINE_DATA", str(folder / "data"))
    artifacts = Artifacts.of()
    assert artifacts.names[5] == NAME
    with pytest.raises(StageError, match=rf"runs/small has predicted holdout: `./run_all.sh --preset {preset}` makes"):
        artifacts.runs(HOLDOUT)


def test_runs_come_best_first(folder, monkeypatch):
    for variable, value in stage_environment(folder).items():
        monkeypatch.setenv(variable, value)
    runs = Artifacts.of(str(folder / "small.py")).runs(HOLDOUT)
    assert {run.name for run in runs} == {*MODELS, "ensemble"}
    assert [run.score("holdout") for run in runs] == sorted((run.score("holdout") for run in runs), reverse=True)


def test_pictures_bring_their_colors():
    """Whatever color and class of the page they use is defined beside them."""
    pictures = [
        heat.heat_map(np.random.default_rng(0).normal(size=(9, 3)), NAME),
        figures.plot_ensemble_steps("GAP@20", [0.1, 0.2, 0.3], [0.1, 0.2, 0.2]),
    ]
    html = Pictures(*pictures, captions=[NAME], key=["one", NAME])._repr_html_()
    rules, _, body = html.partition("</style>")
    assert all(str(picture) in body for picture in pictures)
    assert NAME not in html and body.count("Tom &amp; &lt;Jerry&gt;") == 3
    used = set(re.findall(r"var\((--\w+)\)", html))
    assert used and used <= set(re.findall(r"(--\w+):", rules))
    for name in set(re.findall(r'class="(\w+)"', body)) - {"heat", "pictures"}:
        assert f".{name} {{" in rules, name
    assert all(
        rule.strip().startswith((".pictures", "background", "display", "--", "}", "color-scheme"))
        for rule in rules.removeprefix("<style>").splitlines()
        if rule.strip()
    ), "nothing else of the notebook changes"
