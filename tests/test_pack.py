"""pack: from files as people have them to a dataset that trains, whatever the format."""

import csv
import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from fixtures.feature_files import WRITERS
from fixtures.support import ROOT, stage_here

from pipeline.inputs.index import Index
from pipeline.inputs.records import tfrecord
from pipeline.inputs.records.parsing import ParsedRecord, parse_record
from pipeline.packing.dataset import find_dataset
from pipeline.packing.settings import PackSettings
from pipeline.packing.writing import write_dataset
from pipeline.presets import load_experiment
from pipeline.runtime.engine import Processes

RNG = np.random.default_rng(3)
VIDEOS = {f"video {n:02}": RNG.normal(size=(1 + n % 4, 3)).astype(np.float32) for n in range(12)}
LABELS = {id: ["owl", "crow", "owl;crow", ""][n % 4] for n, id in enumerate(VIDEOS) if n != 7}


def write_labels(path: Path, labels: dict[str, str] = LABELS, **more: dict[str, str]) -> Path:
    with path.open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["id", "bird", *more])
        lines.writerows([id, label, *(column[id] for column in more.values())] for id, label in labels.items())
    return path


def pack(folder: Path, *arguments: object, name: str = "birds", good: bool = True):
    result = stage_here("pack", folder, "--name", name, *arguments)
    assert (result.returncode == 0) == good, result.stderr
    return result


def write_npy(folder: Path, videos: dict[str, np.ndarray] = VIDEOS) -> str:
    folder.mkdir(exist_ok=True)
    for id, video in videos.items():
        np.save(folder / f"{id}.npy", video)
    return f"rgb={folder}/*.npy"


def raw_of(folder: Path, name: str = "birds") -> dict[str, bytes]:
    raw = folder / "data" / name / "raw"
    return {str(path.relative_to(raw)): path.read_bytes() for path in sorted(raw.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """The folder of a dataset that was packed of npy files, and what the stage printed."""
    folder = tmp_path_factory.mktemp("packed")
    result = pack(folder, "--features", write_npy(folder / "npy"), "--labels", write_labels(folder / "labels.csv"))
    return folder, result.stdout


def test_what_is_found_is_told_in_80_columns(packed):
    folder, out = packed
    told = out[: out.index(str(folder / "data"))]
    assert all(len(line) <= 80 for line in told.splitlines())
    assert "feature   rgb: 3 values of float32, 1 to 4 frames; 12 files" in told
    assert "split     train: 11, all labeled, 1.09 labels each" in told
    assert "split     test: 1, none labeled" in told
    assert "task      multi_label: a video has any number of labels" in told
    assert "classes   2: crow, owl" in told and "stored    as float16" in told
    assert f"to train on it: ./run_all.sh --preset {folder}/data/birds/birds.py" in out


def test_the_index_has_labels_none_and_no_labels(packed):
    index = Index.open(packed[0] / "data" / "birds" / "index")
    assert index.summary["class_names"] == ["crow", "owl"]
    assert (packed[0] / "data" / "birds" / "index" / "card.svg").exists()
    assert index.summary["labelled"] == {**index.summary["counts"], "test": 0}
    assert index.ids_of(index.rows("test")) == ["video 07"]
    experiment = load_experiment(str(packed[0] / "data" / "birds" / "birds.py"))
    assert experiment.dataset == index.dataset


def pack_form(form: str, folder: Path, videos: dict[str, np.ndarray], labels: Path, **options: str) -> dict[str, bytes]:
    """Write videos in a format, pack them without ingest, and return the shards."""
    files = folder / "files"
    files.mkdir(parents=True)
    written = WRITERS[form](files, videos)
    rows = None
    if written.rows is not None:
        rows = str(folder / "rows.csv")
        with Path(rows).open("w", newline="") as file:
            lines = csv.writer(file)
            lines.writerow(written.rows.names)
            lines.writerows(zip(*map(written.rows.column, written.rows.names)))
    settings = PackSettings(name="birds", features=(f"rgb={written.pattern}",), rows=rows, labels=(labels,), **options)
    write_dataset(find_dataset(settings, None, 1), folder / "data" / "birds", Processes(1), None)
    return raw_of(folder)


@pytest.mark.parametrize("form", WRITERS)
def test_every_format_gives_the_same_bytes(form, packed, tmp_path):
    assert pack_form(form, tmp_path, VIDEOS, write_labels(tmp_path / "labels.csv")) == raw_of(packed[0])


@pytest.mark.long
@pytest.mark.real_data
@pytest.mark.parametrize("name", ["birds", "vowels", "clips"])
def test_real_data_in_every_format_gives_the_same_bytes(name, shared_data, tmp_path):
    """548 recordings; 640 utterances; and clips of AudioSet, whose ids begin with - and _ and differ by case."""
    own = shared_data / "own"
    labels, options = own / "birds" / "labels.csv", {"dtype": "float32"}
    if name == "birds":
        with h5py.File(own / "birds" / "segments.h5") as file:
            videos = {id: values[()] for id, values in file.items()}
    elif name == "vowels":
        labels = own / "japanese_vowels" / "utterances.csv"
        videos = {path.stem: np.load(path)["lpc"] for path in (own / "japanese_vowels" / "utterances").iterdir()}
    else:
        shards = sorted((shared_data / "audioset" / "train").iterdir())[:60]
        clips = [clip for shard in shards for clip in parsed(shard)]
        videos = {clip.id: clip.features[0] for clip in clips}
        labels = write_labels(tmp_path / "labels.csv", {clip.id: " ".join(map(str, clip.labels)) for clip in clips})
    videos = {id: np.ascontiguousarray(videos[id]) for id in sorted(videos, key=str.encode)}
    expected = pack_form("npy a video", tmp_path / "npy", videos, labels, **options)
    assert len(videos) > 250 and sum(map(len, expected.values())) > sum(video.nbytes for video in videos.values())
    for number, form in enumerate(WRITERS):
        assert pack_form(form, tmp_path / str(number), videos, labels, **options) == expected, form


def parsed(path: Path) -> list[ParsedRecord]:
    dataset = load_experiment("audioset").dataset
    return [parse_record(record.payload, dataset) for record in tfrecord.scan_records(path)]


def test_records_hold_float16(packed):
    (shard,) = (packed[0] / "data" / "birds" / "raw" / "test").iterdir()
    (record,) = tfrecord.scan_records(shard)
    assert VIDEOS["video 07"].astype("<f2").tobytes()[:6] in record.payload


def test_a_dry_run_tells_and_writes_nothing(tmp_path):
    labels = write_labels(tmp_path / "labels.csv", {f"{id}.wav": label for id, label in LABELS.items()})
    result = pack(tmp_path, "--features", write_npy(tmp_path / "npy"), "--labels", labels, "--dry-run", good=False)
    assert "match without the suffix '.wav'" in result.stderr
    labels = write_labels(tmp_path / "labels.csv", {**LABELS, "video 99": "owl"})
    result = pack(tmp_path, "--features", f"rgb={tmp_path}/npy/*.npy", "--labels", labels, "--dry-run")
    assert "video 99" in result.stdout and "video 07" in result.stdout
    assert f"values    of {len(VIDEOS)} of {len(VIDEOS)} videos looked at: all can be packed" in result.stdout
    np.save(tmp_path / "npy" / "video 03.npy", np.full((3, 3), np.inf, np.float32))
    arguments = ("--features", f"rgb={tmp_path}/npy/*.npy", "--labels", labels, "--dry-run")
    assert "video 03.npy: feature rgb, frame 0, value 0 is inf" in pack(tmp_path, *arguments, good=False).stderr
    assert "looked at: 1 would be left out" in pack(tmp_path, *arguments, "--drop-bad").stdout
    assert not (tmp_path / "data").exists()


def test_more_files_are_added_and_nothing_else_is_touched(tmp_path):
    labels = write_labels(tmp_path / "labels.csv")
    first = dict(list(VIDEOS.items())[:8])
    arguments = ("--features", write_npy(tmp_path / "npy", first), "--labels", labels)
    pack(tmp_path, *arguments)
    before = raw_of(tmp_path)
    assert f"{tmp_path}/data/birds: up to date" in pack(tmp_path, *arguments).stdout
    write_npy(tmp_path / "npy")
    result = pack(tmp_path, *arguments)
    assert "packed    8 videos already, which are not read again" in result.stdout
    assert {path: raw_of(tmp_path)[path] for path in before} == before
    assert sum(Index.open(tmp_path / "data" / "birds" / "index").splits.values()) == 12

    write_labels(labels, {**LABELS, "video 00": "crow"})
    result = pack(tmp_path, *arguments, good=False)
    assert "packed already have changed: labels of 1 video (video 00). --force packs all files anew" in result.stderr
    result = pack(tmp_path, *arguments, "--dtype", "float32", good=False)
    assert "was packed with other settings: dtype: float16 -> float32" in result.stderr
    pack(tmp_path, *arguments, "--dtype", "float32", "--force")
    assert load_experiment(str(tmp_path / "data" / "birds" / "birds.py")).dataset.dtype == "float32"
    assert sorted(raw_of(tmp_path)) == ["test/test-00000.tfrecord", "train/train-00000.tfrecord"]


def test_the_task_is_that_of_all_videos_and_makes_the_preset(tmp_path):
    birds = {id: ["owl", "crow"][n % 2] for n, id in enumerate(VIDEOS)}
    features = write_npy(tmp_path / "npy", dict(list(VIDEOS.items())[:8]))
    arguments = ("--features", features, "--labels", write_labels(tmp_path / "labels.csv", birds))
    assert "task      single_label: every labeled video has exactly one label" in pack(tmp_path, *arguments).stdout
    preset = str(tmp_path / "data" / "birds" / "birds.py")
    assert load_experiment(preset).dataset == Index.open(tmp_path / "data" / "birds" / "index").dataset
    assert load_experiment(preset).model.classifier.head == "softmax"
    write_labels(tmp_path / "labels.csv", birds | {"video 09": "owl;crow"})
    write_npy(tmp_path / "npy")
    result = pack(tmp_path, *arguments, "--task", "single_label", good=False)
    assert "1 video with no label or several, for example 'video 09' with 2" in result.stderr
    assert "task      multi_label" in pack(tmp_path, *arguments).stdout
    assert load_experiment(preset).dataset.task == "multi_label"


def test_values_that_are_not_finite(tmp_path):
    bad = VIDEOS | {"video 03": np.full((4, 3), np.nan, np.float32)}
    arguments = ("--features", write_npy(tmp_path / "npy", bad), "--labels", write_labels(tmp_path / "labels.csv"))
    result = pack(tmp_path, *arguments, good=False)
    assert "video 03.npy: feature rgb, frame 0, value 0 is nan" in result.stderr and "--drop-bad" in result.stderr
    assert not (tmp_path / "data" / "birds" / "raw").exists()
    assert "left out 'video 03'" in pack(tmp_path, *arguments, "--drop-bad").stdout
    assert sum(Index.open(tmp_path / "data" / "birds" / "index").splits.values()) == 11


def test_quantized_features_keep_their_range(tmp_path):
    arguments = ("--features", write_npy(tmp_path / "npy"), "--labels", write_labels(tmp_path / "labels.csv"))
    result = pack(tmp_path, *arguments, "--quantize")
    assert "quantized rgb: 0 to 255 stand for" in result.stdout and " dB" in result.stdout
    (feature,) = load_experiment(str(tmp_path / "data" / "birds" / "birds.py")).dataset.features
    values = np.concatenate(list(VIDEOS.values()))
    assert feature.dtype == "uint8" and values.min() <= feature.minimum < feature.maximum <= values.max()
    assert (
        json.loads((tmp_path / "data/birds/packed/pack.json").read_text())["features"][0]["minimum"] == feature.minimum
    )


def test_a_range_may_be_given(tmp_path):
    arguments = ("--features", write_npy(tmp_path / "npy"), "--labels", write_labels(tmp_path / "labels.csv"))
    fixed = (*arguments, "--quantize-range", "-2", "2")
    assert (
        "--quantize-range says which range bytes span: give --quantize too" in pack(tmp_path, *fixed, good=False).stderr
    )
    assert "0 to 255 stand for -2 to 2; signal-to-noise" in pack(tmp_path, *fixed, "--quantize").stdout
    (feature,) = load_experiment(str(tmp_path / "data" / "birds" / "birds.py")).dataset.features
    assert (feature.minimum, feature.maximum) == (-2, 2)
    for bounds in (("2", "-2"), ("1",), ("1", "2", "3")):
        wrong = pack(tmp_path, *arguments, "--quantize", "--quantize-range", *bounds, good=False)
        assert "--quantize-range must be two numbers, the lower one first" in wrong.stderr
    result = pack(tmp_path, *arguments, "--quantize", good=False)
    assert "packed with other settings: quantize_range: [-2.0, 2.0] -> None" in result.stderr


def test_other_features_are_not_added_to_quantized_ones(tmp_path):
    labels = write_labels(tmp_path / "labels.csv")
    rgb = write_npy(tmp_path / "npy")
    pack(tmp_path, "--features", rgb, "--labels", labels, "--quantize")
    wider = {id: np.concatenate([video, video], axis=1) for id, video in VIDEOS.items()}
    for feature in (rgb.replace("rgb=", "audio="), write_npy(tmp_path / "wide", wider)):
        result = pack(tmp_path, "--features", feature, "--labels", labels, "--quantize", good=False)
        assert "the features differ from those that are packed: rgb (3 values, uint8) are" in result.stderr


def test_one_of_everything_is_told_in_the_singular(tmp_path):
    features = write_npy(tmp_path / "npy", {"a": np.ones((1, 1), np.float32)})
    labels = write_labels(tmp_path / "labels.csv", {"a": "owl"})
    out = pack(tmp_path, "--features", features, "--labels", labels, "--dry-run").stdout
    assert "feature   rgb: 1 value of float32, 1 frame; 1 file\n" in out
    assert "videos    1, with 1 frame in all\n" in out


def test_numbers_that_are_names_are_noted(tmp_path):
    arguments = ("--features", write_npy(tmp_path / "npy"), "--labels")
    for numbers, noted in (((0, 1), False), ((1, 2), True)):
        labels = write_labels(tmp_path / "labels.csv", {id: str(numbers[n % 2]) for n, id in enumerate(VIDEOS)})
        assert ("each is the name of" in pack(tmp_path, *arguments, labels, "--dry-run").stdout) == noted
    told = pack(
        tmp_path, *arguments, labels, "--separator", "/", "--group", "bird", "--label-column", "bird", "--dry-run"
    )
    assert "no cell of column bird holds the separator '/'" in told.stdout and "groups    2, column bird" in told.stdout
    labels = write_labels(tmp_path / "labels.csv", dict.fromkeys(VIDEOS, ""))
    assert "no video has a label" in pack(tmp_path, *arguments, labels, good=False).stderr
    assert "label.csv: there is no such file" in pack(tmp_path, *arguments, tmp_path / "label.csv", good=False).stderr


def test_groups_stay_together(tmp_path):
    videos = {f"v{n:03}": np.full((1, 2), n, np.float32) for n in range(200)}
    labels = dict.fromkeys(videos, "owl")
    sites = {id: f"site {n % 20}" for n, id in enumerate(videos)}
    arguments = ("--features", write_npy(tmp_path / "npy", videos), "--group", "site")
    pack(
        tmp_path,
        *arguments,
        "--labels",
        write_labels(tmp_path / "labels.csv", labels, site=sites),
        "--label-column",
        "bird",
    )
    index = Index.open(tmp_path / "data" / "birds" / "index")
    held, trained = ({sites[id] for id in index.ids_of(index.rows(split))} for split in ("holdout", "train"))
    assert held and trained and not held & trained


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--features"),
        (("--features", "rgb"), "--features rgb: write NAME=GLOB"),
        (("--features", "rgb=nothing/*.npy"), "--labels is missing"),
        (("--features", "rgb=a.npy", "--features", "rgb=b.npy", "--labels", "x.csv"), "--features: two are named rgb"),
        (("--features", "rgb=nothing/*.npy", "--labels", "x.csv"), "there is no such file"),
        (("--features", "rgb=README.md", "--labels", "x.csv"), "plain text"),
    ],
)
def test_what_is_asked_wrongly_is_refused(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert message in pack(tmp_path, *arguments, good=False).stderr
    assert not (tmp_path / "data" / "birds").exists()


def test_parts_give_the_shards_of_one_pack(packed, tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.packing.shards.SHARD_VIDEOS", 3)
    asked = ("--features", write_npy(tmp_path / "npy"), "--labels", write_labels(tmp_path / "labels.csv"))
    pack(tmp_path / "one", *asked)
    assert len(raw_of(tmp_path / "one")) == 5
    assert "part 2 of 2, 5 videos" in pack(tmp_path / "parts", *asked, "--part", "2/2").stdout
    assert not (tmp_path / "parts" / "data" / "birds" / "raw").exists()
    assert "part 1 of 2 is missing" in pack(tmp_path / "parts", *asked, "--join", 2, good=False).stderr
    pack(tmp_path / "parts", *asked, "--part", "1/2")
    pack(tmp_path / "parts", *asked, "--join", 2)
    assert raw_of(tmp_path / "parts") == raw_of(tmp_path / "one")
    folders = [tmp_path / name / "data" / "birds" for name in ("one", "parts")]
    assert sorted(path.name for path in folders[0].iterdir()) == sorted(path.name for path in folders[1].iterdir())
    pack(tmp_path / "parts", *asked, "--join", 2)  # nothing is left to join
