"""The container: what it takes from a stranger, and what it does not."""

import io
import struct
import zipfile
from pathlib import Path

import pytest

from pipeline.inference.bundle.container import (
    HEADER,
    BundleError,
    Container,
    add_entry,
    new_entry,
    open_zip,
    to_json,
    weights_name,
)


def written(path: Path, entries: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


GOOD = {HEADER: b'{"a": "\xc3\xa9"}', weights_name(0): bytes(range(100))}


def refused(path: Path, match: str) -> None:
    with pytest.raises(BundleError, match=match) as error, open_zip(path) as container:
        container.json(HEADER)
        container.open(weights_name(0)).read()
    assert str(path) in str(error.value)


def test_what_is_put_in_comes_out(tmp_path):
    with open_zip(written(tmp_path / "a", GOOD)) as container:
        assert container.json(HEADER) == {"a": "é"}
        assert container.open(weights_name(0)).read() == bytes(range(100))


def test_the_same_content_gives_the_same_bytes():
    def file() -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            with new_entry(archive, weights_name(3)) as entry:
                entry.write(b"12")
                entry.write(b"34")
            add_entry(archive, HEADER, to_json({"ü": 1}))
        return buffer.getvalue()

    assert file() == file()


@pytest.mark.parametrize(
    "name", ["../../outside", "/etc/cron.d/x", "weights/../../x", "weights/0000.npy", "a.pkl", "weights/٠٠٠٠.bin"]
)
def test_no_other_names(tmp_path, name):
    refused(written(tmp_path / "a", {**GOOD, name: b"x"}), "which does not belong in a bundle")


def test_nothing_compressed_is_read(tmp_path):
    path = written(tmp_path / "bomb", {**GOOD, weights_name(1): bytes(50 << 20)}, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 100_000
    refused(path, "is compressed")


def test_no_more_is_declared_than_there_is(tmp_path):
    path = written(tmp_path / "a", GOOD)
    content = bytearray(path.read_bytes())
    place = content.rindex(b"PK\x01\x02")
    struct.pack_into("<II", content, place + 20, 3 << 30, 3 << 30)  # compressed and whole size of the last entry
    path.write_bytes(content)
    refused(path, "declares 32212.* bytes but has only")


def test_entries_that_share_their_bytes_are_refused(tmp_path):
    path = written(tmp_path / "a", {**GOOD, weights_name(1): bytes(2000), weights_name(2): bytes(2000)})
    content = bytearray(path.read_bytes())
    last = content.rindex(b"PK\x01\x02")
    before = content.rindex(b"PK\x01\x02", 0, last)
    content[last + 42 : last + 46] = content[before + 42 : before + 46]  # both begin at one place
    path.write_bytes(content)
    with pytest.raises(BundleError), open_zip(path) as container:
        container.open(weights_name(2)).read()


def test_an_entry_twice_is_refused(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(tmp_path / "a", "w") as archive:
        for content in (b"{}", b"[]"):
            archive.writestr(HEADER, content)
    refused(tmp_path / "a", "an entry twice")


def test_an_encrypted_entry_is_refused(tmp_path):
    path = written(tmp_path / "a", GOOD)
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    refused(path, "encrypted")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (b"{", "damaged"),
        (b"[" * 100_000, "nested"),
        (b'{"a": NaN}', "not valid JSON"),
        (b"\xff", "damaged"),
        (b"9" * 9999, "damaged"),
    ],
)
def test_json_that_is_none(tmp_path, text, match):
    refused(written(tmp_path / "a", {**GOOD, HEADER: text}), match)


def test_json_without_end_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.inference.bundle.container.LONGEST_JSON", 50)
    refused(written(tmp_path / "a", {**GOOD, HEADER: b" " * 51 + b"{}"}), "53 bytes long; it may have at most 50")


def test_files_that_are_no_bundle(tmp_path):
    refused(tmp_path / "nothing", "is missing")
    (tmp_path / "text").write_text("VideoId,LabelConfidencePairs\n")
    refused(tmp_path / "text", "text: the file is a table in text .CSV., not a bundle; name one that `export` made")
    refused(written(tmp_path / "a", {weights_name(0): b""}), "has no bundle.json")
    refused(tmp_path, "not a bundle")


def test_every_truncation_is_noticed(tmp_path):
    whole = written(tmp_path / "a", GOOD).read_bytes()
    for length in range(len(whole)):
        (tmp_path / "cut").write_bytes(whole[:length])
        refused(tmp_path / "cut", "damaged|missing|declares")


def test_every_flipped_bit_is_noticed_or_changes_nothing(tmp_path):
    path = written(tmp_path / "a", GOOD)
    whole = path.read_bytes()
    for place in range(len(whole)):
        content = bytearray(whole)
        content[place] ^= 1 << place % 8
        path.write_bytes(content)
        try:
            with open_zip(path) as container:
                assert isinstance(container, Container)
                assert container.json(HEADER) == {"a": "é"}
                assert container.open(weights_name(0)).read() == bytes(range(100))
        except BundleError:
            pass
