"""Ingest that is appended to, killed, refused: the index is the one that a whole ingest writes, or the one before."""

import errno
import json
import os
import xml.etree.ElementTree
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fixtures.support import SMALL, frames_of, write_shard

from pipeline.artifacts.done import Done
from pipeline.artifacts.locks import locked
from pipeline.config import DatasetConfig, FeatureConfig
from pipeline.config.errors import StageError
from pipeline.inputs.index import Index
from pipeline.inputs.records import encoding, tfrecord

PRESET = (
    "from pipeline.config import *\nMODELS = ('average',)\n"
    f"def experiment(model):\n    return Experiment({SMALL!r}, ModelConfig(model, POOLING[model]()))\n"
)


@pytest.fixture
def preset(tmp_path) -> Path:
    path = tmp_path / "small.py"
    path.write_text(PRESET)
    return path


def write_odd(path: Path, *ids: str, labels: tuple[int, ...] = (1,)) -> None:
    """Records of these ids; a label of 99 makes them bad."""
    frames = frames_of(3)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        features = {"rgb": frames[:, :6], "audio": frames[:, 6:]}
        tfrecord.write_records(
            file, [encoding.encode_sequence_example({"id": id, "labels": labels}, features) for id in ids]
        )


def spoil(path: Path) -> bytes:
    """Other bytes in a file of the same size and time, so that whoever reads it finds nothing good."""
    data, status = path.read_bytes(), path.stat()
    path.write_bytes(bytes(len(data)))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    return data


def mend(path: Path, data: bytes) -> None:
    status = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_is_appended_is_what_a_whole_ingest_writes(tmp_path, stage, preset):
    raw, index = tmp_path / "data" / "small" / "raw", tmp_path / "data" / "small" / "index"
    arguments = ["--preset", preset, "--max-quarantined", 9, "--dataset.holdout-percent", 30]
    write_shard(raw / "train" / "b.tfrecord", range(20))
    write_shard(raw / "train" / "d.tfrecord", range(15, 30))  # five are there already
    write_odd(raw / "test" / "y.tfrecord", "v001", "t1", "t1", "t2")
    write_odd(raw / "train" / "e.tfrecord", "bad", labels=(99,))
    stage("ingest", *arguments)
    old = {path: spoil(path) for path in raw.rglob("*.tfrecord")}
    write_shard(raw / "train" / "a.tfrecord", range(10, 17))  # before the others: now theirs are the second
    write_shard(raw / "train" / "c.tfrecord", range(100, 140))
    write_odd(raw / "test" / "x.tfrecord", "t2", "v002", "t3")
    write_odd(raw / "eval" / "z.tfrecord", "t3")
    write_odd(raw / "test" / "yy.tfrecord", "worse", "worst", labels=(99, 1))
    result = stage("ingest", *arguments, "--append")
    assert "quarantined" in result.stdout
    appended = files(index)
    summary = json.loads(appended["dataset.json"])
    assert summary["quarantined"]["count"] == 3 and summary["duplicates"]["count"] == 14
    assert summary["leakage"]["count"] == 2
    for path, data in old.items():
        mend(path, data)
    stage("ingest", *arguments, "--force")
    assert files(index) == appended
    assert set(appended) == {"index.parquet", "left_out.parquet", "dataset.json", "done.json", "card.svg"}
    assert "up to date" in stage("ingest", *arguments, "--append").stdout


def test_files_are_appended_where_they_are(tmp_path, stage, preset):
    for number, name in enumerate("abc"):
        write_shard(tmp_path / name / f"{name}.tfrecord", range(10 * number, 10 * number + 10))
    index = tmp_path / "data" / "small" / "index"
    stage("ingest", "--preset", preset, "--raw", f"train={tmp_path / 'b'}")
    spoil(tmp_path / "b" / "b.tfrecord")
    both = ["--raw", f"train={tmp_path / 'a'}", "--raw", f"test={tmp_path / 'c'}"]
    result = stage("ingest", "--preset", preset, "--append", *both)
    assert "train 20, holdout 0, test 10 videos; 0 records quarantined" in result.stdout
    assert json.loads((index / "done.json").read_text())["config"]["raw"] == [
        f"train={tmp_path / 'b'}",
        f"train={tmp_path / 'a'}",
        f"test={tmp_path / 'c'}",
    ]


FLOATS = DatasetConfig("small", (FeatureConfig("rgb", 4, "float32"),), 9, holdout_percent=0)


def write_floats(path: Path, **sizes: float) -> None:
    """Videos by their ids, whose values reach so far."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for id, size in sizes.items():
            rows = {"rgb": np.full((3, 4), size, np.float32)}
            tfrecord.write_records(file, [encoding.encode_sequence_example({"id": id, "labels": [1]}, rows)])


@pytest.mark.wide
def test_videos_far_beyond_the_others_are_left_out_whichever_shard_tells(tmp_path, stage, preset):
    """Nothing is odd in the first shard by itself; with the others two videos are, with still others none."""
    preset.write_text(PRESET.replace(repr(SMALL), repr(FLOATS)))
    raw, index = tmp_path / "data" / "small" / "raw" / "train", tmp_path / "data" / "small" / "index"
    write_floats(raw / "b.tfrecord", big=2e5, huge=1e6, small=1, v1=1)
    arguments = ["--preset", preset, "--max-quarantined", 2]
    stage("ingest", *arguments)  # the median of four is 100,000
    assert sum(json.loads((index / "dataset.json").read_text())["counts"].values()) == 4
    old = spoil(raw / "b.tfrecord")
    write_floats(raw / "a.tfrecord", v1=1.5, v2=1, v3=2, v4=1, huge=3)
    result = stage("ingest", *arguments, "--append")
    assert "train 6, holdout 0 videos; 2 records quarantined" in result.stdout
    appended = files(index)
    mend(raw / "b.tfrecord", old)
    stage("ingest", *arguments, "--force")
    assert files(index) == appended
    reasons = [
        fault["reason"].partition(",")[0] for fault in json.loads(appended["dataset.json"])["quarantined"]["first"]
    ]
    assert reasons == ["video 'big': feature rgb reaches 2.0e+05", "video 'huge': feature rgb reaches 1.0e+06"]
    write_floats(raw / "c.tfrecord", **{f"b{number}": 1e5 for number in range(20)})
    assert "0 records quarantined" in stage("ingest", *arguments, "--append").stdout  # now the median is large
    result = stage("ingest", *arguments, "--outlier-ratio", 0.5, check=False)
    assert "--outlier-ratio must be 0, for none, or at least 1, not 0.5" in result.stderr
    result = stage("ingest", *arguments, "--outlier-ratio", 0)
    assert "outlier_ratio: 1000.0 -> 0.0" in result.stdout


def as_before(index: Path, most: int) -> None:
    """Make an index one of a version that counted at most `most` frames and told no longest video."""
    table = pq.read_table(index / "index.parquet")
    column = table.schema.get_field_index("num_frames")
    heads = pa.array(table["num_frames"].to_numpy().clip(max=most))
    pq.write_table(table.set_column(column, table.schema.field(column), heads), index / "index.parquet")
    summary = json.loads((index / "dataset.json").read_text())
    del summary["cut"]
    (index / "dataset.json").write_text(json.dumps(summary))


def test_an_index_of_the_heads_of_long_videos_is_made_again_and_one_without_them_is_not(tmp_path, stage, preset):
    """Video n has 1 + 3n mod 17 frames: among the first ten one has 16, and 12 are read."""
    index = tmp_path / "data" / "small" / "index"
    write_shard(tmp_path / "data" / "small" / "raw" / "train" / "a.tfrecord", range(10))
    arguments = "ingest", "--preset", preset
    assert "more than 12 frames in 2 of 10 videos, up to 16: at most 12 are read" in stage(*arguments).stdout
    before = files(index)
    as_before(index, 12)
    with pytest.raises(StageError, match=r"read only the first frames of a long video, .*run `python -m pipeline.ing"):
        Index.open(index)
    result = stage(*arguments, "--append", check=False)
    assert result.returncode == 1 and "cannot be appended to: it was written by a version" in result.stderr
    result = stage(*arguments)
    assert "is made again: it was written by a version that read only the first frames of a long" in result.stdout
    assert files(index) == before
    write_shard(tmp_path / "data" / "small" / "raw" / "train" / "a.tfrecord", range(4))  # of at most 10 frames
    stage(*arguments)
    as_before(index, 12)
    assert Index.open(index).num_frames.max() == 10
    assert "up to date" in stage(*arguments).stdout


def test_what_cannot_be_appended_to_is_named(tmp_path, stage, preset):
    raw, index = tmp_path / "data" / "small" / "raw", tmp_path / "data" / "small" / "index"
    for number in range(2):
        write_shard(raw / "train" / f"{number}.tfrecord", range(10 * number, 10 * number + 10))
    stage("ingest", "--preset", preset, "--append")  # nothing is there yet: all are new
    before = files(index)
    write_shard(raw / "train" / "2.tfrecord", range(30, 40))
    result = stage("ingest", "--preset", preset, "--append", "--dataset.holdout-percent", 5, check=False)
    assert "made with other settings (holdout_percent: 0 -> 5.0); run ingest without --append" in result.stderr
    os.utime(raw / "train" / "1.tfrecord")
    result = stage("ingest", "--preset", preset, "--append", check=False)
    assert f"{raw / 'train' / '1.tfrecord'} changed after it was indexed; run ingest without" in result.stderr
    (raw / "train" / "0.tfrecord").unlink()
    result = stage("ingest", "--preset", preset, "--append", check=False)
    assert result.returncode == 1 and "is not among the files" in result.stderr
    assert files(index) == before
    summary = json.loads((index / "dataset.json").read_text())
    for shard in summary["shards"]:
        del shard["cut"]  # as an earlier version wrote it
    (index / "dataset.json").write_text(json.dumps(summary))
    write_shard(raw / "train" / "0.tfrecord", range(10))
    result = stage("ingest", "--preset", preset, "--append", check=False)
    assert "cannot be appended to: it was written by another version" in result.stderr
    assert "run ingest without --append" in result.stderr
    (index / "left_out.parquet").write_bytes(b"")
    result = stage("ingest", "--preset", preset, "--append", check=False)
    assert "cannot be appended to" in result.stderr and "run ingest without --append" in result.stderr


def test_shards_that_are_checked_are_not_read_again(tmp_path, stage, preset):
    raw, work = tmp_path / "raw", tmp_path / "data" / "small" / "index.work"
    write_shard(raw / "a.tfrecord", range(10))
    write_odd(raw / "b.tfrecord", "good")
    write_odd(raw / "c.tfrecord", "bad", labels=(99,))
    arguments = ["--preset", preset, "--raw", f"train={raw}"]
    assert stage("ingest", *arguments, check=False).returncode == 1
    assert len([path for path in work.rglob("*") if path.is_file()]) == 3
    for name in "abc":
        spoil(raw / f"{name}.tfrecord")
    result = stage("ingest", *arguments, "--max-quarantined", 1)
    assert "train 11, holdout 0 videos; 1 record quarantined" in result.stdout
    assert not work.exists()


def test_what_the_preset_declares_is_kept_up_to_date(tmp_path, stage, preset):
    """The preset changes, and flags make the same dataset of it: nothing is read again."""
    write_shard(tmp_path / "raw" / "a.tfrecord", range(10))
    arguments = ["--preset", preset, "--raw", f"train={tmp_path / 'raw'}", "--dataset.max-frames", 12]
    stage("ingest", *arguments)
    path = tmp_path / "data" / "small" / "index" / "dataset.json"
    before = json.loads(path.read_text())
    assert before["declared"]["max_frames"] == 12
    preset.write_text(PRESET.replace("max_frames=12", "max_frames=7"))
    assert "up to date" in stage("ingest", *arguments).stdout
    after = json.loads(path.read_text())
    assert after["declared"].pop("max_frames") == 7 and before["declared"].pop("max_frames") == 12
    assert after == before


def test_a_vocabulary_is_given_once_and_makes_nothing_stale(tmp_path, stage, preset):
    write_shard(tmp_path / "raw" / "a.tfrecord", range(10))
    arguments = ["--preset", preset, "--raw", f"train={tmp_path / 'raw'}"]
    stage("ingest", *arguments)
    path, given = tmp_path / "data" / "small" / "index", tmp_path / "names.csv"
    before = Index.open(path)
    assert not before.has_class_names and before.class_names[8] == "class 8"
    given.write_text("index,name\n" + "".join(f"{label},name {label}\n" for label in range(9)))
    result = stage("ingest", *arguments, "--vocabulary", given)
    assert "up to date" in result.stdout and "the classes are named 'name 0' and so on" in result.stdout
    named = Index.open(path)
    assert named.class_names == [f"name {label}" for label in range(9)] and named.digest == before.digest
    assert (path / "index.parquet").read_bytes() and Done.read(path).output == before.digest
    for more in ((), ("--append",), ("--force",)):  # kept, whatever else lies there
        write_shard(tmp_path / "raw" / f"b{len(more)}.tfrecord", range(20, 30))
        (path.parent / "vocabulary.csv").write_text("index,name\n" + "".join(f"{label},X\n" for label in range(9)))
        stage("ingest", *arguments, *more)
        assert Index.open(path).class_names == named.class_names
    given.write_text("index,name\n0,A\n")
    result = stage("ingest", *arguments, "--vocabulary", given, check=False)
    assert result.returncode == 1 and f"{given} names 1 of 9 classes; 1, 2, 3, 4, 5, ... not in" in result.stderr
    assert Index.open(path).class_names == named.class_names


def test_the_vocabulary_that_download_has_brought_is_taken(tmp_path, stage, preset):
    write_shard(tmp_path / "raw" / "a.tfrecord", range(10))
    home = tmp_path / "data" / "small"
    home.mkdir(parents=True)
    lines = "".join(f"{label},/m/0,name {label}\n" for label in range(9))
    (home / "class_labels_indices.csv").write_text("index,mid,display_name\n" + lines)
    stage("ingest", "--preset", preset, "--raw", f"train={tmp_path / 'raw'}")
    assert Index.open(home / "index").class_names[3] == "name 3"


def test_files_of_another_kind_and_empty_ones_are_named(tmp_path, stage, preset):
    raw = tmp_path / "raw"
    raw.mkdir()
    arguments = ["--preset", preset, "--raw", f"train={raw}"]
    (raw / "a.tfrecord").write_bytes(b"")
    result = stage("ingest", *arguments, check=False)
    assert result.returncode == 1
    assert f"hold no videos: 1 file empty or damaged, {raw}/a.tfrecord; see --raw" in result.stderr
    (raw / "a.tfrecord").write_bytes(b"<!doctype html><title>404</title>")
    result = stage("ingest", *arguments, check=False)
    assert result.returncode == 1
    assert (
        f"{raw}/a.tfrecord, offset 0: the file is a web page (HTML), not TFRecords; a server sent it" in result.stderr
    )


def test_two_at_once(tmp_path, stage, preset):
    write_shard(tmp_path / "raw" / "a.tfrecord", range(10))
    arguments = ["--preset", preset, "--raw", f"train={tmp_path / 'raw'}"]
    with locked(tmp_path / "data" / "small"):
        result = stage("ingest", *arguments, check=False)
        assert result.returncode == 1 and "another process is at work on" in result.stderr
    stage("ingest", *arguments)


def test_an_ingest_that_fails_leaves_the_index(tmp_path, stage, preset):
    write_shard(tmp_path / "raw" / "a.tfrecord", range(10))
    arguments = ["--preset", preset, "--raw", f"train={tmp_path / 'raw'}"]
    stage("ingest", *arguments)
    index = tmp_path / "data" / "small" / "index"
    before = files(index)
    write_odd(tmp_path / "raw" / "b.tfrecord", "bad", labels=(99,))
    result = stage("ingest", *arguments, check=False)
    assert "1 bad record, 0 tolerated" in result.stderr
    assert files(index) == before
    xml.etree.ElementTree.fromstring(before["card.svg"])


def test_more_folds_than_videos_to_deal_out_are_refused(tmp_path, stage, preset):
    write_odd(tmp_path / "raw" / "a.tfrecord", "a", "b", "c")
    raw = ("--preset", preset, "--raw", f"train={tmp_path}/raw")
    result = stage("ingest", *raw, "--dataset.folds", 4, check=False)
    assert result.returncode == 1 and "there are only 3 training videos; choose 3 folds or fewer" in result.stderr
    result = stage("ingest", *raw, "--dataset.folds", 3)
    assert "3 training videos in 3 folds of 1" in result.stdout
    result = stage("ingest", *raw, "--dataset.folds", 3)
    assert "up to date" in result.stdout


def test_parts_give_the_files_of_one_ingest(tmp_path, stage, preset):
    raw, index = tmp_path / "data" / "small" / "raw", tmp_path / "data" / "small" / "index"
    for shard in range(5):
        write_shard(raw / "train" / f"{shard}.tfrecord", range(10 * shard, 10 * shard + 10))
    write_odd(raw / "train" / "bad.tfrecord", "bad", labels=(99,))
    arguments = ["--preset", preset, "--max-quarantined", 1]
    stage("ingest", *arguments)
    whole = files(index)
    assert "part 2 of 2: 3 shards checked" in stage("ingest", *arguments, "--force", "--part", "2/2").stdout
    with locked(index.parent, shared=True):  # by another part
        stage("ingest", *arguments, "--force", "--part", "2/3")
    refused = stage("ingest", *arguments, "--force", "--join", 2, check=False)
    assert "part 1 of 2 is missing: run the same command with --part 1/2" in refused.stderr
    stage("ingest", *arguments, "--force", "--part", "1/2")
    kept = spoil(raw / "train" / "0.tfrecord")  # nothing is read again
    stage("ingest", *arguments, "--force", "--join", 2)
    mend(raw / "train" / "0.tfrecord", kept)
    assert files(index) == whole
    assert not index.with_name("index.work").exists()
    assert "up to date" in stage("ingest", *arguments, "--join", 2).stdout


def test_a_part_that_cannot_be_read_is_not_done(tmp_path, stage, preset, monkeypatch):
    raw = tmp_path / "data" / "small" / "raw"
    write_shard(raw / "train" / "0.tfrecord", range(10))
    write_shard(raw / "train" / "1.tfrecord", range(10, 20))

    def unreadable(path):
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    with monkeypatch.context() as patch:
        patch.setattr(tfrecord, "scan_records", unreadable)
        patch.setattr("pipeline.ingest.check_first_records", lambda *_: None)
        result = stage("ingest", "--preset", preset, "--part", "1/2", check=False)
    assert "0.tfrecord: the file cannot be read: Input/output error; part 1 of 2 is not done" in result.stderr
    assert "part 1 of 2 is missing" in stage("ingest", "--preset", preset, "--join", 2, check=False).stderr
