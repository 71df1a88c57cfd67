"""Which files are found, in which order, and what is said where there are none."""

import io
import re

import pytest

from pipeline.config.errors import ConfigError, StageError
from pipeline.inputs.index.sources import find_sources, parse_sources, size_and_mtime
from pipeline.inputs.records import tfrecord

tfrecord.write_records(file := io.BytesIO(), [b"a record"])
RECORD = file.getvalue()


def test_files_are_in_the_order_of_their_bytes(tmp_path):
    for name in ("train/b", "train/B", "train/_a", "train/-a", "test/é", "test/z"):
        path = tmp_path / f"{name}.tfrecord"
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (tmp_path / "train" / ".hidden.tfrecord.1.part").touch()
    names = [(source.split, source.path.stem) for source in find_sources(tmp_path)]
    assert names == [("test", "z"), ("test", "é"), ("train", "-a"), ("train", "B"), ("train", "_a"), ("train", "b")]
    found = parse_sources([f"train={tmp_path / 'train'}", f"eval={tmp_path}/test/*.tfrecord"])
    assert [(source.split, source.path.stem) for source in found] == [
        *(("train", stem) for stem in ("-a", "B", "_a", "b")),
        *(("eval", stem) for stem in ("z", "é")),
    ]


def test_two_stars_are_any_folders(tmp_path):
    for name in ("a.tfrecord", "x/b.tfrecord", "x/y/c.tfrecord", "x/.y/d.tfrecord"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = parse_sources([f"train={tmp_path}/**/*.tfrecord"])
    assert [source.path.stem for source in found] == ["a", "b", "c"]


def test_hidden_files_are_no_data(tmp_path):
    """What systems lay beside files, in folders of their own too; a link counts by its own name."""
    for name in ("train/a", "train/._a", ".Trashes/b", ".store/.c", "__MACOSX/m", "@eaDir/e", "train/~$t"):
        path = tmp_path / f"{name}.tfrecord"
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (tmp_path / "train" / "c.tfrecord").symlink_to(tmp_path / ".store" / ".c.tfrecord")
    assert [source.path.name for source in find_sources(tmp_path)] == ["a.tfrecord", "c.tfrecord"]
    for place in ("train", "train/*", "train/*.tfrecord"):
        found = parse_sources([f"train={tmp_path / place}"])
        assert {source.path.name for source in found} == {"a.tfrecord", ".c.tfrecord"}
    found = parse_sources([f"train={tmp_path}/*/*.tfrecord"])
    assert {source.path.name for source in found} == {"a.tfrecord", ".c.tfrecord"}
    with pytest.raises(StageError, match=re.escape("no *.tfrecord files there")):
        parse_sources([f"train={tmp_path}/train/.*"])


def test_a_file_that_is_named_outright_is_read(tmp_path):
    """And so is what lies in a folder that is named outright, whatever it is called."""
    for name in ("._a.tfrecord", "[1].tfrecord", ".b/@eaDir/c.tfrecord", ".b/@eaDir/.d.tfrecord"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for name in ("._a.tfrecord", "[1].tfrecord"):
        (found,) = parse_sources([f"train={tmp_path / name}"])
        assert found.path == tmp_path / name
    for place in (".b/@eaDir", ".b/@eaDir/*"):
        assert [source.path.name for source in parse_sources([f"train={tmp_path / place}"])] == ["c.tfrecord"]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("train", "write SPLIT=DIR_OR_GLOB"),
        ("=x", "write SPLIT=DIR_OR_GLOB"),
        ("a/b=x", "write SPLIT=DIR_OR_GLOB"),
        (f"{'a' * 201}=x", "the split must be a plain name of at most 200 bytes"),
        ("train=/nowhere/*.tfrecord", "no *.tfrecord files there"),
    ],
)
def test_what_names_no_files_is_refused(raw, message):
    with pytest.raises((StageError, ConfigError), match=re.escape(message)):
        parse_sources([raw])


def test_what_a_folder_holds_in_place_of_tfrecords_is_said(tmp_path):
    for name, content, message in (
        (
            "a.html",
            b"<html>404",
            "the first file is a.html: the file is a web page (HTML), not TFRecords; a server",
        ),
        ("a.bin", bytes(range(1, 99)), "the first file is a.bin: its kind is not known"),
        ("a.record", RECORD, f"a.record holds TFRecords: rename it, or name it with a pattern, {tmp_path}/a/*.record"),
    ):
        folder = tmp_path / "a"
        folder.mkdir()
        (folder / name).write_bytes(content)
        with pytest.raises(StageError, match=re.escape(f"there are no *.tfrecord files there; {message}")):
            parse_sources([f"train={folder}"])
        (folder / name).unlink()
        folder.rmdir()


def test_a_file_named_twice_is_refused(tmp_path):
    (tmp_path / "a.tfrecord").touch()
    with pytest.raises(StageError, match="--raw names 1 file twice"):
        parse_sources([f"train={tmp_path}", f"test={tmp_path}/a*"])


def test_a_stamp_tells_that_a_file_changed(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    before = size_and_mtime(path)
    path.write_bytes(b"abcd")
    assert before[0] == 3 and size_and_mtime(path)[0] == 4 and size_and_mtime(path) != before
