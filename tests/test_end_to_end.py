"""The stages as a user runs them: the demo shrunk, and the real data shrunk."""

import json
import subprocess
import sys

import numpy as np
import pytest
from fixtures.support import (
    ROOT,
    SMALL,
    TINY,
    of_one_feature,
    run_here,
    stage_command,
    stage_environment,
    stage_here,
    write_shard,
)

from pipeline.artifacts.locks import locked
from pipeline.inputs.index import Index
from pipeline.inputs.records.synthetic import AWKWARD_IDS

SMALL_PRESET = (
    f"from pipeline.config import *\nMODELS = ('average',)\n"
    f"def experiment(model):\n    return Experiment({SMALL!r}, ModelConfig(model, POOLING[model]()))\n"
)


def csv_rows(path) -> dict[str, list[str]]:
    header, *lines = path.read_text(encoding="utf-8").split("\n")
    assert header == "VideoId,LabelConfidencePairs"
    assert lines.pop() == ""
    rows = dict(line.split(",") for line in lines)
    assert len(rows) == len(lines), "an id is there twice"
    return {identity: pairs.split(" ") for identity, pairs in rows.items()}


@pytest.fixture(scope="module")
def demo(tiny_preset, tmp_path_factory):
    """The whole pipeline on the shrunk demo: its folder and what it printed."""
    folder = tmp_path_factory.mktemp("demo")
    result = run_all(folder, "--preset", tiny_preset)
    assert result.returncode == 0, result.stdout + result.stderr
    return folder, result.stdout


def run_all(folder, *arguments):
    return subprocess.run(
        stage_command("run_all", *arguments), cwd=ROOT, env=stage_environment(folder), capture_output=True, text=True
    )


def test_it_ends_with_the_path_of_a_valid_csv_and_a_table(demo, stage):
    folder, output = demo
    (csv,) = (folder / "submissions").glob("tiny-*.csv")
    assert f"{csv}: 40 videos of split test, valid (synthetic data)" in output
    table = output[output.index(": evaluate\n") :]
    for name in ("average", "netvlad", "ensemble", "label priors", "parameters", "holdout: ", "GAP@20"):
        assert name in table
    assert "SYNTHETIC" in table
    rows = csv_rows(csv)
    assert set(AWKWARD_IDS) <= set(rows)
    for pairs in rows.values():
        labels, confidences = pairs[::2], [float(value) for value in pairs[1::2]]
        assert len(labels) == len(set(labels)) == 20
        assert all(0 <= int(label) < 24 for label in labels)
        assert confidences == sorted(confidences, reverse=True)
        assert confidences[-1] >= 0 and confidences[0] <= 1
    checked = stage("submit", "--check", csv, "--ids", folder / "data" / "tiny" / "index")
    assert "valid, 40 videos" in checked.stdout


def test_a_submission_tells_what_made_it(demo):
    folder, _ = demo
    (path,) = (folder / "submissions").glob("tiny-*.json")
    about = json.loads(path.read_text())
    assert about["preset"] == "tiny" and about["split"] == "test" and about["synthetic"] is True
    assert set(about["holdout"]) == {"average", "netvlad", "ensemble"}
    assert about["run"] == max(about["holdout"], key=about["holdout"].get)
    assert set(about["runs"]) == ({"average", "netvlad"} if about["run"] == "ensemble" else {about["run"]})
    for name, run in about["runs"].items():
        assert run["summary"] == json.loads((folder / "runs" / "tiny" / name / "summary.json").read_text())


def test_the_same_command_again_finds_everything_done(demo, tiny_preset):
    """It needs no backend for that, whose import takes longer than all the rest."""
    folder, _ = demo
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.parquet")}
    (csv,) = (folder / "submissions").glob("*.csv")
    content = csv.read_bytes()
    script = "import runpy, sys; runpy.run_module('pipeline.run_all', run_name='__main__'); print(*sys.modules)"
    command = [sys.executable, "-c", script, "--preset", tiny_preset]
    result = subprocess.run(command, cwd=ROOT, env=stage_environment(folder), capture_output=True, text=True)
    assert (result.returncode, result.stderr.count("\r")) == (0, 0)
    output, modules = result.stdout.rstrip().rsplit("\n", 1)
    assert not {"keras", "tensorflow", "jax", "torch"} & set(modules.split()) and "pipeline.report" in modules
    assert output.count("up to date") >= 2 + 2 * (1 + 2) + 2  # stages, models and splits
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.parquet")} == before
    assert [path.read_bytes() for path in (folder / "submissions").glob("*.csv")] == [content]


def test_other_settings_for_a_trained_run_are_refused_by_name(demo, tiny_preset, stage):
    folder, _ = demo
    arguments = ["--model", "average", "--training.epochs", "4"]
    fewer = [*arguments[:-1], "2"]
    for asked, message in ((fewer, "training.epochs: 3 -> 2"), (arguments, "has followed a cosine that ends at 0")):
        result = stage("train", "--preset", tiny_preset, *asked, check=False, folder=folder)
        assert result.returncode == 1
        assert message in result.stderr and "--run NAME" in result.stderr and "--force" in result.stderr
    run_here("train", folder, *arguments, "--run", "longer", preset=str(tiny_preset))
    assert (folder / "runs" / "tiny" / "longer" / "model.keras").exists()


def test_settings_that_are_refused_leave_no_run_behind(demo, tiny_preset, stage):
    folder, _ = demo
    for setting, message in (
        (("--model", "netvlad", "--pooling.clusters", "4", "2", "1"), "3 values for 2 features"),
        (("--model", "nextvlad", "--pooling.groups", "7"), "nextvlad cannot pool feature rgb: 7 groups do not divide"),
    ):
        refused = stage("train", "--preset", tiny_preset, "--run", "refused", *setting, folder=folder, check=False)
        assert refused.returncode == 2
        assert message in refused.stderr
        assert "Traceback" not in refused.stderr
        assert not list((folder / "runs" / "tiny" / "refused").glob("*"))


def test_a_run_predicts_from_its_path_alone(demo, stage, tmp_path):
    folder, _ = demo
    run = folder / "runs" / "tiny" / "average"
    stage("infer", "--run", run, "--index", folder / "data" / "tiny" / "index", "--split", "train")
    assert (run / "predictions" / "train" / "done.json").exists()


def test_two_inferences_of_a_run_at_once(demo, tiny_preset, stage):
    folder, _ = demo
    arguments = ("--preset", tiny_preset, "--model", "average", "--split", "train")
    with locked(folder / "runs" / "tiny" / "average"):
        result = stage("infer", *arguments, folder=folder, check=False)
    assert result.returncode == 1 and "another process is at work on" in result.stderr


def test_evaluate_scores_a_run_like_its_training_did(demo, tiny_preset, stage):
    folder, _ = demo
    summary = json.loads((folder / "runs" / "tiny" / "netvlad" / "summary.json").read_text())
    arguments = ["--preset", tiny_preset, "--run", "netvlad", "--split", "holdout", "--json"]
    scores = json.loads(stage("evaluate", *arguments, folder=folder).stdout)
    assert scores["gap"] == pytest.approx(summary["best"]["gap"], abs=1e-6)
    assert scores["videos"] == summary["best"]["videos"]


def test_wrong_flags_are_refused_before_anything_runs(tmp_path, tiny_preset, stage):
    for flags, message in (
        (["--trainin.epochs", "3"], "trainin"),
        (["--pooling.cluster", "3"], "Did you mean pooling.clusters?"),
        (["--models", "average", "--pooling.clusters", "3"], "unknown setting of average 'pooling.clusters'"),
        (["--models", "averag"], "Did you mean average?"),
        (["--training.epochs", "many"], "many"),
    ):
        result = stage("run_all", "--preset", tiny_preset, *flags, check=False)
        assert result.returncode != 0
        assert message in result.stderr, result.stderr
    assert not list(tmp_path.iterdir())


def test_pooling_flags_reach_the_models_that_have_them(tiny_preset, demo, stage):
    folder, _ = demo
    result = stage("run_all", "--preset", tiny_preset, "--pooling.clusters", "3", "2", check=False, folder=folder)
    assert result.returncode == 1
    assert "netvlad was made with other settings: model.pooling.clusters: [4, 2] -> [3, 2]." in result.stderr
    assert ": train" not in result.stdout, "refused before average is looked at"


def test_run_all_takes_paths_of_the_folder_the_user_is_in(tmp_path):
    (tmp_path / "mine.py").write_text("from pipeline.presets.demo import *\n")
    (tmp_path / "empty").mkdir()
    command = [ROOT / "run_all.sh", "--preset", "mine.py", "--raw", "train=empty"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 1
    assert "--raw train=empty: there are no *.tfrecord files there" in result.stderr


# ---------------------------------------------------------------------------------------------------------- bad records


def test_training_files_without_labels_are_refused(tmp_path, stage):
    preset = tmp_path / "small.py"
    preset.write_text(SMALL_PRESET)
    path = tmp_path / "raw" / "train.tfrecord"
    write_shard(path, range(10))
    arguments = ["--preset", preset, "--raw", f"train={path}"]
    result = stage("ingest", *arguments, "--dataset.labels-key", "lables", check=False)
    assert result.returncode == 1
    assert "no video of the training splits (train) has labels under the key 'lables'" in result.stderr
    result = stage("ingest", "--preset", preset, "--raw", f"trian={path}")
    assert "there are no videos to train on: dataset.train-splits names train; there are: trian" in result.stdout


def test_a_run_in_use_by_another_process_is_left_alone(tmp_path):
    with locked(tmp_path / "run"):
        script = "import sys\nfrom pathlib import Path\nfrom pipeline.artifacts.locks import locked\n"
        script += "with locked(Path(sys.argv[1])):\n    pass\n"
        command = [sys.executable, "-c", script, tmp_path / "run"]
        busy = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert "another process is at work on" in busy.stderr
    assert subprocess.run(command, cwd=ROOT).returncode == 0


def test_bad_records_are_named_and_counted(tmp_path, stage, tiny_preset):
    preset = tmp_path / "small.py"
    preset.write_text(SMALL_PRESET)
    path = tmp_path / "raw" / "train.tfrecord"
    write_shard(path, range(10))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    arguments = ["--preset", preset, "--raw", f"train={path}"]
    result = stage("ingest", *arguments, check=False)
    assert result.returncode == 1
    assert "1 bad record, 0 tolerated" in result.stderr
    assert f"{path}, offset " in result.stderr and "checksum of the record is wrong" in result.stderr
    assert not (tmp_path / "data" / "small" / "index").exists()
    result = stage("ingest", *arguments, "--max-quarantined", 1)
    assert "train 9, holdout 0 videos; 1 record quarantined" in result.stdout


def test_files_that_are_not_there_or_hold_something_else(tmp_path, stage, tiny_preset):
    result = stage("ingest", "--preset", tiny_preset, check=False)
    assert "no files to index" in result.stderr and "--raw SPLIT=DIR_OR_GLOB" in result.stderr
    result = stage("ingest", "--preset", tiny_preset, "--raw", f"train={tmp_path}", check=False)
    assert "no *.tfrecord files there" in result.stderr
    path = tmp_path / "raw" / "a.tfrecord"
    write_shard(path, range(2))
    result = stage("ingest", "--preset", tiny_preset, "--raw", f"train={path}", check=False)
    assert result.returncode == 1
    assert "rgb" in result.stderr and "6" in result.stderr and "32" in result.stderr and str(path) in result.stderr


# ------------------------------------------------------------------------------------------------------------ real data


@pytest.mark.wide
@pytest.mark.first
@pytest.mark.real_data
def test_audioset(shared_data, tmp_path):
    """Clips are indexed, whatever their files are called; a short training is better than the priors."""
    import tensorflow as tf

    files = {split: f"{shared_data}/audioset/{split}/[-a-iA-I]*.tfrecord" for split in ("train", "eval")}
    raw = [token for split, pattern in files.items() for token in ("--raw", f"{split}={pattern}")]
    arguments = [*raw, "--models", "average", "--training.batch-size", "64"]
    short = ["--training.epochs", "1", "--training.learning-rate", "3e-3", "--training.warmup-examples", "0"]
    run_here("run_all", tmp_path, *arguments, *short, "--training.ema-half-life", "10", preset="audioset")
    index = Index.open(tmp_path / "data" / "audioset" / "index")
    records = sum(1 for _ in tf.data.TFRecordDataset(tf.io.gfile.glob(files["train"])))
    assert index.splits["train"] + index.splits["holdout"] == records > 5_000
    assert 0.08 < index.splits["holdout"] / records < 0.12
    names = {path.name for path in index.paths}
    assert len({name.lower() for name in names}) < len(names), "some names differ by case only"
    assert any(name.startswith("-") for name in names)
    (csv,) = (tmp_path / "submissions").glob("*.csv")
    assert set(csv_rows(csv)) == set(index.ids_of(index.rows("eval")))
    rows = evaluated(tmp_path, "audioset")
    assert rows["average", "eval"]["gap"] > 3 * rows["label priors", "eval"]["gap"]


@pytest.mark.wide
@pytest.mark.real_data
def test_unlabeled_video_id_shards_of_2017(shared_data, tmp_path):
    import tensorflow as tf

    arguments = ["--training.epochs", "1", "--classifier.head-hidden", "64"]
    raw = [f"train={shared_data}/youtube8m-2018-video/validate000[0-3].tfrecord"]
    raw += [f"test={shared_data}/youtube8m-2017-video/testa*.tfrecord"]
    named = [token for item in raw for token in ("--raw", item)]
    run_here("run_all", tmp_path, *arguments, *named, preset="youtube8m_video")
    (csv,) = (tmp_path / "submissions").glob("*.csv")
    ids = []
    for path in sorted((shared_data / "youtube8m-2017-video").glob("testa*.tfrecord")):
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            ids += tf.train.Example.FromString(record).features.feature["video_id"].bytes_list.value
    assert sorted(csv_rows(csv)) == sorted(identity.decode() for identity in ids)


def evaluated(folder, preset) -> dict[tuple[str, str], dict]:
    result = stage_here("evaluate", folder, "--preset", preset, "--json")
    assert result.returncode == 0, result.stderr
    rows = json.loads(result.stdout)
    assert np.isfinite([row["gap"] for row in rows]).all()
    return {(row["run"], row["split"]): row for row in rows}


@pytest.mark.wide
@pytest.mark.first
def test_everything_runs_where_tensorflow_is_not_installed(tmp_path):
    """On JAX, which is then the default; what needs a backend says what to install where there is none."""
    (tmp_path / "tiny.py").write_text(of_one_feature(TINY), encoding="utf-8")

    def without(packages: str, stage: str, *arguments: object) -> subprocess.CompletedProcess:
        command = [sys.executable, ROOT / "tests" / "fixtures" / "without.py", packages, f"pipeline.{stage}"]
        environment = stage_environment(tmp_path) | {"KERAS_BACKEND": ""}
        command += ["--preset", tmp_path / "tiny.py", *arguments]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)

    result = without("tensorflow,pandas", "run_all", "--models", "average")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "\njax on " in result.stdout and len(list(tmp_path.glob("submissions/tiny-*.csv"))) == 1
    result = without("tensorflow", "cost")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("error: cost needs TensorFlow, which is not installed: .venv/bin/uv sync --inexact")
    result = without("tensorflow,jax,torch", "run_all", "--models", "average", "--run", "other")
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert result.stderr.startswith("error: no backend is installed (tensorflow, jax or torch): run .venv/bin/uv sync")
    result = without("tensorflow,jax,torch", "train", "--model", "average", "--force")
    assert result.returncode == 2 and (tmp_path / "runs" / "tiny" / "average" / "done.json").exists()
    assert without("tensorflow,jax,torch", "submit", "--run", "average").returncode == 0, "it needs none"
