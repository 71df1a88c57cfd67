"""AudioSet's archive: real members get into place; a hostile, damaged or interrupted one leaves nothing wrong there."""

import errno
import gzip
import io
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import zlib
from pathlib import Path

import pytest
from fixtures.support import ROOT

from pipeline.artifacts.locks import locked
from pipeline.config.errors import StageError
from pipeline.transfer import archive
from pipeline.transfer.archive import UNPACKED, is_unpacked, unpack
from pipeline.transfer.origins import bucket_addresses

TOP = "audioset_v1_embeddings"
NAMES = ["-0", "--", "__", "_-", "AA", "Aa", "aA", "aa", "9z"]
"""As they are in AudioSet: two characters, which differ by case alone."""


def content(name: str) -> bytes:
    return random.Random(name).randbytes(2_000 + 512 * (name == "AA"))


MEMBERS = {
    f"{TOP}/{folder}/{name}.tfrecord": content(folder + name) for folder in ("bal_train", "eval") for name in NAMES
}
MEMBERS[f"{TOP}/eval/empty.tfrecord"] = b""
MEMBERS[f"{TOP}/eval/block.tfrecord"] = bytes(512) * 3


def header(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = size, kind, link
    return info


def tar(path: Path, members: dict[str, bytes], *more: tuple[tarfile.TarInfo, bytes], **settings) -> Path:
    with tarfile.open(path, "w:gz", compresslevel=1, **settings) as file:
        file.addfile(header(TOP, kind=tarfile.DIRTYPE))
        for name, data in members.items():
            file.addfile(header(name, len(data)), io.BytesIO(data))
        for info, data in more:
            file.addfile(info, io.BytesIO(data))
    return path


@pytest.fixture
def folders(tmp_path) -> dict[str, Path]:
    return {"bal_train": tmp_path / "data" / "raw" / "train", "eval": tmp_path / "data" / "raw" / "eval"}


def there(tmp_path: Path) -> dict[str, bytes]:
    """Every file below the data, those that are no members left out."""
    root = tmp_path / "data"
    files = [path for path in root.rglob("*") if path.is_file() or path.is_symlink()]
    return {str(path.relative_to(root)): path.read_bytes() for path in files if path.name != UNPACKED}


def expected(members: dict[str, bytes]) -> dict[str, bytes]:
    places = {"bal_train": "raw/train", "eval": "raw/eval"}
    return {f"{places[name.split('/')[-2]]}/{name.split('/')[-1]}": data for name, data in members.items()}


def unzipped(data: bytes) -> bytes | None:
    """None where zlib finds damage."""
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error):
        return None


# --------------------------------------------------------------------------------------------------------- into place


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_get_into_place_and_others_are_skipped(tmp_path, folders, format):
    others = {f"{TOP}/unbal_train/00.tfrecord": b"x" * 70_000, f"{TOP}/README": b"r", f"{TOP}/eval/.DS_Store": b"d"}
    others |= {f"{TOP}/eval/._aa.tfrecord": b"m", "__MACOSX/eval/cc.tfrecord": b"m"}
    path = tar(tmp_path / "a.tar.gz", MEMBERS | others, format=format)
    assert unpack(path, folders) == {"bal_train": 9, "eval": 11}
    assert there(tmp_path) == expected(MEMBERS)
    (folders["eval"] / "._aa.tfrecord").touch()
    assert all(map(is_unpacked, folders.values()))
    assert unpack(path, {"unbal_train": tmp_path / "data" / "more"}) == {"unbal_train": 1}
    assert path.exists()


def test_what_is_there_with_the_same_bytes_is_left_alone_and_a_damaged_file_is_mended(tmp_path, folders):
    path = tar(tmp_path / "a.tar.gz", MEMBERS)
    unpack(path, folders)
    damaged = folders["eval"] / "aa.tfrecord"
    damaged.write_bytes(bytes(len(damaged.read_bytes())))
    (folders["eval"] / "Aa.tfrecord").unlink()
    stamps = {file: file.stat().st_mtime_ns for file in folders["bal_train"].glob("*.tfrecord")}
    assert not is_unpacked(folders["eval"]) and is_unpacked(folders["bal_train"])
    assert unpack(path, folders) == {"bal_train": 0, "eval": 2}
    assert there(tmp_path) == expected(MEMBERS)
    assert {file: file.stat().st_mtime_ns for file in stamps} == stamps


def test_names_may_begin_with_a_dot_and_a_slash(tmp_path, folders):
    path = tar(tmp_path / "a.tar.gz", {f"./{name}": data for name, data in MEMBERS.items()})
    unpack(path, folders)
    assert there(tmp_path) == expected(MEMBERS)


@pytest.mark.wide
@pytest.mark.real_data
def test_the_real_files_survive(shared_data, tmp_path, folders):
    """Through an archive made by tar itself, as AudioSet's was."""
    path = tmp_path / "a.tar.gz"
    options = ["--transform", f"s,^train,{TOP}/bal_train,;s,^eval,{TOP}/eval,"]
    subprocess.run(
        ["tar", "-C", shared_data / "audioset", *options, "-I", "gzip -1", "-cf", path, "train", "eval"], check=True
    )
    counts = unpack(path, folders)
    assert counts["bal_train"] == 4070 and counts["eval"] > 2000
    for split in ("train", "eval"):
        real = sorted((shared_data / "audioset" / split).glob("*.tfrecord"))
        mine = sorted((tmp_path / "data" / "raw" / split).glob("*.tfrecord"))
        assert [file.name for file in real] == [file.name for file in mine]
        for one, other in zip(real, mine):
            assert one.read_bytes() == other.read_bytes()


# -------------------------------------------------------------------------------------------------------- hostile ones


def regular(name: str) -> tuple[tarfile.TarInfo, bytes]:
    return header(name, 4), b"evil"


@pytest.mark.parametrize(
    "member",
    [
        regular("../evil.tfrecord"),
        regular("../../data/raw/eval/evil.tfrecord"),
        regular(f"{TOP}/eval/../evil.tfrecord"),
        regular(f"{TOP}/eval/.."),
        regular("/tmp/eval/evil.tfrecord"),
        regular("eval//evil.tfrecord"),
        regular("eval/e%2fvil.tfrecord"),
        regular("eval/%2e%2e%2fevil.tfrecord"),
        regular("eval/..\\evil.tfrecord"),
        regular("eval/e\nvil.tfrecord"),
        regular("C:/eval/evil.tfrecord"),
        (header("eval/link.tfrecord", kind=tarfile.SYMTYPE, link="/etc/passwd"), b""),
        (header("eval", kind=tarfile.SYMTYPE, link="/tmp"), b""),
        (header("elsewhere", kind=tarfile.SYMTYPE, link=".."), b""),
        (header("eval/hard.tfrecord", kind=tarfile.LNKTYPE, link="/etc/passwd"), b""),
        (header("eval/pipe.tfrecord", kind=tarfile.FIFOTYPE), b""),
        (header("eval/device.tfrecord", kind=tarfile.CHRTYPE), b""),
        (header("eval/block.tfrecord", kind=tarfile.BLKTYPE), b""),
        (header("eval/sparse.tfrecord", kind=tarfile.GNUTYPE_SPARSE), b""),
        (header("eval/old.tfrecord", 4, kind=tarfile.CONTTYPE), b"evil"),
    ],
    ids=lambda member: f"{member[0].type.decode()}-{member[0].name!r}",
)
def test_members_that_lead_elsewhere_or_are_no_files_are_refused(tmp_path, folders, member):
    path = tar(tmp_path / "a.tar.gz", MEMBERS, member)
    outside = {file for file in tmp_path.iterdir() if file.name != "data"}
    with pytest.raises(StageError, match=r"a\.tar\.gz is not AudioSet's"):
        unpack(path, folders)
    assert there(tmp_path) == expected(MEMBERS), "what came before it"
    assert {file for file in tmp_path.iterdir() if file.name != "data"} == outside
    assert not any(map(is_unpacked, folders.values()))


def test_a_member_twice_is_refused(tmp_path, folders):
    path = tar(tmp_path / "a.tar.gz", MEMBERS, regular("other/eval/aa.tfrecord"))
    with pytest.raises(StageError, match=r"eval/aa\.tfrecord twice"):
        unpack(path, folders)


def test_an_archive_of_something_else_is_refused(tmp_path, folders):
    path = tar(tmp_path / "a.tar.gz", {"photos/cat.jpg": b"x"})
    with pytest.raises(StageError, match=r"it has no \*\.tfrecord in bal_train, eval"):
        unpack(path, folders)
    assert not any(map(is_unpacked, folders.values()))


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_claim_of_a_terabyte_takes_no_memory(tmp_path, folders, kind):
    info = header("eval/huge.tfrecord", 1 << 40, kind)
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 20), 1))
    code = (
        "import resource, sys; from pathlib import Path; from pipeline.transfer.archive import unpack;"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30));"
        "unpack(Path(sys.argv[1]), {'eval': Path(sys.argv[2])})"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, path, folders["eval"]], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode and "StageError" in result.stderr and "MemoryError" not in result.stderr
    assert there(tmp_path) == {}


def test_links_that_are_in_the_way_are_not_followed(tmp_path, folders):
    outside = tmp_path / "precious"
    outside.write_bytes(b"precious")
    folders["eval"].mkdir(parents=True)
    (folders["eval"] / "aa.tfrecord").symlink_to(outside)
    (folders["eval"] / ".9z.tfrecord.part").symlink_to(outside)
    with pytest.raises(StageError, match=r"aa\.tfrecord is not a file"):
        unpack(tar(tmp_path / "a.tar.gz", MEMBERS), folders)
    assert outside.read_bytes() == b"precious"


# ------------------------------------------------------------------------------------------------------- damaged ones


def test_a_truncated_archive_is_damaged_wherever_it_ends(tmp_path, folders):
    whole = tar(tmp_path / "whole.tar.gz", MEMBERS).read_bytes()
    chance, path = random.Random(3), tmp_path / "a.tar.gz"
    for size in [0, 1, 9, 10, len(whole) - 1, len(whole) - 8, *chance.sample(range(11, len(whole)), 30)]:
        path.write_bytes(whole[:size])
        with pytest.raises(StageError, match=r"damaged.*download it again"):
            unpack(path, folders)
        wanted = expected(MEMBERS)
        assert all(wanted[name] == data for name, data in there(tmp_path).items())
        assert not any(map(is_unpacked, folders.values()))


def test_a_tar_cut_short_inside_a_whole_gzip_is_damaged_too(tmp_path, folders):
    """tarfile alone takes it for complete when it ends between two members."""
    plain = gzip.decompress(tar(tmp_path / "whole.tar.gz", MEMBERS).read_bytes())
    path = tmp_path / "a.tar.gz"
    second = plain.index(b"audioset_v1_embeddings/bal_train/--")
    for size in (second, second + 512, second + 1000, len(plain) // 2 + 7):
        path.write_bytes(gzip.compress(plain[:size], 1))
        with pytest.raises(StageError, match="damaged"):
            unpack(path, folders)
    path.write_bytes(gzip.compress(plain[:second] + b"\x01" * 512 + plain[second + 512 :], 1))
    with pytest.raises(StageError, match="damaged"):
        unpack(path, folders)


@pytest.mark.parametrize("seed", [*range(60), pytest.param("many", marks=pytest.mark.long)])
def test_flipped_bits_never_pass(tmp_path, folders, seed):
    whole = bytearray(tar(tmp_path / "whole.tar.gz", MEMBERS, format=tarfile.PAX_FORMAT).read_bytes())
    plain = gzip.decompress(whole)
    chance, path = random.Random(seed), tmp_path / "a.tar.gz"
    for _ in range(3000 if seed == "many" else 1):
        data, offset = bytearray(whole), chance.randrange(20, len(whole))  # behind gzip's header: a time and a name
        data[offset] ^= 1 << chance.randrange(8)
        path.write_bytes(data)
        if unzipped(data) == plain:  # a copy of equal bytes from another place: one flip in a thousand
            unpack(path, folders)
            assert there(tmp_path) == expected(MEMBERS)
            shutil.rmtree(tmp_path / "data")
            continue
        with pytest.raises(StageError):
            unpack(path, folders)
        assert not any(map(is_unpacked, folders.values()))


@pytest.mark.parametrize("seed", [*range(60), pytest.param("many", marks=pytest.mark.long)])
def test_mutated_tars_never_crash_or_lead_elsewhere(tmp_path, folders, seed):
    """Bits flipped below the checksum of gzip."""
    small = {name: data[:700] for name, data in MEMBERS.items()}
    whole = gzip.decompress(tar(tmp_path / "whole.tar.gz", small, format=tarfile.PAX_FORMAT).read_bytes())
    chance, path = random.Random(seed), tmp_path / "a.tar.gz"
    before = set(tmp_path.iterdir()) | {path, tmp_path / "data"}
    for _ in range(2000 if seed == "many" else 1):
        data = bytearray(whole)
        for _ in range(chance.randint(1, 8)):
            block = chance.randrange(len(whole) // 512) * 512
            data[block + chance.randrange(512)] = chance.randrange(256)
            if chance.random() < 0.7:  # as if it were a header: its checksum made right
                total = sum(data[block : block + 148]) + 8 * 32 + sum(data[block + 156 : block + 512])
                data[block + 148 : block + 156] = b"%06o\0 " % total
        path.write_bytes(gzip.compress(data, 1))
        try:
            unpack(path, folders)
        except StageError:
            assert not any(map(is_unpacked, folders.values()))
        assert set(tmp_path.iterdir()) == before


def test_headers_without_end_are_damage(tmp_path, folders):
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(header("x", 0, tarfile.XHDTYPE).tobuf() * 5000, 1))
    with pytest.raises(StageError, match="damaged"):
        unpack(path, folders)


# ---------------------------------------------------------------------------------------------------------- interrupted


@pytest.mark.wide
def test_killed_midway_it_goes_on(tmp_path, folders):
    """kill -9 at random moments: no file is ever half there, and the last run ends it."""
    chance = random.Random(5)
    members = {
        f"{TOP}/{folder}/{number:04}.tfrecord": chance.randbytes(3_000) for number in range(1500) for folder in folders
    }
    path = tar(tmp_path / "a.tar.gz", members)
    wanted = expected(members)
    code = (
        "import sys; from pathlib import Path; from pipeline.transfer.archive import unpack;"
        "print(unpack(Path(sys.argv[1]), {'bal_train': Path(sys.argv[2]), 'eval': Path(sys.argv[3])}))"
    )
    command = [sys.executable, "-c", code, path, *folders.values()]
    killed, counts = 0, [0]

    def written() -> int:
        return sum(len(list(folder.glob("*.tfrecord"))) for folder in folders.values())

    for _ in range(4):
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while process.poll() is None and written() <= counts[-1] + 50:
            assert time.monotonic() < deadline
        time.sleep(chance.uniform(0, 0.02))
        killed += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        now = {name: data for name, data in there(tmp_path).items() if not name.endswith(".lock")}
        whole = {name: data for name, data in now.items() if not name.endswith(".part")}
        assert all(wanted[name] == data for name, data in whole.items())
        assert len(now) - len(whole) <= 1
        counts.append(len(whole))
    assert killed and counts == sorted(counts) and counts[-1] < len(wanted), "it was never stopped midway"
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert there(tmp_path) == wanted
    assert f"'bal_train': {1500 - sum(name.startswith('raw/train') for name in whole)}" in result.stdout


def test_two_at_once_are_refused(tmp_path, folders):
    path = tar(tmp_path / "a.tar.gz", MEMBERS)
    with locked(folders["eval"]), pytest.raises(StageError, match="another process is at work"):
        unpack(path, folders)


def test_a_full_disk_is_told_and_leaves_no_half_file(tmp_path, folders, monkeypatch):
    path, write = tar(tmp_path / "a.tar.gz", MEMBERS), Path.write_bytes

    def full(self: Path, data: bytes) -> int:
        if self.name == ".aa.tfrecord.part":
            write(self, data[:100])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))
        return write(self, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StageError, match=r"aa\.tfrecord cannot be written: No space left"):
        unpack(path, folders)
    assert not any(
        name.endswith((".part", "aa.tfrecord")) and "-" not in name for name in there(tmp_path) if "aa" in name
    )
    monkeypatch.undo()
    unpack(path, folders)
    assert there(tmp_path) == expected(MEMBERS)


def test_a_file_system_that_takes_a_for_A_is_refused(tmp_path, folders, monkeypatch):
    exists = Path.exists
    monkeypatch.setattr(
        Path,
        "exists",
        lambda self, **more: (
            exists(self, **more)
            or (self.parent.is_dir() and self.name.lower() in (file.name.lower() for file in self.parent.iterdir()))
        ),
    )
    with pytest.raises(StageError, match=r"takes `a` for `A`.*--data-dir"):
        unpack(tar(tmp_path / "a.tar.gz", MEMBERS), folders)
    assert there(tmp_path) == {}


def test_the_places_are_those_of_audioset():
    assert archive.ARCHIVE == "youtube_corpus/v1/features/features.tar.gz"
    assert set(archive.FOLDERS.values()) == {"bal_train", "eval", "unbal_train"}
    assert bucket_addresses(["eu"], "{}_audioset") == ["https://storage.googleapis.com/eu_audioset"]


def test_what_is_no_archive_is_named_as_what_it_is(tmp_path):
    path = tmp_path / "features.tar.gz"
    path.write_bytes(b"<!doctype html><title>Log in</title>")
    with pytest.raises(StageError, match=r"is a web page \(HTML\), not AudioSet's archive: delete it, and download"):
        unpack(path, {"bal_train": tmp_path / "train"})
