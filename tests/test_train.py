"""Training by a teacher: what it needs first, what of the teacher is remembered, when the run is stale."""

import dataclasses
import json
import re
import shutil

import pytest
from support import SMALL, run_here, write_shard

from pipeline.artifacts import StageError

PRESET = f"""from pipeline.config import *
MODELS = ("average",)
def experiment(model):
    return Experiment(
        {dataclasses.replace(SMALL, holdout_percent=40)!r},
        ModelConfig(model, POOLING[model](), ClassifierConfig(hidden=8)),
        SamplingConfig(frames=4),
        TrainingConfig(batch_size=8, epochs=1),
        InferenceConfig(batch_size=8, videos_per_part=10),
    )
"""


def test_a_student_and_its_teacher(tmp_path, capsys):
    preset = tmp_path / "small.py"
    preset.write_text(PRESET)
    write_shard(tmp_path / "raw" / "train.tfrecord", range(60))
    run_here("ingest", tmp_path, "--raw", f"train={tmp_path}/raw", "--workers", 1)
    student = ("--run", "student", "--training.teacher", "average", "--training.teacher-share", 0.7)
    with pytest.raises(StageError, match="average is not a run; runs of preset small: none"):
        run_here("train", tmp_path, *student)
    run_here("train", tmp_path)
    runs = tmp_path / "runs" / "small"

    command = f"  python -m pipeline.infer --preset {preset} --run {runs / 'average'} --split train"
    with pytest.raises(StageError, match=f"(?s)run first:\n{re.escape(command)}$"):
        run_here("train", tmp_path, *student)
    assert not (runs / "student").exists()
    run_here("infer", tmp_path, "--split", "train")
    run_here("train", tmp_path, *student)
    config = json.loads((runs / "student" / "config.json").read_text())
    predicted = json.loads((runs / "average" / "predictions" / "train" / "done.json").read_text())
    assert config["inputs"]["teacher"] == predicted["output"]
    assert config["training"]["teacher"] == "average" and config["training"]["teacher_share"] == 0.7
    assert not (runs / "student" / "teacher").exists(), "what was unpacked is cleared away"
    assert not list(runs.rglob("checkpoint.npz")), "nor is it needed where a training was"
    capsys.readouterr()
    run_here("train", tmp_path, *student)
    assert capsys.readouterr().out == f"{runs / 'student'}: up to date\n"

    run_here("infer", tmp_path, "--split", "train", "--inference.top-k", 3)
    run_here("train", tmp_path, *student)
    assert f"{runs / 'student'} is trained anew: the teacher changed" in capsys.readouterr().out
    shutil.rmtree(runs / "average" / "predictions")
    run_here("train", tmp_path, *student)
    assert f"{runs / 'student'}: up to date" in capsys.readouterr().out, "gone, not changed"
    with pytest.raises(StageError, match="run first"):
        run_here("train", tmp_path, *student, "--force")
    assert (runs / "student" / "done.json").exists(), "refused before anything is deleted"
    with pytest.raises(StageError, match="a run cannot be its own teacher"):
        run_here("train", tmp_path, "--run", "average", "--training.teacher", "average")


def test_auto_precision_is_what_the_run_has_begun_with(tmp_path, monkeypatch, capsys):
    (tmp_path / "small.py").write_text(PRESET)
    write_shard(tmp_path / "raw" / "train.tfrecord", range(60))
    run_here("ingest", tmp_path, "--raw", f"train={tmp_path}/raw", "--workers", 1)
    config = tmp_path / "runs" / "small" / "average" / "config.json"
    for fast, more, taken in (
        ("mixed_bfloat16", (), "mixed_bfloat16"),
        ("float32", (), "mixed_bfloat16"),
        ("float32", ("--force",), "float32"),
    ):
        monkeypatch.setattr("pipeline.train.fast_precision", lambda fast=fast: fast)
        capsys.readouterr()
        run_here("train", tmp_path, "--training.precision", "auto", *more)
        assert json.loads(config.read_text())["training"]["precision"] == taken
        assert ("up to date" in capsys.readouterr().out) == (taken != fast)


def test_an_ensemble_that_cannot_teach_yet(tmp_path):
    preset = tmp_path / "small.py"
    preset.write_text(PRESET)
    write_shard(tmp_path / "raw" / "train.tfrecord", range(20))
    run_here("ingest", tmp_path, "--raw", f"train={tmp_path}/raw", "--workers", 1)
    student = ("--run", "student", "--training.teacher", "ensemble")
    with pytest.raises(StageError, match=f"--run MEMBER --split train\n.*ensemble --preset {preset} --split train"):
        run_here("train", tmp_path, *student)
    ensemble = tmp_path / "runs" / "small" / "ensemble"
    ensemble.mkdir(parents=True)
    members = [{"run": name, "path": f"runs/{name}", "weight": weight} for name, weight in (("a", 0.5), ("b", 0.0))]
    (ensemble / "weights.json").write_text(json.dumps({"combine": "logits", "members": members}))
    with pytest.raises(StageError) as refused:
        run_here("train", tmp_path, *student)
    assert "--run runs/a --split train" in str(refused.value) and "runs/b" not in str(refused.value)
    (ensemble / "weights.json").write_text(json.dumps({"combine": "ranks", "members": members}))
    with pytest.raises(StageError, match="blends ranks, which are not probabilities"):
        run_here("train", tmp_path, *student)
