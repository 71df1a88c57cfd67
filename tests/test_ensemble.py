"""The stage on runs that are made up: what it writes, when it does nothing, and what it refuses."""

import json
import shutil

import numpy as np
import pytest
from fixtures.made_up_runs import make_index, make_run
from fixtures.support import run_here

from pipeline.artifacts.predictions import PredictionStore
from pipeline.config import ConfigError, EnsembleConfig
from pipeline.config.errors import StageError
from pipeline.ensembling.recipe import Recipe
from pipeline.inference.scoring import scores_of
from pipeline.inputs.index import Index

NOISES = {"calm": 3.0, "even": 3.2, "loud": 12.0}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    index = make_index(folder)
    for name, noise in NOISES.items():
        make_run(folder, index, name, noise, ("train", "holdout", "test"))
    return folder


@pytest.fixture
def folder(made, tmp_path):
    return shutil.copytree(made, tmp_path / "own")


def results(folder) -> dict[str, bytes]:
    ensemble = folder / "runs" / "small" / "ensemble"
    return {str(path.relative_to(ensemble)): path.read_bytes() for path in ensemble.rglob("*") if path.is_file()}


def weights(folder) -> dict:
    return json.loads((folder / "runs" / "small" / "ensemble" / "weights.json").read_text())


def blended(folder) -> list[str]:
    return sorted(path.parent.name for path in folder.glob("runs/small/ensemble/predictions/*/done.json"))


def predicted(folder, run, split) -> PredictionStore:
    return PredictionStore(folder / "runs" / "small" / run / "predictions" / split)


def gap(folder, run, split) -> float:
    index = Index.open(folder / "data" / "small" / "index")
    return scores_of(predicted(folder, run, split), index, split).whole["gap"]


def beats_every_run(folder, split) -> None:
    assert gap(folder, "ensemble", split) > 0.02 + max(gap(folder, name, split) for name in NOISES)


def test_it_beats_every_run_and_tells_how(folder, capsys):
    run_here("ensemble", folder)
    about, output = weights(folder), capsys.readouterr().out
    assert about["method"] == "coordinate" and about["combine"] == "probabilities"
    assert [member["run"] for member in about["members"]] == ["calm", "even", "loud"]
    assert about["members"][2]["weight"] < 0.2 < min(member["weight"] for member in about["members"][:2])
    index = Index.open(folder / "data" / "small" / "index")
    assert blended(folder) == ["holdout", "test"]
    for split in blended(folder):
        written = json.loads((predicted(folder, "ensemble", split).folder / "scores.json").read_text())
        assert written["whole"]["gap"] == gap(folder, "ensemble", split)
        beats_every_run(folder, split)
    first, last = about["steps"][0], about["steps"][-1]
    assert first["step"] in ("calm alone", "even alone") and last["tuned"] > first["tuned"] + 0.02
    for name, reported in about["reported"].items():
        scored = scores_of(predicted(folder, name, "holdout"), index, "holdout")
        assert reported == pytest.approx(scored.reported["gap"], abs=1e-6)
    assert last["reported"] == about["reported"]["ensemble"]
    for step in about["steps"]:
        assert step["step"] in output and f"{step['tuned']:.4f}" in output and f"{step['reported']:.4f}" in output


@pytest.mark.parametrize("combine", ["logits", "ranks"])
def test_other_scales_beat_every_run_too(folder, combine):
    run_here("ensemble", folder, "--ensemble.combine", combine, "--ensemble.method", "greedy")
    about = weights(folder)
    assert about["combine"] == combine and about["method"] == "greedy"
    assert all(bool(member.get("quantiles")) == (combine == "ranks") for member in about["members"])
    for split in blended(folder):
        beats_every_run(folder, split)


def test_what_is_stored_is_what_the_recipe_gives(folder):
    run_here("ensemble", folder, "--ensemble.combine", "ranks", "--split", "test")
    assert blended(folder) == ["test"]
    small = folder / "runs" / "small"
    recipe = Recipe.read(small / "ensemble" / "weights.json")
    whole = [list(PredictionStore(small / member.run / "predictions" / "test").read()) for member in recipe.used]
    lists = [[np.concatenate([getattr(part, what) for part in run]) for run in whole] for what in ("labels", "scores")]
    parts = list(PredictionStore(small / "ensemble" / "predictions" / "test").read())
    for what, expected in zip(("labels", "scores"), recipe.apply(*lists, 30)):
        assert np.concatenate([getattr(part, what) for part in parts]).tobytes() == expected.tobytes()


@pytest.mark.parametrize("settings", [[], ["--ensemble.method", "greedy", "--ensemble.combine", "ranks"]])
def test_the_order_of_the_runs_changes_not_a_byte(folder, settings):
    run_here("ensemble", folder, "--runs", "calm", "even", "loud", *settings)
    first = results(folder)
    shutil.rmtree(folder / "runs" / "small" / "ensemble")
    run_here("ensemble", folder, "--runs", "loud", "calm", "even", *settings)
    assert results(folder) == first and "weights.json" in first


def test_given_weights_are_those_of_the_runs_as_named(folder):
    run_here("ensemble", folder, "--runs", "loud", "calm", "--ensemble.given", "1", "3")
    about = weights(folder)
    assert about["method"] == "given"
    assert {member["run"]: member["weight"] for member in about["members"]} == {"calm": 0.75, "loud": 0.25}
    assert [step["step"] for step in about["steps"]] == ["calm alone", "given weights"]


@pytest.mark.parametrize(
    ("settings", "used"),
    [
        (["--ensemble.select", "best"], 1),
        (["--ensemble.select", "top", "--ensemble.top-runs", "2", "--ensemble.method", "equal"], 2),
        (["--ensemble.select", "top", "--ensemble.top-runs", "9", "--ensemble.method", "equal"], 3),
    ],
)
def test_runs_are_selected_by_the_half_that_is_tuned_on(folder, settings, used):
    run_here("ensemble", folder, *settings)
    about = weights(folder)
    chosen = [member["run"] for member in about["members"] if member["weight"]]
    assert len(chosen) == used and all(member["weight"] in (0, 1 / used) for member in about["members"])
    assert about["steps"][0]["step"].split()[0] in chosen and ("loud" in chosen) == (used == 3)


def test_again_is_up_to_date_and_another_method_blends_anew_and_says_so(folder, capsys):
    run_here("ensemble", folder)
    first = {path: path.stat().st_mtime_ns for path in folder.rglob("*.parquet")}
    before, output = results(folder), capsys.readouterr().out
    run_here("ensemble", folder)
    again = capsys.readouterr().out
    assert again.count("up to date") == 3 and again.splitlines()[3:] == output.splitlines()
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.parquet")} == first
    assert results(folder) == before
    run_here("ensemble", folder, "--split", "train", "test")
    assert blended(folder) == ["holdout", "test", "train"]
    assert (folder / "runs/small/ensemble/predictions/holdout/part-00000.parquet").stat().st_mtime_ns in first.values()
    capsys.readouterr()
    run_here("ensemble", folder, "--ensemble.method", "equal")
    output = capsys.readouterr().out
    assert "method: auto -> equal" in output and "train: was blended otherwise: weights.calm:" in output
    assert blended(folder) == ["holdout", "test"]  # train's were of other weights
    assert {member["weight"] for member in weights(folder)["members"]} == {1 / 3}


def test_a_run_that_predicts_anew_is_blended_anew(folder, capsys):
    run_here("ensemble", folder)
    index = Index.open(folder / "data" / "small" / "index")
    make_run(folder, index, "even", 1.0, ["test"])
    capsys.readouterr()
    before, gaps = weights(folder), {split: gap(folder, "ensemble", split) for split in blended(folder)}
    run_here("ensemble", folder)
    assert capsys.readouterr().out.count("up to date") == 2  # the weights and the hold-out
    assert gap(folder, "ensemble", "test") != gaps["test"]
    assert gap(folder, "ensemble", "holdout") == gaps["holdout"]
    make_run(folder, index, "even", 0.5, ["holdout"])
    run_here("ensemble", folder)
    assert "even changed" in capsys.readouterr().out
    assert weights(folder)["members"][1]["weight"] > before["members"][1]["weight"]


def test_a_killed_blend_goes_on(folder):
    run_here("ensemble", folder)
    expected = results(folder)
    store = folder / "runs" / "small" / "ensemble" / "predictions" / "test"
    (store / "done.json").unlink()
    (store / "part-00001.parquet").unlink()
    kept = (store / "part-00000.parquet").stat().st_mtime_ns
    run_here("ensemble", folder)
    assert results(folder) == expected and (store / "part-00000.parquet").stat().st_mtime_ns == kept


def test_without_labels_to_tune_on_weights_are_equal_and_it_says_so(tmp_path, capsys):
    index = make_index(tmp_path, holdout_percent=0)
    for name in ("one", "two"):
        make_run(tmp_path, index, name, 1.0, ["test"])
    run_here("ensemble", tmp_path)
    assert "too few labels to tune" in capsys.readouterr().out
    about = weights(tmp_path)
    assert [member["weight"] for member in about["members"]] == [0.5, 0.5] and about["method"] == "equal"
    assert about["steps"] == [] and about["reported"] == {} and blended(tmp_path) == ["test"]
    for settings in (["--ensemble.method", "greedy"], ["--ensemble.select", "best"]):
        with pytest.raises(StageError, match="too few labels to choose by"):
            run_here("ensemble", tmp_path, *settings)
    with pytest.raises(StageError, match="one, two; run infer"):
        run_here("ensemble", tmp_path, "--ensemble.combine", "ranks")
    assert weights(tmp_path) == about


def test_a_split_that_a_run_has_not_predicted_is_named(folder, capsys):
    shutil.rmtree(folder / "runs" / "small" / "even" / "predictions" / "test")
    run_here("ensemble", folder)
    assert "test is left out: not predicted by even; run infer" in capsys.readouterr().out
    with pytest.raises(StageError, match="test is not predicted by even: run infer --split test"):
        run_here("ensemble", folder, "--split", "test")
    shutil.rmtree(folder / "runs" / "small" / "loud" / "predictions" / "holdout")
    with pytest.raises(StageError, match="have not predicted the hold-out: loud; run infer"):
        run_here("ensemble", folder)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--runs", "calm", "calm"], "two of one name"),
        (["--runs", "calm", "nobody"], "nobody is not a run; runs of preset small: calm, even, loud"),
        (["--runs", "calm", "even", "--ensemble.given", "1"], "1 weight for 2 --runs"),
        (["--ensemble.given", "1", "1", "1"], "3 weights for 0 --runs"),
        (["--split", "nothing"], "nothing is not predicted by"),
    ],
)
def test_what_cannot_be_blended_is_refused(folder, arguments, message):
    with pytest.raises(StageError, match=message):
        run_here("ensemble", folder, *arguments)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "given"}, "belong together"),
        ({"method": "greedy", "given": (1.0,)}, "belong together"),
        ({"given": (1.0, -1.0)}, r"ensemble.given\[1\] must be from 0 to 1,000,000, not -1.0"),
        ({"given": (0.0, 0.0)}, "not be all 0"),
        ({"given": (float("nan"),)}, r"ensemble.given\[0\] must be from 0 to 1,000,000, not nan"),
        ({"given": (1.0,), "select": "best"}, "leave out ensemble.select"),
        ({"select": "best", "method": "greedy"}, "weighs several"),
        ({"select": "top"}, "belong together"),
        ({"top_runs": 3}, "belong together"),
        ({"select": "top", "top_runs": 0}, "top-runs must be from 1 to 10,000 runs, not 0"),
        ({"top_k": 0}, "top-k must be from 1 to 100,000 labels, not 0"),
    ],
)
def test_settings_that_would_do_nothing_or_cannot_be_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        EnsembleConfig(**settings)


def test_other_videos_are_refused_by_the_folder_that_holds_them(folder):
    predictions = folder / "runs" / "small" / "even" / "predictions"
    shutil.rmtree(predictions / "test")
    shutil.copytree(predictions / "train", predictions / "test")
    with pytest.raises(StageError, match="even/predictions/test holds other videos than test of"):
        run_here("ensemble", folder)


def test_as_a_user_runs_it(folder, stage):
    preset = ("--preset", folder / "small.py")
    done = stage("ensemble", *preset, folder=folder)
    assert "hold-out GAP@20" in done.stdout and "3 runs blended on holdout, test" in done.stdout
    refused = stage("ensemble", *preset, "--runs", "ensemble", folder=folder, check=False)
    assert refused.returncode == 1 and "the blend itself" in refused.stderr and "Traceback" not in refused.stderr
