"""The stage `predict`: labels by name for files of one's own."""

import csv
import functools
import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fixtures.made_runs import FIVE, make_all, weights_json
from fixtures.support import (
    OTHER_BACKENDS,
    ROOT,
    SMALL,
    frames_of,
    name_classes,
    stage_command,
    stage_environment,
    stage_here,
    write_shard,
)

from pipeline import predict
from pipeline.artifacts.files import read_json, write_json
from pipeline.config import ConfigError, InferenceConfig, ThresholdConfig
from pipeline.config.errors import StageError
from pipeline.inference.answers import answering
from pipeline.inference.answers.subtitles import sub_rip, web_vtt
from pipeline.inference.bundle.ingredients import Ingredients
from pipeline.inference.bundle.writing import write_bundle
from pipeline.inference.ensemble import Ensemble
from pipeline.inference.freshness import prediction_store
from pipeline.inference.runs import read_blend
from pipeline.inference.threshold_choice import choose_thresholds
from pipeline.inference.thresholds import Thresholds
from pipeline.inference.windows import scores as window_scores
from pipeline.inference.windows.scores import WindowScorer
from pipeline.inputs.index import Index
from pipeline.inputs.reading.sampling import choose_frames
from pipeline.inputs.records import encoding, tfrecord
from pipeline.models import load_model


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    make_all(folder)
    name_classes(folder / "data" / "small" / "index", [f"Nr. {number}, ñ" for number in range(9)])
    return folder


@pytest.fixture
def run(small, monkeypatch, capsys):
    """Runs the stage: what it printed, what it printed as errors, and the error that ended it."""
    for name, value in stage_environment(small).items():
        monkeypatch.setenv(name, value)

    def go(*arguments):
        monkeypatch.setattr(sys, "argv", ["predict", "--preset", str(small / "small.py"), *map(str, arguments)])
        try:
            predict.main()
            error = None
        except (StageError, ConfigError) as raised:
            error = raised
        printed = capsys.readouterr()
        return printed.out, printed.err, error

    return go


@functools.cache
def expected(small, video: int) -> np.ndarray:
    """What the run netvlad says of a video, computed on its own."""
    frames = frames_of(video)
    chosen, counts = choose_frames("uniform", np.array([len(frames)]), FIVE.frames)
    model = load_model(small / "runs" / "small" / "netvlad" / "model.keras")
    return model.predict_on_batch({"frames": frames[None, chosen[0]], "num_frames": counts})[0]


def test_labels_by_name_as_json_lines(small, run, tmp_path):
    write_shard(tmp_path / "a.tfrecord", range(3, 6))
    np.savez(tmp_path / "clip ü.npz", rgb=frames_of(9)[:, :6], audio=frames_of(9)[:, 6:])
    out, _, error = run(tmp_path / "a.tfrecord", tmp_path / "clip ü.npz", "--run", "netvlad", "--json", "--top", "2")
    assert error is None
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["id"] for line in lines] == ["v003", "v004", "v005", "clip ü"]
    for line, video in zip(lines, (3, 4, 5, 9)):
        scores = expected(small, video)
        assert [label["label"] for label in line["labels"]] == np.argsort(-scores)[:2].tolist()
        for label in line["labels"]:
            assert label["name"] == f"Nr. {label['label']}, ñ"
            assert label["score"] == pytest.approx(scores[label["label"]], abs=1e-5)


def test_a_table(small, run, tmp_path):
    write_shard(tmp_path / "a.tfrecord", range(3, 4))
    out, _, _ = run(tmp_path / "a.tfrecord", "--run", small / "runs" / "small" / "netvlad", "--top", "3")
    scores = expected(small, 3)
    best = np.argsort(-scores)[:3]
    assert [line.strip() for line in out.splitlines()] == [
        f"{'v003' if number == 0 else '':<20}  {scores[label]:.4f}  Nr. {label}, ñ".strip()
        for number, label in enumerate(best)
    ]


def test_bad_records_are_named_and_the_rest_predicted(small, run, tmp_path):
    payloads = [
        encoding.encode_sequence_example({"id": f"v{n}"}, {"rgb": frames_of(n)[:, :size], "audio": frames_of(n)[:, 6:]})
        for n, size in ((0, 6), (1, 4), (2, 6))
    ]
    with (tmp_path / "a.tfrecord").open("wb") as file:
        tfrecord.write_records(file, payloads)
    out, err, error = run(tmp_path / "missing.npz", tmp_path / "a.tfrecord", "--run", "netvlad", "--json")
    assert [json.loads(line)["id"] for line in out.splitlines()] == ["v0", "v2"]
    assert "missing.npz: there is no such file" in err
    assert "a.tfrecord, record 1 at byte " in err and "has 4 bytes, 6 are declared" in err
    assert "2 of 4 videos or files could not be read" in str(error)
    assert "The model needs rgb 6 uint8, audio 2 uint8; 9 classes; up to 12 frames" in str(error)


def test_a_bundle_from_its_path_alone_with_names_of_ones_own(small, run, tmp_path, monkeypatch):
    recipe, runs = read_blend(small / "runs" / "small" / "netvlad", 9)
    names = [f"in the bundle {number}" for number in range(9)]
    write_bundle(tmp_path / "a.zip", Ingredients(recipe, runs, names, "float32", InferenceConfig(top_k=9), {}))
    write_shard(tmp_path / "a.tfrecord", range(3, 4))
    monkeypatch.setenv("PIPELINE_DATA", str(tmp_path / "nowhere"))
    monkeypatch.setenv("PIPELINE_RUNS", str(tmp_path / "nowhere"))
    out, _, error = run(tmp_path / "a.tfrecord", "--run", tmp_path / "a.zip", "--json", "--top", "1")
    best = int(np.argmax(expected(small, 3)))
    assert error is None
    assert json.loads(out)["labels"][0]["name"] == f"in the bundle {best}"
    arguments = ("--run", tmp_path / "a.zip", "--output", tmp_path / "out", "--skip-done")
    assert "1 predicted, 0 kept" in run(tmp_path / "a.tfrecord", *arguments)[0]
    assert "0 predicted, 1 kept" in run(tmp_path / "a.tfrecord", *arguments)[0]
    lines = [f"{number},{'Über' if number == best else ''}\n" for number in range(9)]
    (tmp_path / "names.csv").write_text("".join(["index,display_name\n", *lines]), encoding="utf-8")
    arguments = ("--run", tmp_path / "a.zip", "--json", "--top", "1", "--vocabulary", tmp_path / "names.csv")
    assert json.loads(run(tmp_path / "a.tfrecord", *arguments)[0])["labels"][0]["name"] == "Über"


def test_what_is_asked_for_must_be_something(run, tmp_path):
    assert "at least one file" in str(run("--run", "netvlad")[2])
    assert "name it with --output" in str(run("a.npz", "--run", "netvlad", "--skip-done")[2])
    assert "leave out --json" in str(run("a.npz", "--run", "netvlad", "--json", "--output", tmp_path / "o")[2])
    assert "runs of preset small: average, netvlad" in str(run(tmp_path / "a.npz", "--run", "netvald")[2])
    (tmp_path / "a.zip").write_text("VideoId")
    assert "not a bundle" in str(run(tmp_path / "a.npz", "--run", tmp_path / "a.zip")[2])


def test_long_videos_are_sampled_as_through_the_index(small, run, tmp_path):
    """A video of 18 frames where the dataset reads 12, by a run and by a blend of runs that want different frames."""
    long = np.random.default_rng(0).integers(0, 256, (18, 8), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", rgb=long[:, :6], audio=long[:, 6:])
    wanted = {"netvlad": ("uniform", FIVE.frames), "average": ("all", SMALL.max_frames)}
    for name, (method, length) in wanted.items():
        chosen, counts = choose_frames(method, np.array([18]), length)
        assert chosen[0, -1] > 12
        model = load_model(small / "runs" / "small" / name / "model.keras")
        scores = model.predict_on_batch({"frames": long[None, chosen[0]], "num_frames": counts})[0]
        out, _, _ = run(tmp_path / "a.npz", "--run", name, "--json", "--top", 1)
        assert json.loads(out)["labels"][0]["score"] == pytest.approx(scores.max(), abs=1e-5)


def write_clips(folder, videos) -> None:
    folder.mkdir(exist_ok=True)
    for video in videos:
        np.savez(folder / f"{video}.npz", rgb=frames_of(video)[:, :6], audio=frames_of(video)[:, 6:])


def test_a_folder_and_files_of_each_feature_say_the_same(small, run, tmp_path):
    """By an ensemble."""
    blend = small / "runs" / "small" / "blend"
    blend.mkdir(exist_ok=True)
    write_json(blend / "weights.json", weights_json(small))
    write_clips(tmp_path / "clips", range(3))
    for name, part in (("rgb", slice(6)), ("audio", slice(6, 8))):
        np.save(tmp_path / f"{name}.npy", np.concatenate([frames_of(video)[:, part] for video in range(3)]))
    lengths = [len(frames_of(video)) for video in range(3)]
    lines = [f"{video},{length}" for video, length in enumerate(lengths)]
    (tmp_path / "rows.csv").write_text("\n".join(["clip,num_frames", *lines]))
    write_shard(tmp_path / "records", range(3))
    whole, _, error = run(tmp_path / "clips", "--run", blend, "--json")
    features = [f"--features={name}={tmp_path}/{name}.npy" for name in ("rgb", "audio")]
    parts, _, other = run(*features, "--rows", tmp_path / "rows.csv", "--id", "clip", "--run", blend, "--json")
    assert error is None and other is None and parts == whole
    records, _, _ = run(tmp_path / "records", "--run", blend, "--json")
    assert records.replace('"v00', '"') == whole and len(records.splitlines()) == 3


def test_what_is_written_is_kept_and_only_what_changed_is_predicted(small, run, tmp_path, monkeypatch):
    write_clips(tmp_path / "clips", range(4))
    write_shard(tmp_path / "clips" / "records", range(4, 6))
    output = tmp_path / "clips" / "scores.jsonl"  # in the folder that is read
    arguments = (tmp_path / "clips", "--run", "average", "--output", output)
    out, err, error = run(*arguments)
    assert error is None and f"{output}: 6 videos; 6 predicted, 0 kept" in out and "6/6" in err
    before = output.read_text()
    lines = [json.loads(line) for line in before.splitlines()]
    assert [line["id"] for line in lines] == ["0", "1", "2", "3", "v004", "v005"]
    assert [source["entry"] for line in lines[-3:] for source in line["sources"]] == [
        *("array rgb", "array audio"),
        *("record 0 at byte 12", f"record 1 at byte {lines[-1]['sources'][0]['entry'].split()[-1]}"),
    ]
    printed = run(tmp_path / "clips", "--run", "average", "--json")
    assert "scores.jsonl: the file is JSON text" in printed[1]  # only --output is passed over
    assert [json.loads(line)["labels"] for line in printed[0].splitlines()] == [line["labels"] for line in lines]

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.runtime.backend.start_backend", lambda: pytest.fail("no model is needed"))
        out, _, _ = run(*arguments, "--skip-done")
        assert f"{output}: 6 videos; 0 predicted, 6 kept" in out and output.read_text() == before

    write_clips(tmp_path / "clips", [2])
    (tmp_path / "clips" / "1.npz").unlink()
    np.save(tmp_path / "clips" / "bad.npy", np.ones((2, 7), np.uint8))
    out, err, error = run(*arguments, "--skip-done")
    assert f"{output}: 5 videos; 1 predicted, 4 kept\n{output}: dropped 1 video whose files are gone: 1" in out
    assert "bad.npy: its frames have 7 values" in err and "1 of 6 videos or files could not be read" in str(error)
    kept = {line["id"]: line for line in map(json.loads, output.read_text().splitlines())}
    assert list(kept) == ["0", "2", "3", "v004", "v005"] and kept["2"]["labels"] == lines[2]["labels"]
    (tmp_path / "clips" / "bad.npy").unlink()
    for more in (("--top", 2), ("--align", "crop"), ("--run", "netvlad")):
        assert "5 predicted, 0 kept" in run(*arguments, "--skip-done", *more)[0]
    assert "5 predicted, 0 kept" in run(*arguments)[0]


def test_nothing_that_is_there_is_replaced_by_nothing(run, tmp_path):
    output = tmp_path / "scores.jsonl"
    write_clips(tmp_path / "clips", range(1))
    assert run(tmp_path / "clips", "--run", "average", "--output", output)[2] is None
    before = output.read_text()
    _, err, error = run(tmp_path / "nowhere", "--run", "average", "--output", output)
    assert "there is no such file" in err and "nothing is written" in err and "1 of 1" in str(error)
    assert output.read_text() == before and sorted(path.name for path in tmp_path.iterdir()) == ["clips", output.name]


def test_files_and_ids_that_are_there_twice_are_told(run, tmp_path):
    for folder in ("a", "b"):
        write_clips(tmp_path / folder, range(1))
    out, err, error = run(tmp_path, tmp_path / "a" / "0.npz", "--run", "average", "--json")
    assert error is None and len(out.splitlines()) == 2
    assert f"{tmp_path}/a/0.npz is named twice, and read once" in err
    assert f"'0' is the id of two videos, in {tmp_path}/a/0.npz, array rgb and in {tmp_path}/b/0.npz" in err


def test_many_videos_with_one_fault_are_counted(run, tmp_path):
    np.savez(tmp_path / "a.npz", **{f"v{number:02}": np.zeros((3, 5), np.uint8) for number in range(23)})
    _, err, error = run(tmp_path / "a.npz", "--run", "average")
    lines = [line for line in err.splitlines() if "5 values" in line]
    assert len(lines) == 21 and lines[-1].startswith("and 3 more: ") and "array v19" in lines[-2]
    assert "23 of 23 videos or files could not be read" in str(error)


# ---------------------------------------------------------------------------------------------------------- thresholds


@pytest.fixture(scope="module")
def chosen(small):
    """The thresholds of the run netvlad for a recall of 0.6, by class."""
    preset = ("--preset", small / "small.py", "--run", "netvlad")
    goal = ("--threshold.goal", "recall", "--threshold.value", "0.6", "--threshold.least-positives", "3")
    for stage, *arguments in (("infer", "--split", "holdout"), ("threshold", *goal)):
        result = stage_here(stage, small, *preset, *arguments)
        assert result.returncode == 0, result.stderr
    return read_json(small / "runs" / "small" / "netvlad" / "thresholds.json")["thresholds"]


def said(out: str) -> dict[str, list[int]]:
    """The labels of each video, of JSON lines."""
    return {each["id"]: [label["label"] for label in each["labels"]] for each in map(json.loads, out.splitlines())}


def wanted(small, thresholds, videos) -> dict[str, list[int]]:
    found = {}
    for video in videos:
        scores = expected(small, video)
        found[f"v{video:03}"] = [x for x in np.argsort(-scores).tolist() if scores[x] >= thresholds[x] - 1e-6]
    return found


@pytest.mark.wide
def test_only_labels_that_reach_their_thresholds_are_named(small, run, chosen, tmp_path):
    """All of them, unless --top says how many; a video without any is there, with an empty list."""
    write_shard(tmp_path / "a.tfrecord", range(12))
    arguments = (tmp_path / "a.tfrecord", "--run", "netvlad")
    stored = run(*arguments, "--threshold", "stored", "--json")[0]
    assert said(stored) == wanted(small, chosen, range(12)) and len(set(chosen)) > 2
    sizes = [len(labels) for labels in said(stored).values()]
    assert min(sizes) < max(sizes) and max(sizes) > 1
    top = said(run(*arguments, "--threshold", "stored", "--json", "--top", 1)[0])
    assert top == {id: labels[:1] for id, labels in said(stored).items()}
    middle = float(np.median([expected(small, video).max() for video in range(12)]))
    lines = run(*arguments, "--threshold", f"{middle:.6f}")[0].splitlines()
    assert [line[:4] for line in lines if line[0] == "v"] == [f"v{video:03}" for video in range(12)]
    none = [line[:4] for line in lines if line.endswith("  no label reaches its threshold")]
    assert none == [id for id, labels in wanted(small, [middle] * 9, range(12)).items() if not labels]
    assert 0 < len(none) < 12


def test_thresholds_are_chosen_anew_for_a_precision_or_a_recall(small, run, chosen, tmp_path):
    write_shard(tmp_path / "a.tfrecord", range(12))
    arguments = (tmp_path / "a.tfrecord", "--run", "netvlad", "--json")
    preset = (small / "small.py").read_text()
    (small / "small.py").write_text(
        preset.replace("inference=", "threshold=ThresholdConfig(least_positives=3), inference=")
    )
    try:
        assert said(run(*arguments, "--recall", 0.6)[0]) == wanted(small, chosen, range(12))
        precise = said(run(*arguments, "--precision", 0.4)[0])
    finally:
        (small / "small.py").write_text(preset)
    store = prediction_store(small / "runs" / "small" / "netvlad", "holdout")
    settings = ThresholdConfig("precision", 0.4, least_positives=3)
    (choice,) = choose_thresholds(store, Index.open(small / "data" / "small" / "index"), settings)
    assert precise == wanted(small, choice.by_class, range(12)) and 0 < sum(map(len, precise.values())) < 12 * 9


def test_answers_by_other_thresholds_are_not_kept(small, run, chosen, tmp_path):
    write_clips(tmp_path / "clips", range(3))
    arguments = (tmp_path / "clips", "--run", "netvlad", "--output", tmp_path / "out.jsonl", "--skip-done")
    kept = "0 predicted, 3 kept"
    assert "3 predicted" in run(*arguments)[0] and kept in run(*arguments)[0] and kept in run(*arguments, "--top", 5)[0]
    for more in (("stored",), ("1",), ("stored", "--top", 1)):
        assert "3 predicted, 0 kept" in run(*arguments, "--threshold", *more)[0]
        assert kept in run(*arguments, "--threshold", *more)[0]
    assert "3 predicted, 0 kept" in run(*arguments, "--threshold", "1")[0]
    assert [json.loads(line)["labels"] for line in (tmp_path / "out.jsonl").read_text().splitlines()] == [[]] * 3


def test_a_bundle_has_the_thresholds_of_its_run_or_none(small, run, chosen, tmp_path):
    write_shard(tmp_path / "a.tfrecord", range(12))
    recipe, runs = read_blend(small / "runs" / "small" / "netvlad", 9)
    thresholds = Thresholds(ThresholdConfig("recall", 0.6), tuple(chosen))
    for name, given in (("a.zip", thresholds), ("none.zip", None)):
        made_of = Ingredients(recipe, runs, ["x"] * 9, "float32", InferenceConfig(top_k=9), {}, given)
        write_bundle(tmp_path / name, made_of)
    arguments = (tmp_path / "a.tfrecord", "--json", "--run")
    out = run(*arguments, tmp_path / "a.zip", "--threshold", "stored")[0]
    assert said(out) == wanted(small, chosen, range(12))
    assert "none.zip holds no thresholds: run threshold for the run and export it again, or give a number" in str(
        run(*arguments, tmp_path / "none.zip", "--threshold", "stored")[2]
    )
    assert run(*arguments, tmp_path / "none.zip", "--threshold", "0.5")[2] is None
    error = str(run(*arguments, tmp_path / "a.zip", "--precision", "0.9")[2])
    assert "is a bundle, and has no hold-out to choose by: give --threshold stored, or a number" in error


def test_thresholds_that_cannot_be_had_are_refused_before_a_model_is_loaded(small, run, tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.runtime.backend.start_backend", lambda: pytest.fail("a model is loaded"))
    write_shard(tmp_path / "a.tfrecord", range(1))
    arguments = (tmp_path / "a.tfrecord", "--run", "average")
    for more, message in (
        (("--threshold", "stored"), "average has no thresholds: run threshold --run average"),
        (("--precision", "0.9"), "average has no predictions of holdout: run infer --run average --split holdout"),
        (("--threshold", "0.5", "--recall", "0.9"), "--threshold, --precision and --recall each say from which score"),
        (("--precision", "0"), "--precision must be more than 0 and at most 1, not 0"),
        (("--threshold", "some"), "--threshold must be stored, or a number from 0 to 1, not 'some'"),
    ):
        assert message in str(run(*arguments, *more)[2])


# ------------------------------------------------------------------------------------------------------------- windows


def long_clip(path, num_frames: int, seed: int = 0) -> np.ndarray:
    frames = np.random.default_rng(seed).integers(0, 256, (num_frames, 8), dtype=np.uint8)
    np.savez(path, rgb=frames[:, :6], audio=frames[:, 6:])
    return frames


@pytest.mark.parametrize("model", ["netvlad", "average", "blend"])
def test_windows_have_the_scores_of_videos_of_their_own(model, small, run, tmp_path, monkeypatch):
    """Of a run that sees 5 frames of each, one that sees all, and their blend."""
    (small / "runs" / "small" / "blend").mkdir(exist_ok=True)
    write_json(small / "runs" / "small" / "blend" / "weights.json", weights_json(small))
    frames = long_clip(tmp_path / "a.npz", 25)
    (tmp_path / "windows").mkdir()
    for number, start in enumerate((0, 6, 12, 15)):
        part = frames[start : start + 10]
        np.savez(tmp_path / "windows" / f"{number}.npz", rgb=part[:, :6], audio=part[:, 6:])
    run_of = small / "runs" / "small" / model
    out, _, error = run(tmp_path / "windows", "--run", run_of, "--json", "--top", 9)
    assert error is None
    alone = np.zeros((4, 9))
    for number, line in enumerate(map(json.loads, out.splitlines())):
        for label in line["labels"]:
            alone[number, label["label"]] = label["score"]
    sure = float(np.median(alone))
    monkeypatch.setattr(answering, "SURE", sure)
    out, _, error = run(tmp_path / "a.npz", "--run", run_of, "--json", "--top", 9, "--window", 10, "--every", 6)
    assert error is None
    line = json.loads(out)
    assert line["id"] == "a" and line["intervals"]
    edges, middles = [0, 8, 14, 18.5, 25], [5, 11, 17, 20]
    said = {
        (each["label"], place)
        for each in line["intervals"]
        for place, at in enumerate(middles)
        if each["start"] <= at <= each["end"]
    }
    assert said == set(zip(*map(np.ndarray.tolist, np.nonzero(sure <= alone.T))))
    for each in line["intervals"]:
        assert {each["start"], each["end"]} <= set(edges) and each["name"] == f"Nr. {each['label']}, ñ"
        assert each["score"] == pytest.approx(alone[middles.index(each["peak"]), each["label"]], abs=1e-5)


def test_intervals_in_a_table_and_in_lines_that_are_kept(run, tmp_path, monkeypatch):
    monkeypatch.setattr(answering, "SURE", 0.1)
    long_clip(tmp_path / "a.npz", 25)
    long_clip(tmp_path / "b.npz", 3)
    output = tmp_path / "out.jsonl"
    files = (tmp_path / "a.npz", tmp_path / "b.npz", "--run", "average", "--every", 4)
    table, _, error = run(*files)
    assert error is None
    assert "2 predicted, 0 kept" in run(*files, "--output", output)[0]
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert [line["id"] for line in lines] == ["a", "b"]
    rows = [
        f"{each['start']:>8.1f} - {each['end']:<8.1f}  {each['score']:.4f}  {each['name']}"
        for line in lines
        for each in line["intervals"]
    ]
    assert [row[22:] for row in table.splitlines()] == rows and len(rows) > 2
    assert [row[:20].strip() for row in table.splitlines()].count("") == len(rows) - 2
    assert "0 predicted, 2 kept" in run(*files, "--output", output, "--skip-done")[0]
    for more in (("--window", 9), ("--fps", 2), ("--every", 3)):
        assert "2 predicted, 0 kept" in run(*files, *more, "--output", output, "--skip-done")[0]


def test_windows_that_cannot_be_are_refused_before_anything_is_read(run, tmp_path):
    for flags, told in (
        (("--window", 0.2), "less than a frame at --fps 1"),
        (("--window", 5, "--every", 6), "is longer"),
    ):
        assert told in str(run(tmp_path / "a.npz", "--run", "average", *flags)[2])


def test_intervals_as_csv_and_as_subtitles(run, tmp_path, monkeypatch):
    monkeypatch.setattr(answering, "SURE", 0.1)
    (tmp_path / "clips").mkdir()
    for name in ("a", "b/c"):
        (tmp_path / "clips" / name).parent.mkdir(exist_ok=True)
        long_clip(tmp_path / "clips" / f"{name}.npz", 25)
    files = (tmp_path / "clips", "--run", "average", "--every", 4)
    lines = [json.loads(line) for line in run(*files, "--json")[0].splitlines()]
    output = tmp_path / "out.csv"
    assert f"{output}: 2 videos" in run(*files, "--output", output)[0]
    rows = list(csv.DictReader(output.open(encoding="utf-8", newline="")))
    told = [{"id": line["id"], **each} for line in lines for each in line["intervals"]]
    assert rows == [{key: str(value) for key, value in each.items()} for each in told]
    out, _, error = run(*files, "--output", tmp_path / "out.vtt")
    assert error is None and out == f"{tmp_path}/out: 2 videos; 2 predicted, 0 kept\n"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.vtt", "c.vtt"]
    assert (tmp_path / "out" / "a.vtt").read_text() == web_vtt(lines[0]["intervals"])
    one = (tmp_path / "clips" / "a.npz", *files[1:])
    assert run(*one, "--output", tmp_path / "one.srt")[2] is None
    assert (tmp_path / "one.srt").read_text() == sub_rip(lines[0]["intervals"])
    # A folder of other files is not mixed with subtitles; nothing is replaced by nothing.
    assert f"{tmp_path}/clips/a.npz is none of them" in str(run(*files, "--output", tmp_path / "clips.srt")[2])
    before = output.read_text()
    assert run(tmp_path / "nowhere", *files[1:], "--output", output)[2] and output.read_text() == before
    for flags, told in (
        (("--output", tmp_path / "o.vtt"), "is for intervals: add --every"),
        (("--output", tmp_path / "o.csv", "--every", 4, "--skip-done"), "keeps lines of JSON"),
    ):
        assert told in str(run(one[0], "--run", "average", *flags)[2])


def test_descriptors_are_those_of_the_pooling(small, run, tmp_path, monkeypatch):
    """Of a run, in batches that memory cuts to pieces; and of an ensemble, a column for each member."""
    import keras

    (tmp_path / "clips").mkdir()
    for number in range(5):
        long_clip(tmp_path / "clips" / f"{number}.npz", 9, seed=number)
    output = tmp_path / "d.parquet"
    plain, _, _ = run(tmp_path / "clips", "--run", "netvlad", "--json")
    out, _, error = run(tmp_path / "clips", "--run", "netvlad", "--json", "--descriptors", output)
    assert error is None and out == plain
    table = pq.read_table(output)
    assert table["id"].to_pylist() == list("01234") and table.column_names == ["id", "descriptor"]
    assert table.schema.field("descriptor").type == pa.list_(pa.float16(), 8 * 8)
    model = load_model(small / "runs" / "small" / "netvlad" / "model.keras")
    pooling = keras.Model(model.input, model.get_layer("descriptor").output)
    (chosen,), count = choose_frames("uniform", np.array([9]), FIVE.frames)
    frames = [np.random.default_rng(seed).integers(0, 256, (9, 8), dtype=np.uint8)[chosen] for seed in range(5)]
    wanted = pooling.predict_on_batch({"frames": np.stack(frames), "num_frames": count.repeat(5)})
    found = table["descriptor"].combine_chunks().flatten().to_numpy().reshape(5, -1)
    np.testing.assert_allclose(found, wanted, atol=1e-3)
    (small / "runs" / "small" / "blend").mkdir(exist_ok=True)
    write_json(small / "runs" / "small" / "blend" / "weights.json", weights_json(small))
    run(tmp_path / "clips", "--run", small / "runs" / "small" / "blend", "--descriptors", output)
    both = pq.read_table(output)
    assert (
        both.column_names == ["id", "average", "netvlad"]
        and both["netvlad"].to_pylist() == table["descriptor"].to_pylist()
    )
    before = output.read_bytes()
    assert run(tmp_path / "nowhere", "--run", "netvlad", "--descriptors", output)[2] and output.read_bytes() == before
    for flags, told in ((("--every", 2), "whole videos"), (("--skip-done", "--output", tmp_path / "o"), "all videos")):
        assert told in str(run(tmp_path / "clips", "--run", "netvlad", "--descriptors", output, *flags)[2])


def test_every_frame_counts_also_where_some_are_looked_at(small, monkeypatch):
    ensemble = Ensemble.of_runs(*read_blend(small / "runs" / "small" / "netvlad", 9), 9)
    scorer = WindowScorer(ensemble, 4)
    frames = np.random.default_rng(0).integers(0, 256, (25, 8), dtype=np.uint8)
    whole = scorer.shares(frames)
    monkeypatch.setattr(window_scores, "_LOOKED_AT", 10)
    some = scorer.shares(frames)
    assert whole.shape == some.shape == (25,) and whole.sum() == pytest.approx(1) and some.sum() == pytest.approx(1)
    assert len(set(whole.tolist())) == 25 and len(set(some.tolist())) == 10
    alone = scorer.shares(frames[np.arange(10) * 25 // 10])
    np.testing.assert_allclose(some[::5] / some[0], alone[::2] / alone[0], rtol=1e-5)


@pytest.mark.wide
@pytest.mark.parametrize("backend", OTHER_BACKENDS)
def test_another_backend_says_the_same(backend, small, run, tmp_path):
    """A blend, of labels, of what is pooled, and of windows."""
    blend = small / "runs" / "small" / "blend"
    blend.mkdir(exist_ok=True)
    write_json(blend / "weights.json", weights_json(small))
    write_clips(tmp_path / "clips", range(6))
    long_clip(tmp_path / "long.npz", 25)
    here, there = tmp_path / "here.parquet", tmp_path / "there.parquet"

    def elsewhere(*arguments: object) -> str:
        command = stage_command("predict", "--preset", small / "small.py", *arguments)
        environment = {**stage_environment(small), "KERAS_BACKEND": backend}
        return subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True).stdout

    asked = (tmp_path / "clips", "--run", blend, "--json", "--top", 9)
    lines = [json.loads(line) for line in run(*asked, "--descriptors", here)[0].splitlines()]
    others = [json.loads(line) for line in elsewhere(*asked, "--descriptors", there).splitlines()]
    assert [line["id"] for line in others] == [line["id"] for line in lines] and len(lines) == 6
    for line, other in zip(lines, others):
        scores, found = ({each["label"]: each["score"] for each in one["labels"]} for one in (line, other))
        assert len(scores) == 9 and found == pytest.approx(scores, abs=1e-4)
    for name in ("average", "netvlad"):
        pooled, found = (np.stack(pq.read_table(path)[name].to_pylist()) for path in (here, there))
        np.testing.assert_allclose(found, pooled, rtol=2**-9, atol=1e-4)  # as float16
    windows = (tmp_path / "long.npz", "--run", blend, "--json", "--window", 10, "--every", 6, "--threshold", 0.1)
    intervals, found = (json.loads(out)["intervals"] for out in (run(*windows)[0], elsewhere(*windows)))
    assert len(found) == len(intervals) > 2
    for one, other in zip(intervals, found):
        assert other == {**one, "score": pytest.approx(one["score"], abs=1e-4)}


def test_pages_of_one_video_and_of_several(run, tmp_path, monkeypatch):
    """Without --every windows begin every 5 seconds; what an earlier command wrote beside the videos is no video."""
    monkeypatch.setattr(answering, "SURE", 0.1)
    (tmp_path / "clips").mkdir()
    for number in range(2):
        long_clip(tmp_path / "clips" / f"clip {number}.npz", 25, seed=number)
    page = tmp_path / "one.html"
    out, _, error = run(tmp_path / "clips" / "clip 0.npz", "--run", "netvlad", "--page", page, "--json")
    assert error is None
    text = page.read_text(encoding="utf-8")
    assert "Windows of 10 seconds begin every 5." in text and "<h1>clip 0</h1>" in text and "tags by netvlad" in text
    assert "Frames that counted" in text and "clip 0.npz, array rgb" in text
    for each in json.loads(out)["intervals"]:
        assert each["name"] in text
    page = tmp_path / "clips" / "all.html"
    for _ in range(2):
        _, _, error = run(tmp_path / "clips", "--run", "average", "--page", page, "--every", 3, "--top", 1)
        assert error is None
        assert sorted(path.name for path in (tmp_path / "clips" / "all").iterdir()) == ["clip_0.html", "clip_1.html"]
    assert 'href="all/clip_1.html"' in page.read_text(encoding="utf-8")
    assert "Windows of 6 seconds begin every 3." in (tmp_path / "clips" / "all" / "clip_1.html").read_text()
    told = run(tmp_path / "clips", "--run", "average", "--page", page, "--skip-done", "--output", tmp_path / "o")[2]
    assert "leave out --skip-done" in str(told)
