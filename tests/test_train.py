"""Training by a teacher: what it needs first, what of the teacher is remembered, when the run is stale."""

import contextlib
import dataclasses
import json
import re
import shutil

import numpy as np
import pytest
from faults import same
from fixtures.support import SMALL, frames_of, labels_of, run_here, small_preset, train_here, write_shard

from pipeline.artifacts.locks import locked
from pipeline.artifacts.models import digest_model
from pipeline.artifacts.predictions import PredictionStore
from pipeline.config import ClassifierConfig, InferenceConfig, TrainingConfig
from pipeline.config.errors import ConfigError, StageError
from pipeline.inputs.records.encoding import encode_sequence_example
from pipeline.inputs.records.tfrecord import write_records
from pipeline.models import load_model
from pipeline.submission.provenance import commands_to_reproduce
from pipeline.training.log import read_log

PRESET = small_preset(TrainingConfig(batch_size=8, epochs=1), InferenceConfig(batch_size=8, videos_per_part=10))


@pytest.mark.wide
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
    capsys.readouterr()
    run_here("train", tmp_path, *student)
    assert capsys.readouterr().out == f"{runs / 'student'}: up to date\n"

    run_here("infer", tmp_path, "--split", "train", "--inference.top-k", 3)
    run_here("train", tmp_path, *student)
    assert f"{runs / 'student'} is made again: teacher changed" in capsys.readouterr().out
    shutil.rmtree(runs / "average" / "predictions")
    run_here("train", tmp_path, *student)
    assert f"{runs / 'student'}: up to date" in capsys.readouterr().out, "gone, not changed"
    with pytest.raises(StageError, match="run first"):
        run_here("train", tmp_path, *student, "--force")
    assert (runs / "student" / "done.json").exists(), "refused before anything is deleted"
    with pytest.raises(StageError, match="a run cannot be its own teacher"):
        run_here("train", tmp_path, "--run", "average", "--training.teacher", "average")


@pytest.mark.wide
@pytest.mark.parametrize(
    "change", [{"dtype": "float16"}, {"minimum": -1.0, "maximum": 4.0}], ids=["halves", "bytes of a range"]
)
def test_features_of_any_kind_from_records_to_predictions(tmp_path, capsys, change):
    """Trained, scored and predicted from files; a run of another range does not fit the index."""
    features = tuple(dataclasses.replace(feature, **change) for feature in SMALL.features)
    training = TrainingConfig(batch_size=8, epochs=1, mixup=0.4)
    preset = small_preset(training, InferenceConfig(batch_size=8, videos_per_part=10))
    (tmp_path / "small.py").write_text(preset.replace(repr(SMALL.features), repr(features)))
    videos = [frames_of(video) for video in range(60)]
    if change.get("dtype"):
        videos = [(frames / 99).astype(np.float16) for frames in videos]
    path = tmp_path / "raw" / "train.tfrecord"
    path.parent.mkdir()
    with path.open("wb") as file:
        for number, frames in enumerate(videos):
            context = {"id": f"v{number}", "labels": labels_of(number)}
            payload = encode_sequence_example(context, {"rgb": frames[:, :6], "audio": frames[:, 6:]})
            write_records(file, [payload])
    run_here("ingest", tmp_path, "--raw", f"train={tmp_path}/raw", "--workers", 1)
    run_here("train", tmp_path)
    run_here("infer", tmp_path)
    np.save(tmp_path / "v7.npy", videos[7].astype(np.float64) if change.get("dtype") else videos[7])
    capsys.readouterr()
    run_here("predict", tmp_path, tmp_path / "v7.npy", path, "--run", "average", "--json")
    own, *stored = map(json.loads, capsys.readouterr().out.splitlines())
    assert len(stored) == 60 and own["labels"] == stored[7]["labels"]
    run_here("ingest", tmp_path, "--dataset.features.0.size", 6, "--workers", 1)
    assert "up to date" in capsys.readouterr().out
    if not change.get("dtype"):
        wider = ("--dataset.features.0.maximum", 5)
        run_here("ingest", tmp_path, *wider, "--workers", 1)
        capsys.readouterr()
        with pytest.raises(
            StageError, match=r"trained on rgb 6 uint8 from -1 to 4, .*index .* rgb 6 uint8 from -1 to 5"
        ):
            run_here("infer", tmp_path, *wider)


@pytest.mark.wide
def test_one_label_a_video_from_records_to_a_bundle(tmp_path, capsys):
    """Softmax, smoothed, mixed, taught and penalized; top-1 chooses; what has no label, or two, is quarantined."""
    dataset = dataclasses.replace(SMALL, task="single_label", holdout_percent=40)
    classifier = ClassifierConfig(hidden=8, gating="none", head="softmax")
    training = TrainingConfig(
        batch_size=8, epochs=2, learning_rate=0.02, mixup=0.4, label_smoothing=0.1, monitor="top_1", snapshots=2
    )
    preset = small_preset(training, InferenceConfig(batch_size=8), classifier)
    (tmp_path / "small.py").write_text(
        preset.replace(repr(dataclasses.replace(SMALL, holdout_percent=40)), repr(dataset))
    )
    path = tmp_path / "raw" / "train.tfrecord"
    path.parent.mkdir()
    with path.open("wb") as file:
        for number in range(62):
            labels = {60: [], 61: [1, 2]}.get(number, [number % 9])
            frames = frames_of(number)
            context = {"id": f"v{number}", "labels": np.array(labels, np.int64)}
            write_records(file, [encode_sequence_example(context, {"rgb": frames[:, :6], "audio": frames[:, 6:]})])
    raw = ("--raw", f"train={tmp_path}/raw", "--workers", 1)
    with pytest.raises(StageError, match=r"video 'v60': labels holds no label .*\n.*'v61': labels holds 2 labels"):
        run_here("ingest", tmp_path, *raw)
    run_here("ingest", tmp_path, *raw, "--max-quarantined", 2)
    with pytest.raises(ConfigError, match=r"training\.monitor: auc needs the scores of 9 classes"):
        run_here("train", tmp_path, "--training.monitor", "auc", "--inference.top-k", 8)
    run_here("train", tmp_path)
    run_here("infer", tmp_path, "--split", "train", "holdout")
    run_here("train", tmp_path, "--run", "student", "--training.teacher", "average")
    run_here("infer", tmp_path, "--run", "student")
    run_here("soup", tmp_path)
    run_here("infer", tmp_path, "--run", "average-soup")
    run_here("ensemble", tmp_path, "--runs", "average", "student", "average-soup")
    told = capsys.readouterr().out
    assert re.search(r"step \d+, epoch \d\.\d: loss \S+, hold-out top-1 0\.\d{4} \(plain\)", told)
    assert "hold-out top-1 " in told[told.index("tuned on") - 60 :], "the weights of the blend are chosen by it"
    runs = tmp_path / "runs" / "small"
    for name in ("average", "student", "average-soup"):
        (part,) = PredictionStore(runs / name / "predictions" / "holdout").read()
        assert part.scores.shape[1] == 9, "all classes are kept"
        np.testing.assert_allclose(part.scores.sum(axis=1), 1, rtol=1e-5)
        scores = json.loads((runs / name / "predictions" / "holdout" / "scores.json").read_text())["whole"]
        assert scores["top_1"] == scores["hit_at_one"] <= scores["top_5"] <= 1 and 0 < scores["auc"] < 1
    best = json.loads((runs / "average" / "summary.json").read_text())["best"]
    assert max(row["top_1"] for row in read_log(runs / "average" / "metrics.jsonl") if "top_1" in row) == best["top_1"]
    assert json.loads((runs / "ensemble" / "weights.json").read_text())["monitor"] == "top_1"
    run_here("evaluate", tmp_path)
    table = capsys.readouterr().out
    assert table.splitlines()[0].split()[3:] == ["top-1", "top-5", "GAP@20", "MAP", "AUC", "parameters"]
    run_here("report", tmp_path, "--no-frames")
    page = (tmp_path / "reports" / "small.html").read_text()
    assert "Top-1 accuracy, holdout" in page and "top-1 is " in page
    run_here("export", tmp_path, "--run", "average", "--weights", "float32")
    capsys.readouterr()
    run_here("predict", tmp_path, path, "--run", runs / "average-float32.zip", "--json", "--top", 9)
    (first, *_) = map(json.loads, capsys.readouterr().out.splitlines())
    assert sum(label["score"] for label in first["labels"]) == pytest.approx(1, abs=1e-4)


@pytest.mark.wide
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
        monkeypatch.setattr("pipeline.training.run_plan.fast_precision", lambda fast=fast: fast)
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


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    """A folder with a run that is trained to its end."""
    folder = tmp_path_factory.mktemp("once")
    train_here(folder, PRESET)
    return folder


@pytest.fixture
def trained(once, tmp_path):
    """The run in a folder of the test's own."""
    shutil.copytree(once, tmp_path, dirs_exist_ok=True)
    return tmp_path / "runs" / "small" / "average"


def content(folder) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("more", [("--force",), ("--training.epochs", 2), ()])
def test_nothing_is_looked_at_or_deleted_while_another_process_trains_the_run(tmp_path, trained, more):
    before = content(trained)
    with locked(trained), pytest.raises(StageError, match=r"another process is at work on .*average"):
        run_here("train", tmp_path, *more)
    assert content(trained) == before


def test_what_another_process_finished_meanwhile_is_up_to_date(tmp_path, trained, monkeypatch, capsys):
    """Of two that began when there was nothing the second gets the lock when the first is done."""
    before, away = content(trained), tmp_path / "away"
    trained.rename(away)

    @contextlib.contextmanager
    def waited(folder, shared):
        away.rename(trained)
        with locked(folder, shared):
            yield

    monkeypatch.setattr("pipeline.artifacts.done.locked", waited)
    run_here("train", tmp_path)
    assert capsys.readouterr().out.endswith(f"{trained}: up to date\n")
    assert content(trained) == before


def test_a_dry_run_trains_and_deletes_nothing(tmp_path, trained, capsys):
    before = content(trained)
    for more, told in (
        ((), f"{trained}: up to date"),
        (("--force",), f"{trained} would be trained: --force"),
        (("--run", "new"), f"{trained.parent / 'new'} would be trained"),
    ):
        capsys.readouterr()
        run_here("train", tmp_path, "--dry-run", *more)
        assert capsys.readouterr().out == f"{told}\n"
    capsys.readouterr()
    run_here("train", tmp_path, "--dry-run", "--training.epochs", 2)
    assert capsys.readouterr().out == f"{trained} goes on from 1 to 2 epochs\n{trained} would go on\n"
    run_here("train", tmp_path, "--dry-run", "--training.no-keep-checkpoint")
    for other in (("--training.epochs", 0.5), ("--training.epochs", 2, "--training.seed", 1)):
        with pytest.raises(StageError, match=r"made with other settings: training.epochs: 1(\.0)? -> \d.*--run NAME"):
            run_here("train", tmp_path, "--dry-run", *other)
    assert content(trained) == before and not (trained.parent / "new").exists()


def test_more_epochs_go_on_as_if_the_run_had_been_begun_with_them(tmp_path, trained, capsys):
    """Weights, optimizer, average, snapshots, the log, the best model and its predictions are the same to the bit."""
    constant = ("--training.decay", "constant", "--training.ema-half-life", 3, "--training.snapshots", 2)
    run_here("train", tmp_path, "--run", "whole", *constant, "--training.epochs", 3)
    run_here("train", tmp_path, "--run", "parts", *constant)
    run_here("infer", tmp_path, "--run", "parts")
    capsys.readouterr()
    run_here("train", tmp_path, "--run", "parts", *constant, "--training.epochs", 3)
    parts, whole = trained.with_name("parts"), trained.with_name("whole")
    told = capsys.readouterr().out
    assert told.startswith(f"{parts} goes on from 1 to 3 epochs\n") and "resuming at step 5 of 15\n" in told
    found, expected = (
        {
            name.replace("/parts/", "/whole/"): value
            for name, value in same.content(tmp_path).items()
            if name.startswith(f"runs/small/{run.name}/")
        }
        for run in (parts, whole)
    )
    summaries = [json.loads(each.pop("runs/small/whole/summary.json")) for each in (found, expected)]
    assert summaries[0]["best"] == summaries[1]["best"] and summaries[0]["steps"] == summaries[1]["steps"] == 15
    assert not same.differences(found, expected)
    run_here("train", tmp_path, "--run", "parts", *constant, "--training.epochs", 3)
    assert capsys.readouterr().out.endswith(f"{parts}: up to date\n")


def test_a_run_that_cannot_go_on_is_left_as_it_was(tmp_path, trained):
    """Its checkpoint is deleted for the asking, and nothing else of it."""
    before = content(trained)
    run_here("train", tmp_path, "--training.no-keep-checkpoint")
    del before["checkpoint.npz"]
    assert content(trained) == before
    with pytest.raises(StageError, match=r"cannot go on to 2: it has no checkpoint .*--from average"):
        run_here("train", tmp_path, "--training.epochs", 2)
    write_shard(tmp_path / "raw" / "more.tfrecord", range(60, 70))
    run_here("ingest", tmp_path, "--raw", f"train={tmp_path}/raw", "--workers", 1)
    with pytest.raises(StageError, match="cannot go on to 2: index changed"):
        run_here("train", tmp_path, "--training.epochs", 2)
    assert content(trained) == before
    run_here("train", tmp_path, "--run", "other", "--training.no-keep-checkpoint")
    assert not (trained.with_name("other") / "checkpoint.npz").exists()


@pytest.fixture
def other(tmp_path, trained):
    """The folder of a run to come, of a preset of other classes; its index is there."""
    (tmp_path / "other.py").write_text(PRESET.replace("'small'", "'other'").replace("num_classes=9", "num_classes=12"))
    run_here("ingest", tmp_path, "--raw", f"train={tmp_path}/raw", "--workers", 1, preset="other.py")
    return tmp_path / "runs" / "other" / "average"


def test_a_run_begins_with_the_weights_of_another_that_fit(tmp_path, trained, other, capsys):
    """Of another preset, with a head of its own; it stays up to date without the other, and as long as that is it."""
    begun, given = other, ("--from", trained, "--training.freeze", "*_norm", "hidden")
    capsys.readouterr()
    run_here("train", tmp_path, *given, preset="other.py")
    told = capsys.readouterr().out.splitlines()[1:]
    assert told[0] == (
        f"{trained} gives 112 of 220 parameters: rgb_norm 6 6, audio_norm 2 2, hidden 8x8, hidden_norm 8 8 8 8"
    )
    assert told[1] == "  not head 8x12 12: the classes are others, 8x9 9 there"
    assert told[2] == "frozen are 112 parameters: rgb_norm, audio_norm, hidden, hidden_norm"
    before, after = (load_model(run / "model.keras") for run in (trained, begun))
    for layer in before.layers:
        if layer.name != "head":
            for one, two in zip(layer.get_weights(), after.get_layer(layer.name).get_weights(), strict=True):
                np.testing.assert_array_equal(one, two, err_msg=layer.name)
    config = json.loads((begun / "config.json").read_text())
    assert (config["from"], config["inputs"]["from"]) == (str(trained), digest_model(trained / "model.keras"))
    command = f"--training.freeze '*_norm' hidden --from {trained}"
    assert any(command in each for each in commands_to_reproduce(begun, str(tmp_path / "other.py"), "holdout"))
    with pytest.raises(StageError, match=r"made with other settings: from: .*average -> None"):
        run_here("train", tmp_path, *given[2:], preset="other.py")

    trained.rename(tmp_path / "away")
    capsys.readouterr()
    run_here("train", tmp_path, *given, preset="other.py")
    assert capsys.readouterr().out == f"{begun}: up to date\n", "gone, not changed"
    with pytest.raises(StageError, match="average is not a run"):
        run_here("train", tmp_path, *given, "--force", preset="other.py")
    run_here("train", tmp_path, "--training.seed", 1)
    run_here("train", tmp_path, "--dry-run", *given, preset="other.py")
    assert capsys.readouterr().out.endswith(f"{begun} would be trained: from changed\n")


def test_a_run_that_cannot_give_its_weights_is_refused(tmp_path, trained, other):
    begun = other
    with pytest.raises(StageError, match="average: a run cannot begin with its own weights; choose another --run"):
        run_here("train", tmp_path, "--from", "average")
    with pytest.raises(StageError, match="nosuch is not a run; runs of preset other: none"):
        run_here("train", tmp_path, "--from", "nosuch", preset="other.py")
    ensemble = tmp_path / "runs" / "small" / "ensemble"
    ensemble.mkdir()
    (ensemble / "weights.json").write_text("{}")
    with pytest.raises(StageError, match="ensemble is a blend; name one of the runs that it blends"):
        run_here("train", tmp_path, "--from", ensemble, preset="other.py")
    with pytest.raises(StageError) as refused:
        features = json.loads((trained / "config.json").read_text())
        features["dataset"]["features"].reverse()
        (trained / "config.json").write_text(json.dumps(features))
        run_here("train", tmp_path, "--from", trained, preset="other.py")
    assert "was trained on audio of 2 values, rgb of 6 values, and " in str(refused.value)
    assert "has rgb of 6 values, audio of 2 values; its weights fit" in str(refused.value)
    (trained / "done.json").unlink()
    with pytest.raises(StageError, match="average is not trained to its end"):
        run_here("train", tmp_path, "--from", trained, preset="other.py")
    with pytest.raises(ConfigError, match=r"--training.freeze nosuch: average has no such layer; it has rgb_norm"):
        run_here("train", tmp_path, "--training.freeze", "nosuch", preset="other.py")
    assert not begun.exists()


def test_a_model_that_is_not_the_one_that_training_ended_with_does_not_predict(tmp_path, trained):
    """Weights of one training beside the done.json of another are no finished run."""
    run_here("train", tmp_path, "--run", "other", "--training.seed", 1)
    shutil.copy(trained.parent / "other" / "model.keras", trained / "model.keras")
    with pytest.raises(StageError, match="is not the model that was stored when training ended"):
        run_here("infer", tmp_path)


def test_predictions_of_which_a_part_is_missing_are_made_again(tmp_path, trained, capsys):
    """Whatever a kill or a hand has deleted: they are never up to date for ever."""
    run_here("infer", tmp_path)
    store = trained / "predictions" / "holdout"
    whole = content(store)
    (store / "part-00001.parquet").unlink()
    capsys.readouterr()
    run_here("infer", tmp_path)
    assert "is made again: what it holds is not what was written" in capsys.readouterr().out
    assert content(store) == whole


def test_a_split_that_there_is_not_is_refused_before_any_is_predicted(tmp_path, trained):
    with pytest.raises(ConfigError, match="nosuch"):
        run_here("infer", tmp_path, "--split", "train", "nosuch")
    assert not (trained / "predictions" / "train").exists()


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "/a", ".a", "-a", "a\n", "é" * 101, "ensemble"])
def test_a_run_stays_in_its_presets_folder(tmp_path, name):
    """Refused before anything is read: there is no index here."""
    with pytest.raises(ConfigError, match=r"^--run must be a plain name of at most 200 bytes, .* and not ensemble"):
        run_here("train", tmp_path, f"--run={name}", preset="demo")
    assert not list(tmp_path.iterdir())
