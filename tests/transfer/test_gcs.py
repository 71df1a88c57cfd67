"""Buckets through the client, against an emulator behind a network that fails."""

import base64
import hashlib
import json
import random
import time
from pathlib import Path

import google.auth
import pytest
from google.cloud import storage
from servers.bucket_emulator import Fault

from pipeline.config.errors import StageError
from pipeline.transfer import gcs
from pipeline.transfer.fetch import Fetch, Wanted
from pipeline.transfer.gcs import Bucket, upload, upload_all
from pipeline.transfer.source import Refused, Remote, RetryPolicy, Unavailable

CONTENT = random.Random(1).randbytes(100_003)


def crc32c(data: bytes) -> int:
    """Bit by bit, from the polynomial."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def read(bucket: Bucket, name: str, offset: int = 0) -> bytes:
    with bucket.open(Remote(name), offset) as body:
        assert (body.start, body.size) == (offset, len(CONTENT))
        return b"".join(body.chunks)


def content_of(url: str) -> bytes | None:
    bucket, name = gcs.bucket_and_path(url)
    with storage.Client.create_anonymous_client() as client:
        blob = client.bucket(bucket).get_blob(name)
        return blob and blob.download_as_bytes()


@pytest.fixture
def small_chunks(monkeypatch) -> None:
    monkeypatch.setattr(gcs, "_CHUNK", 10_000)


# ------------------------------------------------------------------------------------------------------------- listing


def test_a_listing_tells_names_from_the_prefix_on_with_sizes_and_checksums(put):
    url = put(
        {
            "2/frame/train/a.tfrecord": CONTENT,
            "2/frame/train/-B/b": b"",
            "2/frame/train_old/c": b"x",
            "2/frame/train/._a": b"",
        }
    )
    files = {file.name: file for file in Bucket(f"{url}/2/frame/train").files()}
    assert files == {
        "a.tfrecord": Remote("a.tfrecord", len(CONTENT), hashlib.md5(CONTENT).hexdigest(), crc32c(CONTENT)),
        "-B/b": Remote("-B/b", 0, hashlib.md5(b"").hexdigest(), 0),
    }
    assert {file.name for file in Bucket(f"{url}/2/frame/train/").files()} == set(files)
    assert len(Bucket(url).files()) == len(Bucket(f"{url}/").files()) == 3
    assert [file.name for file in Bucket(f"{url}/2/frame/train_old/c").files()] == ["c"]


@pytest.mark.parametrize(
    "name", ["d/../../evil", "d/../evil", "d//absolute", "d/%2e%2e%2fevil", "d/a%2fb", "d/a\\b", "d/.", "d/a\nb"]
)
def test_a_name_that_leads_elsewhere_is_refused(put, network, name):
    url = put({"d/good": b"x", "d/bad": b"x"})
    network.faults.append(Fault("LIST", replace=('"d/bad"', json.dumps(name))))
    with pytest.raises(Refused, match="not a name to write to"):
        Bucket(f"{url}/d").files()


def test_placeholders_of_folders_are_no_files(put, network):
    url = put({"d/a": b"x", "d/b": b""})
    network.faults.append(Fault("LIST", replace=('"d/b"', '"d/b/"')))
    assert [file.name for file in Bucket(f"{url}/d").files()] == ["a"]


@pytest.mark.parametrize("url", ["s3://bucket/x", "gs://", "gs:///x", "bucket/x", "gs://UPPER/x", "gs://a b/x"])
def test_what_is_no_address_is_refused(url):
    with pytest.raises(StageError, match=r"write gs://BUCKET/PATH"):
        Bucket(url)


def test_what_is_not_there_is_refused(put, network):
    url = put({"a": b"x"})
    for address, reason in ((f"{url}/none", "nor any below"), ("gs://no-such-bucket/", "no such object or bucket")):
        with pytest.raises(Refused, match=reason):
            Bucket(address).files()
    with pytest.raises(Refused, match=f"{url}/none: there is no such object"), Bucket(url).open(Remote("none")):
        pass


# --------------------------------------------------------------------------------------------------------- credentials


def test_public_buckets_are_read_without_looking_for_credentials(put, network, monkeypatch):
    def looked(*arguments, **more):
        raise AssertionError("credentials were looked for")

    monkeypatch.setattr(google.auth, "default", looked)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere/key.json")
    bucket = Bucket(put({"a": CONTENT}))
    assert [file.name for file in bucket.files()] == ["a"] and read(bucket, "a") == CONTENT
    assert [kind for kind, *_ in network.seen] == ["LIST", "LOOK", "READ"], "more is asked than needed"
    assert not any("authorization" in headers for _, _, headers, _ in network.seen)
    monkeypatch.delenv("STORAGE_EMULATOR_HOST")
    Bucket("gs://us.data.yt8m.org/2/frame")


def test_credentials_that_are_asked_for_and_not_there(monkeypatch, tmp_path):
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
    with pytest.raises(Refused, match="gcloud auth application-default login"):
        Bucket("gs://bucket", credentials=True)


@pytest.mark.parametrize("status", [401, 403])
def test_a_bucket_that_is_not_open_tells_the_remedy(put, network, status):
    url = put({"a": b"x"})
    network.faults += [Fault("LIST", status=status), Fault("LOOK", status=status)]
    with pytest.raises(Refused, match=f"{url}/.*gcloud auth application-default login"):
        Bucket(url).files()
    with pytest.raises(Refused, match=f"{url}/a.*gcloud auth application-default login"), Bucket(url).open(Remote("a")):
        pass


# ------------------------------------------------------------------------------------------------------------- reading


@pytest.mark.parametrize("offset", [0, 1, 9_999, 10_000, 10_001, 100_000, 100_002, 100_003])
def test_reading_from_any_offset(put, small_chunks, offset):
    assert read(Bucket(put({"d/a": CONTENT}) + "/d"), "a", offset) == CONTENT[offset:]


def test_an_offset_beyond_the_end_begins_anew(put):
    with Bucket(put({"a": b"abc"})).open(Remote("a"), 4) as body:
        assert body.start == 0 and b"".join(body.chunks) == b"abc"


def test_a_single_object(put):
    assert read(Bucket(put({"d/a": CONTENT}) + "/d/a"), "a", 7) == CONTENT[7:]


@pytest.mark.parametrize(
    "fault",
    [
        Fault("READ", status=503),
        Fault("READ", status=408),
        Fault("READ", status=429, after="7"),
        Fault("READ", cut=5_000),
        Fault("READ", cut=9_000, reset=True),
        Fault("READ", cut=0, stall=5),
        Fault("READ", lost=True),
    ],
    ids=["503", "408", "429", "cut", "reset", "stall", "lost"],
)
def test_a_failure_while_reading_is_told_once_and_not_tried_again(put, network, small_chunks, fault):
    bucket = Bucket(put({"a": CONTENT}), timeout=1)
    with bucket.open(Remote("a")) as body:
        assert next(body.chunks) == CONTENT[:10_000]
        network.faults.append(fault)
        before, begun, rest = network.count("READ"), time.monotonic(), b""
        with pytest.raises(Unavailable) as caught:
            for chunk in body.chunks:
                rest += chunk
    assert time.monotonic() - begun < 4
    assert network.count("READ") == before + 1
    assert rest == CONTENT[10_000 : 10_000 + len(rest)] and len(rest) <= (fault.cut or 0)
    assert caught.value.after == (7 if fault.after else None)
    assert "/a" in str(caught.value)
    assert read(bucket, "a", 10_000 + len(rest)) == CONTENT[10_000 + len(rest) :]


def test_what_arrived_before_a_cut_is_kept(put, network):
    """Otherwise a network that cuts each connection early never brings a file."""
    bucket, size = Bucket(put({"a": CONTENT})), 0
    network.faults += [Fault("READ", cut=40_000) for _ in range(2)]
    for _ in range(2):
        with bucket.open(Remote("a"), size) as body, pytest.raises(Unavailable):
            for chunk in body.chunks:
                assert chunk == CONTENT[size : size + len(chunk)]
                size += len(chunk)
    assert size > 60_000
    assert read(bucket, "a", size) == CONTENT[size:]


def test_a_range_that_is_ignored_is_not_taken_for_the_rest(put, network):
    network.faults.append(Fault("READ", whole=True))
    with Bucket(put({"a": CONTENT})).open(Remote("a"), 50_000) as body, pytest.raises(Unavailable, match="bytes came"):
        list(body.chunks)


def test_an_object_that_is_replaced_meanwhile_is_not_mixed(put, network, small_chunks):
    url = put({"a": CONTENT})
    with Bucket(url).open(Remote("a")) as body:
        list(body.chunks)
    paths = [path for kind, path, _, _ in network.seen if kind == "READ"]
    assert len(paths) == 11 and all("generation=" in path for path in paths) and len(set(paths)) == 1


# ---------------------------------------------------------------------------------------------------------- whole files


def fetched(url: str, folder: Path, attempts: int = 40) -> dict[Path, str]:
    """What is missing after all files of a bucket were fetched into a folder."""
    bucket = Bucket(url, timeout=1)
    retry_policy = RetryPolicy(attempts=attempts, pause=0.01, longest=0.05)
    wanted = [Wanted(file, folder / file.name) for file in retry_policy.call(bucket.files)]
    return Fetch(bucket, folder, 3, retry_policy).transfer(wanted)


def test_a_flipped_bit_is_found_by_the_checksum_and_read_again(put, network, tmp_path):
    url = put({"a": CONTENT})
    network.faults.append(Fault("READ", flip=77_777))
    assert fetched(url, tmp_path) == {}
    assert (tmp_path / "a").read_bytes() == CONTENT and network.count("READ") == 2


def test_wrong_bytes_each_time_never_get_the_files_name(put, network, tmp_path):
    url = put({"a": CONTENT})
    network.faults += [Fault("READ", flip=offset) for offset in range(3)]
    missing = fetched(url, tmp_path, attempts=3)
    assert "wrong bytes" in missing[tmp_path / "a"] and not (tmp_path / "a").exists()


@pytest.mark.parametrize("seed", [*range(2), *(pytest.param(seed, marks=pytest.mark.long) for seed in range(2, 40))])
def test_random_faults_end_with_the_right_files(put, network, small_chunks, tmp_path, seed):
    chance = random.Random(seed)
    files = {f"train/{name}": chance.randbytes(chance.randrange(40_000)) for name in ("-A", "-a", "_b", "c")}
    url = put(files)
    for _ in range(30):
        kind = chance.choice(["READ", "READ", "READ", "LOOK", "LIST"])
        cut = chance.choice([None, chance.randrange(10_000)])
        network.faults.append(
            Fault(kind, cut=cut, reset=chance.random() < 0.5)
            if cut is not None
            else chance.choice([Fault(kind, status=503), Fault(kind, lost=True), Fault(kind, status=429, after="0")])
        )
        if kind == "READ" and chance.random() < 0.2:
            network.faults.append(chance.choice([Fault(kind, flip=0), Fault(kind, whole=True)]))
    assert fetched(url, tmp_path) == {}
    assert {name: (tmp_path / name).read_bytes() for name in files} == files
    assert not list(tmp_path.rglob("*.part"))


# ------------------------------------------------------------------------------------------------------------- writing


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "demo-1a2b.csv"
    path.write_bytes(b"VideoId,LabelConfidencePairs\r\n\n1e10,3 0.5\n\n" * 300_000)  # 12 MB: several parts
    return path


def test_an_upload_has_the_bytes_and_is_left_alone_the_next_time(put, network, file):
    url = f"{put({})}/d/{file.name}"
    assert upload(file, url)
    assert content_of(url) == file.read_bytes()
    writes = network.count("WRITE")
    assert writes > 2, "in one piece"
    assert not upload(file, url) and network.count("WRITE") == writes


def test_small_and_empty_files_are_uploaded_too(put, tmp_path):
    url = put({})
    for name, content in (("small.json", b'{\r\n"a": "\xc3\xa4"\n}\n\n'), ("empty", b"")):
        (tmp_path / name).write_bytes(content)
        assert upload(tmp_path / name, f"{url}/{name}")
        assert content_of(f"{url}/{name}") == content


def test_an_object_of_other_content_is_not_replaced(put, file):
    url = put({"x.csv": b"theirs"})
    with pytest.raises(Refused, match=r"something else.*choose another address"):
        upload(file, f"{url}/x.csv")
    assert content_of(f"{url}/x.csv") == b"theirs"


def test_an_object_that_appears_meanwhile_is_not_replaced(put, network, file):
    url = put({"x.csv": b"theirs", "y.csv": file.read_bytes()})
    for name in ("x.csv", "y.csv"):
        network.faults.append(Fault("LOOK", status=404))
        if name == "x.csv":
            with pytest.raises(Refused, match="something else"):
                upload(file, f"{url}/{name}")
        else:
            upload(file, f"{url}/{name}")
    assert content_of(f"{url}/x.csv") == b"theirs"


@pytest.mark.parametrize(
    "faults",
    [
        [Fault("WRITE", status=503)],
        [Fault("WRITE", lost=True)],
        [None, Fault("WRITE", status=503), Fault("WRITE", status=429)],
        [None, None, Fault("WRITE", status=503)],
        [Fault("LOOK", status=500)],
    ],
    ids=["begin", "begin-lost", "first-part", "second-part", "look"],
)
def test_an_upload_goes_on_after_a_failure(put, network, file, faults):
    url = f"{put({})}/x.csv"
    network.faults += [fault or Fault("WRITE") for fault in faults]
    assert upload(file, url, timeout=5, patience=30)
    assert content_of(url) == file.read_bytes() and not network.faults
    sent = sum(size for kind, _, _, size in network.seen if kind == "WRITE")
    assert sent < 3 * file.stat().st_size


def test_a_part_of_which_less_was_kept_than_was_sent_is_told(put, network, file):
    url = f"{put({})}/x.csv"
    network.faults += [Fault("WRITE"), Fault("WRITE", status=308, range="bytes=0-262143")]
    with pytest.raises(Unavailable, match=r"x\.csv"):
        upload(file, url)
    assert content_of(url) is None
    assert upload(file, url) and content_of(url) == file.read_bytes()


def test_wrong_bytes_never_become_an_object(put, network, file):
    url = f"{put({})}/x.csv"
    network.faults += [Fault("WRITE"), Fault("WRITE", flip=1_000_000)]
    with pytest.raises((Refused, Unavailable), match=r"x\.csv"):
        upload(file, url)
    assert content_of(url) is None


def test_an_upload_that_cannot_go_on_names_file_and_remedy(put, network, file):
    url = put({})
    network.faults.append(Fault("WRITE", status=403))
    with pytest.raises(StageError, match=rf"{file} was not uploaded: {url}/d/{file.name}.*gcloud auth"):
        list(upload_all([file], f"{url}/d/"))
    with pytest.raises(StageError, match="no such object or bucket"):
        list(upload_all([file], "gs://no-such-bucket/d"))
    network.faults += [Fault("WRITE", status=503) for _ in range(50)]
    with pytest.raises(Unavailable, match="503"):
        upload(file, f"{url}/x", patience=1.5)
    assert content_of(f"{url}/x") is None


def test_what_is_no_object_is_refused(file):
    for url in ("gs://bucket", "gs://bucket/", "gs://bucket/folder/"):
        with pytest.raises(StageError, match="names no object"):
            upload(file, url)


def test_the_checksum_sent_is_the_files(put, network, tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    url = f"{put({})}/a"
    upload(tmp_path / "a", url)
    bucket, name = gcs.bucket_and_path(url)
    with storage.Client.create_anonymous_client() as client:
        stored = client.bucket(bucket).get_blob(name).crc32c
    assert stored == base64.b64encode(crc32c(b"abc").to_bytes(4)).decode()
