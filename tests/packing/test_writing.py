"""A dataset written, added to, replaced and gone on with, from features in memory."""

import errno
from pathlib import Path

import numpy as np
import pytest
from fixtures.features import ArraySource, random_videos

from pipeline.config.errors import StageError
from pipeline.inputs.records import tfrecord
from pipeline.packing.dataset import FoundDataset
from pipeline.packing.record import PackedVideos, PackRecord
from pipeline.packing.settings import PackSettings
from pipeline.packing.sources.source import UnreadableFeature
from pipeline.packing.storing import stored_features
from pipeline.packing.videos import join_features
from pipeline.packing.writing import write_dataset
from pipeline.presets import load_experiment
from pipeline.runtime.engine import Processes

SETTINGS = {"name": "birds", "features": ("rgb=*.npy",), "labels": (Path("labels.csv"),)}


def found(numbers, before=None, broken=(), class_names=("owl", "crow"), **settings) -> FoundDataset:
    """Videos of these numbers: four of five are train, with a label; the others have none."""
    ids = [f"v{number:03}" for number in numbers]
    arrays = {id: random_videos(np.random.default_rng(n), {id: 2 + n % 3})[id] for n, id in zip(numbers, ids)}
    lengths = {id: len(array) for id, array in arrays.items()}
    arrays |= {id: UnreadableFeature(f"{id}.npy", "is cut short") for id in ids if id in broken}
    videos, _ = join_features([ArraySource("rgb", arrays, lengths)], None)
    order = np.argsort([n % 5 == 4 for n in numbers], kind="stable")
    if before:
        order = np.array([row for row in order if ids[row] not in before.videos.ids], np.int64)
    splits = ["test" if n % 5 == 4 else "train" for n in numbers]
    labels = [None if n % 5 == 4 else np.array([n % 2], np.int32) for n in numbers]
    about = PackedVideos(ids, splits, videos.lengths, labels, None)
    return FoundDataset(
        PackSettings(**SETTINGS | settings),
        videos.take(order),
        about.take(order),
        stored_features(videos, "float16", []),
        list(class_names),
        True,
        "single_label",
        [],
        [],
        before,
    )


def write(folder: Path, *given, **settings) -> Path:
    record = PackRecord.read(folder)
    return write_dataset(found(*given, before=record, **settings), folder, Processes(1), record)


def packed_ids(folder: Path) -> dict[str, list[bytes]]:
    """Of each shard, the payloads."""
    shards = sorted((folder / "raw").rglob("*.tfrecord"))
    return {
        str(path.relative_to(folder / "raw")): [record.payload for record in tfrecord.scan_records(path)]
        for path in shards
    }


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "data" / "birds"


def test_a_dataset_and_its_preset(folder):
    preset = write(folder, range(20))
    assert {path: len(records) for path, records in packed_ids(folder).items()} == {
        "test/test-00000.tfrecord": 4,
        "train/train-00000.tfrecord": 16,
    }
    experiment = load_experiment(str(preset), "netvlad")
    assert experiment.dataset.name == "birds" and experiment.dataset.num_classes == 2
    assert [(each.name, each.size, each.dtype) for each in experiment.dataset.features] == [("rgb", 3, "float16")]
    assert experiment.dataset.max_frames == 4 and experiment.dataset.holdout_percent == 20
    assert (folder / "vocabulary.csv").read_text() == "index,name\n0,owl\n1,crow\n"
    assert not (folder / "pack.work").exists()


def test_more_files_are_added_and_what_is_there_stays(folder):
    write(folder, range(20))
    before = packed_ids(folder)
    write(folder, range(30), class_names=("owl", "crow", "jay"))
    after = packed_ids(folder)
    assert {path: after[path] for path in before} == before
    assert set(after) - set(before) == {"train/train-00001.tfrecord", "test/test-00001.tfrecord"}
    record = PackRecord.read(folder)
    assert len(record.videos.ids) == 30 and record.class_names == ["owl", "crow", "jay"]
    assert load_experiment(str(folder / "birds.py")).dataset.num_classes == 3, "the preset follows"


def test_a_preset_that_its_owner_changed_stays(folder, capsys):
    preset = write(folder, range(20))
    preset.write_text(preset.read_text().replace("epochs=", "epochs=2 * "))
    mine = preset.read_text()
    write(folder, range(30), class_names=("owl", "crow", "jay"))
    assert preset.read_text() == mine
    out = capsys.readouterr().out
    assert "you have changed it, so it stays as it is" in out and "num_classes=3," in out


def test_videos_that_cannot_be_packed_are_refused_or_left_out(folder, capsys):
    with pytest.raises(
        StageError, match=r"(?s)2 videos or files cannot be packed:\n  \* v003.npy: is cut short\n.*--drop-bad"
    ):
        write(folder, range(20), broken=("v003", "v009"))
    assert not (folder / "raw").exists() and not (folder / "birds.py").exists()
    write(folder, range(20), broken=("v003", "v009"), drop_bad=True)
    assert "left out 'v003' (v003.npy): is cut short" in capsys.readouterr().out
    assert len(PackRecord.read(folder).videos.ids) == 18
    with pytest.raises(StageError, match="cannot be packed"):
        write(folder.with_name("other"), range(2), broken=("v000", "v001"), drop_bad=True)


def test_files_that_pack_did_not_make_are_refused_and_kept(folder):
    own = folder / "raw" / "train" / "mine.tfrecord"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"mine")
    with pytest.raises(StageError, match=r"mine\.tfrecord is no file that pack made"):
        write(folder, range(20))
    own.rename(own.with_name("train-00000.tfrecord"))
    with pytest.raises(StageError, match="no record says that pack made it"):
        write(folder, range(20))
    assert own.with_name("train-00000.tfrecord").read_bytes() == b"mine"


def test_all_is_packed_anew_in_place_of_what_is_there(folder):
    write(folder, range(20))
    record = PackRecord.read(folder)
    write_dataset(found(range(5, 9)), folder, Processes(1), record)
    assert {path: len(records) for path, records in packed_ids(folder).items()} == {"train/train-00000.tfrecord": 4}
    assert PackRecord.read(folder).videos.ids == ["v005", "v006", "v007", "v008"]
    fresh = folder.with_name("fresh")
    write_dataset(found(range(5, 9)), fresh, Processes(1), None)
    assert packed_ids(folder) == packed_ids(fresh)


def test_nothing_new_is_up_to_date(folder, capsys):
    write(folder, range(20))
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    capsys.readouterr()
    write(folder, range(20))
    assert capsys.readouterr().out == f"{folder}: up to date\n"
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()} == before


def test_a_damaged_record_is_told_with_what_to_do(folder, monkeypatch):
    write(folder, range(20))
    (folder / "packed" / "videos.parquet").write_bytes(b"no table")
    with pytest.raises(StageError, match=rf"packed is no record of packed files .*delete {folder} and pack all files"):
        PackRecord.read(folder)

    def refuse(*_, **__):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("pipeline.packing.record.pq.read_table", refuse)
    with pytest.raises(OSError, match="Too many open files"):
        PackRecord.read(folder)
