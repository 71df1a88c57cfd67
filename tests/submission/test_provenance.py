"""Where a result comes from: commands that give the settings of a run again, the commit, the packages."""

import dataclasses
import gzip
import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fixtures.support import ROOT, SMALL, stage_environment, write_shard

from pipeline import train
from pipeline.artifacts.done import Done, digest_json
from pipeline.artifacts.files import write_json
from pipeline.artifacts.predictions import Predictions, PredictionStore
from pipeline.cli.parsing import parse_flags
from pipeline.config import to_dict
from pipeline.inputs.index import Index, Source
from pipeline.inputs.index.build import write_index
from pipeline.inputs.index.check import check_shard
from pipeline.submission import provenance

SECTIONS = ("sampling", "pooling", "classifier", "training", "inference")


def config_of(arguments: list[str]) -> dict:
    """What train would write for these flags, but for the data."""
    _, experiment = parse_flags(train.Flags, SECTIONS, arguments)
    return {name: to_dict(getattr(experiment, name)) for name in ("sampling", "model", "training")}


def put_run(folder, arguments: list[str], splits=(), **more):
    config = {"preset": "demo", **config_of(arguments), **more, "inputs": {}}
    write_json(folder / "config.json", config)
    write_json(folder / "summary.json", {"best": {"gap": 0.5}})
    Done(config, {}, f"model of {folder.name}").write(folder)
    for split, inference in splits:
        Done({"sampling": [], **inference}, {}, f"{split} of {folder.name}").write(folder / "predictions" / split)
    return folder


@pytest.mark.parametrize(
    "flags",
    [
        "--model average",
        "--model netvlad --pooling.clusters 8 4 --training.learning-rate 1e-05 --training.epochs 2.5",
        "--model second_order --pooling.democratic --classifier.gating none --sampling.frames 7 --training.seed 3",
        "--model netvlad --training.teacher ensemble --classifier.head-hidden 16 8 --training.precision float32",
        "--model nextvlad --classifier.no-input-batch-norm --sampling.train random_frames",
    ],
)
def test_the_command_of_a_run_gives_its_settings_again(tmp_path, flags):
    flags = flags.split(" ")
    run = put_run(tmp_path / "demo" / "mine", flags)
    (line,) = provenance.commands_to_reproduce(run, "demo", "test")
    start, arguments = shlex.split(line)[:3], shlex.split(line)[3:]
    assert start == ["python", "-m", "pipeline.train"]
    assert arguments[:6] == ["--preset", "demo", "--model", flags[1], "--run", "mine"]
    assert config_of(arguments) == config_of(flags)
    if len(flags) == 2:
        assert len(arguments) == 6


def test_predictions_of_other_settings_are_told(tmp_path):
    splits = {"test": {"top_k": 24, "videos_per_part": 8192}, "holdout": {"top_k": 256, "videos_per_part": 8192}}
    run = put_run(tmp_path / "demo" / "mine", ["--model", "average"], {**splits, "train": splits["test"]}.items())
    _, holdout, test = provenance.commands_to_reproduce(run, "demo", "test")
    assert holdout == "python -m pipeline.infer --preset demo --run mine --split holdout"
    assert test == "python -m pipeline.infer --preset demo --run mine --split test --inference.top-k 24"


def test_a_soup_is_made_of_its_runs(tmp_path):
    for name, seed in (("one", "1"), ("two", "2")):
        put_run(tmp_path / "demo" / name, ["--model", "average", "--training.seed", seed])
    flags = ["--model", "average", "--training.seed", "1"]
    soup = put_run(tmp_path / "demo" / "one-soup", flags, soup={"method": "uniform", "runs": ["one", "two"]})
    lines = [
        line.removeprefix("python -m pipeline.") for line in provenance.commands_to_reproduce(soup, "demo", "test")
    ]
    assert lines == [
        "train --preset demo --model average --run one --training.seed 1",
        "train --preset demo --model average --run two --training.seed 2",
        "soup --preset demo --run one --runs two --method uniform",
    ]


def test_a_run_is_described_by_its_settings_and_digests_without_folders(tmp_path):
    run = put_run(tmp_path / "demo" / "mine", ["--model", "average"], [("test", {})])
    about = provenance.describe_run(run, "test")
    mine = about["runs"]["mine"]
    assert about["predictions"] == mine["predictions"] == "test of mine" and mine["model"] == "model of mine"
    assert mine["config_hash"] == digest_json(mine["config"]) and mine["summary"]["best"] == {"gap": 0.5}
    assert str(tmp_path) not in str(about)


def test_a_preset_in_a_file_is_named_without_this_machines_folders():
    assert (
        provenance.stage_command_line("infer", "/home/me/my preset.py")
        == "python -m pipeline.infer --preset 'my preset.py'"
    )
    assert provenance.stage_command_line("infer", "mine/p.py", "-x") == "python -m pipeline.infer --preset mine/p.py -x"


def test_the_commit_and_whether_files_differ(tmp_path):
    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
        result = subprocess.run(
            ["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True
        )
        return result.stdout.strip()

    assert provenance.git_commit(tmp_path) is None
    git("init")
    assert provenance.git_commit(tmp_path) is None  # nothing committed yet
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "file").write_text("1")
    git("add", ".")
    git("commit", "-m", "one")
    assert provenance.git_commit(tmp_path) == {"commit": git("rev-parse", "HEAD"), "dirty": False}
    assert (
        provenance.git_commit(tmp_path / "inner") is None
    )  # the project would lie inside a checkout of something else
    (tmp_path / "inner" / "file").write_text("2")
    assert provenance.git_commit(tmp_path)["dirty"] is True


def test_git_may_be_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance.git_commit(ROOT) is None


def test_packages_are_those_that_are_installed(monkeypatch):
    monkeypatch.setattr(provenance, "_PACKAGES", ("numpy", "no-such-package"))
    assert provenance.describe_environment()["packages"] == {"numpy": np.__version__}


# ---------------------------------------------------------------------------------------------------------- submissions

HALF = dataclasses.replace(SMALL, name="half", holdout_percent=50)
PRESET = f"""from pipeline.config import *
MODELS = ("average",)
def experiment(model):
    return Experiment({HALF!r}, ModelConfig(model, POOLING[model]()))
"""


def predict(run: Path, index: Index, seed: int) -> None:
    """What infer leaves behind: scores drawn from a seed, better than chance."""
    chance = np.random.default_rng(seed)
    for split in ("holdout", "test"):
        rows = index.rows(split)
        values, offsets = index.labels_of(rows)
        scores = chance.random((len(rows), HALF.num_classes), np.float32) * 0.8
        scores[np.repeat(np.arange(len(rows)), np.diff(offsets)), values] += np.float32(0.15)
        labels = np.argsort(-scores, axis=1)
        best = Predictions(index.ids_of(rows), labels, np.take_along_axis(scores, labels, axis=1))
        store = PredictionStore(run / "predictions" / split)
        for number, part in store.begin({}, {}, len(rows), 16):
            store.write(number, Predictions(*(each[part.start : part.stop] for each in best)))
        inputs = {"index": index.digest, "model": Done.read(run).output}
        store.finish({"top_k": 100, "videos_per_part": 8192}, inputs)


def follow(line: str, folder: Path) -> str:
    """Run a command of a JSON where its user would: in the preset's folder."""
    start, *arguments = shlex.split(line)
    assert start == "python"
    environment = {**stage_environment(folder), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True).stdout


@pytest.mark.wide
def test_the_commands_of_a_submission_make_the_same_bytes(tmp_path, stage):
    (tmp_path / "half.py").write_text(PRESET)
    folder, sources = tmp_path / "data" / "half" / "index", []
    for split, videos in (("train", range(60)), ("test", range(60, 100))):
        sources.append(Source(tmp_path / "raw" / f"{split}.tfrecord", split))
        write_shard(sources[-1].path, videos)
    folder.mkdir(parents=True)
    write_index(folder, HALF, sources, [check_shard(source.path, HALF) for source in sources])
    for seed, name in enumerate(("one", "two", "three")):
        run = put_run(tmp_path / "runs" / "half" / name, ["--preset", str(tmp_path / "half.py")])
        predict(run, Index.open(folder), seed)
    arguments = ["--preset", tmp_path / "half.py", "--ensemble.combine", "logits"]
    stage("ensemble", *arguments, "--ensemble.top-k", "9")
    stage("submit", *arguments[:2], "--run", "ensemble", "--submission.top-k", "7")
    (csv,), (about,) = ((tmp_path / "submissions").glob(f"half-*.{kind}") for kind in ("csv", "json"))
    content, told = csv.read_bytes(), json.loads(about.read_text())
    weights = json.loads((tmp_path / "runs" / "half" / "ensemble" / "weights.json").read_text())
    for member in weights["members"]:
        del member["path"]
    assert told["recipe"] == weights and set(told["runs"]) == {"one", "two", "three"}
    assert told["sha256"].startswith(csv.stem.removeprefix("half-")) and told["packages"]["numpy"] == np.__version__
    assert str(tmp_path) not in about.read_text()

    shutil.rmtree(tmp_path / "runs" / "half" / "ensemble")
    shutil.rmtree(tmp_path / "submissions")
    stages = [line.split(" ")[2] for line in told["commands"]]
    assert stages == [*["pipeline.train", "pipeline.infer"] * 3, "pipeline.ensemble", "pipeline.submit"]
    for line in told["commands"][-2:]:
        follow(line, tmp_path)
    assert csv.read_bytes() == content
    assert json.loads(about.read_text()) == told
    follow(f"{told['commands'][-1]} --submission.gzip", tmp_path)
    assert gzip.decompress(csv.with_suffix(".csv.gz").read_bytes()) == content


@pytest.mark.long
def test_everything_is_made_again_from_the_index(tmp_path, tiny_preset):
    preset = shutil.copy(tiny_preset, tmp_path)
    command = [sys.executable, "-m", "pipeline.run_all", "--preset", preset, "--training.epochs", "2"]
    subprocess.run(command, cwd=ROOT, env=stage_environment(tmp_path), check=True, capture_output=True)
    follow(f"python -m pipeline.submit --preset {Path(preset).name} --run ensemble", tmp_path)
    files = {path.name: path.read_bytes() for path in (tmp_path / "submissions").glob("*.csv")}
    told = [json.loads(path.read_text()) for path in (tmp_path / "submissions").glob("*.json")]
    for folder in ("runs", "submissions"):
        shutil.rmtree(tmp_path / folder)
    for line in dict.fromkeys(line for about in told for line in about["commands"]):
        follow(line, tmp_path)
    assert {path.name: path.read_bytes() for path in (tmp_path / "submissions").glob("*.csv")} == files
