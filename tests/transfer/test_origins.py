import hashlib
import json

import pytest
from servers.fault_server import requests_of, serving

from pipeline.config.errors import StageError
from pipeline.transfer.names import Fraction
from pipeline.transfer.origins import (
    Directory,
    audioset_archive,
    checked_mirrors,
    class_names,
    from_elsewhere,
    from_mirrors,
    url_list,
)
from pipeline.transfer.source import Refused, Remote, RetryPolicy

PATIENCE = RetryPolicy(attempts=3, pause=0.001)
WHOLE = Fraction()


def plans(root, **listed):
    for split, names in listed.items():
        path = root / "2" / "download_plans" / f"frame_{split}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"files": {name: hashlib.md5(name.encode()).hexdigest() for name in names}}))


def test_plans_give_the_files_of_their_splits(tmp_path):
    plans(tmp_path, train=["trainac.tfrecord", "trainpj.tfrecord"], test=["test00.tfrecord"])
    with serving(tmp_path) as url:
        _source, files = from_mirrors("2/frame", ["train", "test"], WHOLE, [url], PATIENCE, 1)
        assert list(files) == ["train/trainac.tfrecord", "train/trainpj.tfrecord", "test/test00.tfrecord"]
        _, half = from_mirrors("2/frame", ["train", "test"], Fraction(10, 16), [url], PATIENCE, 1)
        assert list(half) == ["train/trainpj.tfrecord"]  # md5 ...b9: 9 modulo 16
        with pytest.raises(Refused, match="404"):
            from_mirrors("2/frame", [], WHOLE, [url], PATIENCE, 1)


def test_a_mirror_with_a_bad_plan_is_passed_over(tmp_path):
    plans(tmp_path / "bad", train=["../trainpj.tfrecord"])
    plans(tmp_path / "good", train=["trainpj.tfrecord"])
    with serving(tmp_path / "bad") as bad, serving(tmp_path / "good") as good:
        _source, files = from_mirrors("2/frame", ["train"], WHOLE, [bad, good], PATIENCE, 1)
        assert list(files) == ["train/trainpj.tfrecord"]
        with pytest.raises(Refused, match=r"\.\./trainpj"):
            from_mirrors("2/frame", ["train"], WHOLE, [bad], PATIENCE, 1)


def test_fractions_keep_the_order(tmp_path):
    names = [f"train{n:04}.tfrecord" for n in range(100, 0, -1)]
    plans(tmp_path, train=names)
    with serving(tmp_path) as url:
        halves = [list(from_mirrors("2/frame", ["train"], Fraction(n, 2), [url], PATIENCE, 1)[1]) for n in (1, 2)]
    order = [f"train/{name}" for name in names]
    assert sorted(halves[0] + halves[1], key=order.index) == order
    assert [sorted(half, key=order.index) for half in halves] == halves and all(halves)


@pytest.mark.parametrize("partition", ["2", "2/audio", "frame", "../frame"])
def test_what_is_no_partition_is_said(partition):
    with pytest.raises(StageError, match="partition"):
        from_mirrors(partition, ["train"], WHOLE, ["http://127.0.0.1:9"], PATIENCE, 1)


def test_mirrors_are_checked():
    assert checked_mirrors([]) == ["us", "eu", "asia"]
    assert checked_mirrors(["eu", "http://127.0.0.1:80/"]) == ["eu", "http://127.0.0.1:80"]
    with pytest.raises(StageError, match="mars"):
        checked_mirrors(["mars"])


def test_the_emulators_host_stands_for_the_mirrors(tmp_path, monkeypatch):
    plans(tmp_path / "data.yt8m.org", train=["trainpj.tfrecord"])
    shard = tmp_path / "eu.data.yt8m.org" / "2" / "frame" / "train" / "trainpj.tfrecord"
    shard.parent.mkdir(parents=True)
    shard.write_bytes(b"shard")
    log = tmp_path / "log"
    with serving(tmp_path, log=str(log)) as url:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        source, files = from_mirrors("2/frame", ["train"], WHOLE, ["eu"], PATIENCE, 1)
        assert source.measure(files["train/trainpj.tfrecord"]).size == 5
        source, file = audioset_archive(["us"], 1)
        with pytest.raises(Refused):
            source.measure(file)
    assert [path for _, path, _, _ in requests_of(log)] == [
        "/data.yt8m.org/2/download_plans/frame_train.json",
        "/eu.data.yt8m.org/2/frame/train/trainpj.tfrecord",
        "/us_audioset/youtube_corpus/v1/features/features.tar.gz",
    ]


def test_class_names_are_known_where_there_are_any():
    assert class_names("youtube8m", ["us"], 1)[1] == Remote("vocabulary.csv")
    assert class_names("audioset", ["us"], 1)[1] == Remote("class_labels_indices.csv")
    assert class_names("other", ["us"], 1) is None


def directory(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return str(root)


def test_splits_are_told_by_folders_or_by_names(tmp_path):
    place = directory(
        tmp_path, "frame/train/x.tfrecord", "shards/trainpj.tfrecord", "test0001.tfrecord", "eval/train12.tfrecord",
        "bal_train/00.tfrecord", "README.md", "a/b/other/z.tfrecord",
    )  # fmt: skip
    _, found = from_elsewhere(place, (), WHOLE, False, PATIENCE, 1)
    assert {there: file.name for there, file in found.items()} == {
        "train/x.tfrecord": "frame/train/x.tfrecord",
        "train/trainpj.tfrecord": "shards/trainpj.tfrecord",
        "test/test0001.tfrecord": "test0001.tfrecord",
        "train/train12.tfrecord": "eval/train12.tfrecord",
        "train/00.tfrecord": "bal_train/00.tfrecord",
        "other/z.tfrecord": "a/b/other/z.tfrecord",
    }
    _, only = from_elsewhere(place, ("eval",), WHOLE, False, PATIENCE, 1)
    assert {there: file.name for there, file in only.items()} == {"eval/train12.tfrecord": "eval/train12.tfrecord"}


def test_a_split_that_cannot_be_told_is_asked_for(tmp_path):
    place = directory(tmp_path, "x.tfrecord")
    with pytest.raises(StageError, match=r"x\.tfrecord.*--splits"):
        from_elsewhere(place, (), WHOLE, False, PATIENCE, 1)
    assert list(from_elsewhere(place, ("eval",), WHOLE, False, PATIENCE, 1)[1]) == ["eval/x.tfrecord"]


@pytest.mark.parametrize(
    ("names", "splits", "said"),
    [
        (["a/train/x.tfrecord", "b/train/x.tfrecord"], (), "would both be train/x.tfrecord"),
        (["train/x.txt"], (), "no *.tfrecord"),
        (["train/x.tfrecord"], ("train", "test"), "of the split test"),
        (["holdout/x.tfrecord"], (), "its split is unknown"),
    ],
)
def test_what_cannot_be_delivered_is_said(tmp_path, names, splits, said):
    place = directory(tmp_path, *names)
    with pytest.raises(StageError) as caught:
        from_elsewhere(place, splits, WHOLE, False, PATIENCE, 1)
    assert said in str(caught.value)


def test_fractions_of_renamed_shards_are_those_of_the_mirrors_names(tmp_path):
    place = directory(tmp_path, "train/train0939.tfrecord", "train/train0940.tfrecord")
    _, found = from_elsewhere(place, (), Fraction(10, 16), False, PATIENCE, 1)
    assert list(found) == ["train/train0939.tfrecord"]  # trainpj


def test_a_place_that_is_not_there_is_said(tmp_path):
    with pytest.raises(StageError, match="no such directory"):
        from_elsewhere(str(tmp_path / "missing"), (), WHOLE, False, PATIENCE, 1)


@pytest.mark.parametrize(("encoding", "end"), [("utf-8", "\n"), ("utf-8-sig", "\r\n"), ("utf-16", "\r")])
def test_lists_of_urls(tmp_path, encoding, end):
    path = tmp_path / "urls.txt"
    lines = (
        "# shards",
        "",
        "http://a.org/2/frame/train/trainpj.tfrecord \t0123456789ABCDEF0123456789abcdef # first",
        "https://b.org/x%20y.tfrecord?token=1/../2 ",
    )
    path.write_bytes(end.join(lines).encode(encoding))
    assert url_list(path, 1)[1] == [
        Remote("2/frame/train/trainpj.tfrecord", md5="0123456789abcdef" * 2),
        Remote("x y.tfrecord"),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "ftp://a.org/b",
        "file:///etc/passwd",
        "/etc/passwd",
        "http://a.org",
        "http://a.org/",
        "http://a.org/../b",
        "http://a.org/a%2f..%2fb",
        "http://a.org/a//b",
        "http://a.org/b 12",
        "http://[",
    ],
)
def test_bad_lines_are_named(tmp_path, line):
    path = tmp_path / "urls.txt"
    path.write_text(f"http://a.org/good\n{line}\n")
    with pytest.raises(StageError, match="line 2"):
        url_list(path, 1)


def test_two_urls_of_one_name_are_refused(tmp_path):
    path = tmp_path / "urls.txt"
    path.write_text("http://a.org/x\nhttp://b.org/x\n")
    with pytest.raises(StageError, match=r"line 2.*same name"):
        url_list(path, 1)


def test_buckets_are_read_like_everything_else(put):
    place = put({"2/train/trainpj.tfrecord": b"pj", "2/train/trainac.tfrecord": b"ac", "2/README": b"?"})
    source, files = from_elsewhere(f"{place}/2", (), Fraction(10, 16), False, PATIENCE, 5)
    assert list(files) == ["train/trainpj.tfrecord"]
    with source.open(files["train/trainpj.tfrecord"]) as body:
        assert b"".join(body.chunks) == b"pj"


# ---------------------------------------------------------------------------------------------------------- directories


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "root"
    (root / "train" / "deep").mkdir(parents=True)
    (root / "train" / "b").write_bytes(b"123")
    (root / "train" / "deep" / "-a").write_bytes(b"")
    (root / "z").write_bytes(b"x" * 3_000_000)
    for none in (".DS_Store", "Icon\r", "train/._b", "train/@eaDir/b"):
        (root / none).parent.mkdir(exist_ok=True)
        (root / none).touch()
    (root / "train" / ".link").symlink_to(tmp_path)
    return root


def test_all_files_with_their_sizes(folder):
    assert Directory(folder).files() == [Remote("train/b", 3), Remote("train/deep/-a", 0), Remote("z", 3_000_000)]


@pytest.mark.parametrize(("offset", "start"), [(0, 0), (1_500_000, 1_500_000), (3_000_000, 3_000_000), (3_000_001, 0)])
def test_bytes_from_an_offset(folder, offset, start):
    with Directory(folder).open(Remote("z", 3_000_000), offset) as body:
        assert (body.start, body.size) == (start, 3_000_000)
        assert b"".join(body.chunks) == b"x" * (3_000_000 - start)


@pytest.mark.parametrize("link", ["train/link", "link"])
def test_links_are_refused(folder, tmp_path, link):
    (folder / link).symlink_to(tmp_path)
    with pytest.raises(Refused, match="link"):
        Directory(folder).files()
    (folder / link).unlink()
    (folder / link).symlink_to(folder / "z")
    with pytest.raises(Refused, match="link"):
        Directory(folder).files()
    with pytest.raises(Refused), Directory(folder).open(Remote(link)):
        pass


@pytest.mark.parametrize("name", ["../outside", "missing", "train", "/etc/passwd"])
def test_what_is_not_there_is_refused(folder, name):
    (folder.parent / "outside").write_bytes(b"")
    with pytest.raises(Refused), Directory(folder).open(Remote(name)):
        pass


def test_a_missing_directory_is_refused(tmp_path):
    with pytest.raises(Refused, match="not a directory"):
        Directory(tmp_path / "missing").files()
