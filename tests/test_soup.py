"""The soup of a run: its weights and scores by another way, what makes it stale, what is refused."""

import json
import shutil

import numpy as np
import pytest
from fixtures.support import run_here, small_preset, train_here

from pipeline.artifacts.files import write_json
from pipeline.artifacts.locks import locked
from pipeline.artifacts.models import digest_model, list_snapshots
from pipeline.artifacts.predictions import PredictionStore
from pipeline.config import ClassifierConfig, InferenceConfig, TrainingConfig
from pipeline.config.errors import StageError
from pipeline.inference.scoring import scores_of
from pipeline.inputs.index import Index
from pipeline.models import load_model

PRESET = small_preset(
    TrainingConfig(batch_size=8, epochs=5, learning_rate=0.02, decay="constant", snapshots=3),
    InferenceConfig(batch_size=8),
    ClassifierConfig(hidden=8, dropout=0.2),
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Runs `average` and `twin`, of the same weights, which have kept three snapshots each."""
    folder = tmp_path_factory.mktemp("soup")
    train_here(folder, PRESET)
    shutil.copytree(runs(folder) / "average", runs(folder) / "twin")
    return folder


@pytest.fixture
def folder(trained, tmp_path):
    """A copy that a test may change; what trained it is done still."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    return tmp_path


def runs(folder):
    return folder / "runs" / "small"


def summary(folder, run) -> dict:
    return json.loads((runs(folder) / run / "summary.json").read_text())


def gap_of(folder, run) -> float:
    """Predicted and scored as any run is."""
    run_here("infer", folder, "--run", run, "--split", "holdout")
    store = PredictionStore(runs(folder) / run / "predictions" / "holdout")
    return scores_of(store, Index.open(folder / "data" / "small" / "index"), "holdout").whole["gap"]


@pytest.mark.wide
def test_uniform_is_the_mean_of_the_snapshots(folder):
    trained = summary(folder, "average")
    long_ago = {**trained["origin"], "ended": "2001-01-01T00:00:00+00:00"}
    write_json(runs(folder) / "average" / "summary.json", {**trained, "origin": long_ago})
    run_here("soup", folder, "--method", "uniform")
    soup = runs(folder) / "average-soup"
    members = [load_model(path) for path in list_snapshots(runs(folder) / "average")]
    assert len(members) == 3
    averaged = load_model(soup / "model.keras")
    for weight, *all_weights in zip(averaged.weights, *(member.get_weights() for member in members), strict=True):
        np.testing.assert_allclose(weight, np.mean(np.float64(all_weights), axis=0), rtol=1e-6, err_msg=weight.path)
    statistics = [weight for weight in averaged.weights if "moving_variance" in weight.path]
    assert len(statistics) == 4
    seeds = [variable for variable in averaged.variables if "seed" in variable.path]
    assert len(seeds) == 1
    about = summary(folder, "average-soup")
    assert set(about["origin"]) == set(trained["origin"]) == {"git", "machine", "ended"}
    assert about["origin"]["ended"] >= trained["origin"]["ended"], "its own"
    assert about["best"]["gap"] == pytest.approx(gap_of(folder, "average-soup"), abs=1e-6)
    assert about["soup"]["gap_before"] == summary(folder, "average")["best"]["gap"]
    assert about["soup"]["gap_after"] == about["best"]["gap"]
    config, source = (json.loads((runs(folder) / run / "config.json").read_text()) for run in (soup.name, "average"))
    assert config.pop("soup") == {"method": "uniform", "runs": ["average"]}
    assert config.pop("inputs").keys() == {"index", *about["soup"]["members"]}
    source.pop("inputs")
    assert config == source


def test_greedy_is_never_below_the_best(folder):
    run_here("soup", folder, "--runs", "twin")
    about = summary(folder, "average-soup")["soup"]
    own = [name for name in about["members"] if name.startswith("average/")]
    best = max(summary(folder, run)["best"]["gap"] for run in ("average", "twin"))
    assert len(own) in (3, 4) and len(about["members"]) == 2 * len(own)
    assert about["gap_before"] == best
    assert about["gap_after"] == pytest.approx(gap_of(folder, "average-soup"), abs=1e-6)
    assert about["gap_after"] >= best - 1e-6
    assert about["taken"][0]["gap"] == pytest.approx(best, abs=1e-6)
    reached = [each["gap_with_it"] for each in about["taken"]]
    assert reached == sorted(reached) and reached[-1] == pytest.approx(about["gap_after"], abs=1e-6)


def test_the_best_model_is_a_member_where_its_snapshot_is_gone(folder):
    """Equal weights are one member; the best evaluation may be older than the last ones."""
    run = runs(folder) / "average"
    for path in list_snapshots(run):
        if digest_model(path) == digest_model(run / "model.keras"):
            path.unlink()
    run_here("soup", folder)
    assert "average/best" in summary(folder, "average-soup")["soup"]["members"]


def test_it_is_made_once_and_again_when_something_changed(folder, stage, capsys):
    run_here("soup", folder, "--method", "uniform")
    run_here("infer", folder, "--run", "average-soup", "--split", "holdout")
    soup = runs(folder) / "average-soup"
    before = {path: path.read_bytes() for path in soup.rglob("*") if path.is_file()}
    preset = ("--preset", folder / "small.py")
    again = stage("soup", *preset, "--method", "uniform", folder=folder)
    assert again.stdout == f"{soup}: up to date\n"
    assert {path: path.read_bytes() for path in soup.rglob("*") if path.is_file()} == before
    list_snapshots(runs(folder) / "average")[0].unlink()
    capsys.readouterr()
    run_here("soup", folder, "--method", "uniform")
    printed = capsys.readouterr().out
    assert f"{soup} is made again: average/step-" in printed
    assert not (soup / "predictions").exists(), "they were another model's"
    with pytest.raises(StageError, match=r"made with other settings: soup:"):
        run_here("train", folder, "--run", "average-soup")


def test_what_has_nothing_to_average_is_refused(folder):
    with pytest.raises(StageError, match="not a run; runs of preset small: average, twin"):
        run_here("soup", folder, "--run", "nobody")
    shutil.copytree(runs(folder) / "twin", runs(folder) / "other")
    shutil.rmtree(runs(folder) / "other" / "snapshots")
    with pytest.raises(StageError, match=r"other has kept no snapshots: train it with --training.snapshots N"):
        run_here("soup", folder, "--run", "other")
    edit(runs(folder) / "other", "model", "family", "dbof")
    with pytest.raises(StageError, match=r"other is not of the architecture of .*average: model.family: average -> db"):
        run_here("soup", folder, "--runs", "other")
    with pytest.raises(StageError, match="one name"):
        run_here("soup", folder, "--runs", "average")
    (runs(folder) / "ensemble").mkdir()
    (runs(folder) / "ensemble" / "weights.json").write_text("{}")
    with pytest.raises(StageError, match="is a blend of runs"):
        run_here("soup", folder, "--run", "ensemble")
    (runs(folder) / "average").rename(runs(folder) / "twin-soup")
    with pytest.raises(StageError, match=r"twin-soup is a run that train made"):
        run_here("soup", folder, "--run", "twin")
    (runs(folder) / "twin" / "done.json").unlink()
    with pytest.raises(StageError, match="not trained to its end"):
        run_here("soup", folder, "--run", "twin")


def test_no_run_changes_while_it_is_averaged(folder, monkeypatch):
    for run in ("average", "twin"):
        with locked(runs(folder) / run), pytest.raises(StageError, match=rf"another process is at work on .*{run}"):
            run_here("soup", folder, "--runs", "twin")

    def unfinished(place):  # what was found before the lock is no longer so
        (place / "done.json").unlink(missing_ok=True)
        return locked(place)

    monkeypatch.setattr("pipeline.soup.locked", unfinished)
    with pytest.raises(StageError, match="average is not trained to its end"):
        run_here("soup", folder)


def test_without_a_hold_out_only_uniform(folder):
    (folder / "small.py").write_text(PRESET.replace("holdout_percent=40", "holdout_percent=0"))
    run_here("ingest", folder, "--raw", f"train={folder}/raw", "--workers", 1)
    with pytest.raises(StageError, match=r"not trained on the index .* as it is now: train it anew"):
        run_here("soup", folder, "--method", "uniform")
    index = Index.open(folder / "data" / "small" / "index")
    edit(runs(folder) / "average", "inputs", "index", index.digest)  # as if it had been
    with pytest.raises(StageError, match=r"greedy chooses by the hold-out, and .* has none: choose --method uniform"):
        run_here("soup", folder)
    run_here("soup", folder, "--method", "uniform")
    about = summary(folder, "average-soup")
    assert about["best"] == {"step": about["steps"]}
    assert about["soup"]["gap_before"] is about["soup"]["gap_after"] is None


def edit(run, section, name, value) -> None:
    path = run / "config.json"
    config = json.loads(path.read_text())
    config[section][name] = value
    path.write_text(json.dumps(config))
