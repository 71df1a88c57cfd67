"""The stage as a user runs it, against servers in other processes that do all that servers do."""

import contextlib
import hashlib
import io
import json
import os
import random
import resource
import signal
import subprocess
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
import requests
import tenacity
from fixtures.support import ROOT, frames_of, labels_of, stage_command, stage_environment
from servers.fault_server import FAULTS, dead, requests_of, serving

from pipeline.inputs.records import encoding, tfrecord

QUICK = ("--pause", 0.01, "--timeout", 0.5)
SHARDS = ("aa", "pj", "Z9")


def shard(first: int, count: int, labeled: bool) -> bytes:
    """A shard in YouTube-8M's format."""
    payloads = []
    for video in range(first, first + count):
        frames = np.tile(frames_of(video), (1, 144))
        context = {"id": f"v{video:03d}"} | ({"labels": labels_of(video)} if labeled else {})
        payloads.append(encoding.encode_sequence_example(context, {"rgb": frames[:, :1024], "audio": frames[:, 1024:]}))
    file = io.BytesIO()
    tfrecord.write_records(file, payloads)
    return file.getvalue()


@pytest.fixture(scope="module")
def truth(tmp_path_factory) -> tuple[Path, dict[str, bytes]]:
    """A mirror's folder, and its files by where they are to lie below raw/."""
    root, files = tmp_path_factory.mktemp("mirror"), {}
    for place, split in enumerate(("train", "validate", "test")):
        plan = {}
        for number, name in enumerate(f"{split}{digits}.tfrecord" for digits in SHARDS):
            data = shard(100 * place + 20 * number, 6 + 6 * number, split != "test")
            path = root / "2" / "frame" / split / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            files[f"{split}/{name}"] = data
            plan[name] = hashlib.md5(data).hexdigest()
        path = root / "2" / "download_plans" / f"frame_{split}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"files": plan}))
    return root, files


@pytest.fixture
def download(stage):
    def run(*arguments, preset="youtube8m", **more):
        return stage("download", "--preset", preset, *QUICK, *arguments, check=False, **more)

    return run


@pytest.mark.parametrize(
    ("preset", "error"),
    [
        ("audioset", requests.exceptions.ConnectTimeout("timed out")),
        ("youtube8m", requests.ConnectionError("Failed to resolve")),
        ("youtube8m", requests.ConnectionError("Connection refused")),
    ],
)
def test_a_dry_run_without_a_network_names_the_hosts_within_ten_seconds(stage, monkeypatch, preset, error):
    """Nothing is waited for here: the time is what the attempts are given, and the pauses between them."""
    asked, paused = [], []

    def request(self, method, url, timeout, **more):
        asked.append((url.split("/")[2], max(timeout)))
        raise error

    def pause(self, seconds):
        paused.append(seconds)

    monkeypatch.setattr(requests.Session, "request", request)
    monkeypatch.setattr(tenacity.sleep_using_event, "__call__", pause)  # and no other thread's wait
    hosts = ["--mirror", "http://one.invalid", "--mirror", "http://two.invalid"]
    result = stage("download", "--preset", preset, *hosts, "--dry-run", check=False)
    assert result.returncode == 1 and result.stdout == ""
    assert "one.invalid, two.invalid do not answer: http://" in result.stderr and str(error) in result.stderr
    assert "check the network, or name another source with --mirror or --from" in result.stderr
    assert {host for host, _ in asked} == {"one.invalid", "two.invalid"}
    assert sum(seconds for _, seconds in asked) + sum(paused) < 9


def home_of(folder: Path, dataset: str = "youtube8m") -> Path:
    return folder / "data" / dataset


def there(folder: Path) -> dict[str, bytes]:
    raw = home_of(folder) / "raw"
    return {path.relative_to(raw).as_posix(): path.read_bytes() for path in raw.glob("*/*.tfrecord")}


def listed(folder: Path) -> set[str]:
    path = home_of(folder) / "download-missing.txt"
    lines = path.read_text().splitlines() if path.exists() else []
    return {Path(line.partition("\t")[0]).relative_to(home_of(folder) / "raw").as_posix() for line in lines}


def check(folder: Path, files: dict[str, bytes], result: subprocess.CompletedProcess) -> None:
    """Complete and right, or a status that is not 0 and the rest listed; never a wrong file under its final name."""
    found = there(folder)
    assert [name for name, data in found.items() if data != files[name]] == []
    assert "Traceback" not in result.stderr, result.stderr
    if result.returncode == 0:
        assert found.keys() == files.keys() and listed(folder) == set()
        assert list(folder.rglob("*.part")) == []
    else:
        assert result.returncode == 1 and "error: " in result.stderr, result.stderr
        if "missing: " not in result.stderr:
            assert "download_plans" in result.stderr, result.stderr
        elif "cannot be written anew" in result.stdout:  # on a full disk there's the list from the beginning
            assert listed(folder) >= files.keys() - found.keys()
        else:
            assert listed(folder) == files.keys() - found.keys()


def test_from_the_mirror_into_the_index(download, stage, truth, tmp_path):
    root, files = truth
    with serving(root) as url:
        result = download("--mirror", url)
        check(tmp_path, files, result)
        assert result.returncode == 0, result.stderr
    stage("ingest", "--preset", "youtube8m", "--workers", 1)
    counts = json.loads((home_of(tmp_path) / "index" / "dataset.json").read_text())["counts"]
    assert sum(counts.values()) == 3 * (6 + 12 + 18)


def test_the_same_command_again_transfers_nothing(download, truth, tmp_path):
    root, files = truth
    log = tmp_path / "log"
    with serving(root, log=str(log)) as url:
        assert download("--mirror", url).returncode == 0
        log.unlink()
        result = download("--mirror", url)
        check(tmp_path, files, result)
        assert "9 of them before" in result.stdout
        assert not [path for _, path, _, _ in requests_of(log) if path.endswith(".tfrecord")]


def test_splits_and_fractions(download, truth, tmp_path):
    with serving(truth[0]) as url:
        result = download("--mirror", url, "--splits", "train", "test", "--fraction", "10/16")
    chosen = [n for n in truth[1] if int(hashlib.md5(n.partition("/")[2].encode()).hexdigest(), 16) % 16 == 9]
    assert result.returncode == 0
    assert sorted(there(tmp_path)) == sorted(n for n in chosen if not n.startswith("validate"))
    assert "train/trainpj.tfrecord" in there(tmp_path)


def test_a_dry_run_tells_and_writes_nothing(download, truth, tmp_path):
    with serving(truth[0]) as url:
        result = download("--mirror", url, "--dry-run", "--rate", 0.01)
    total = sum(map(len, truth[1].values()))
    assert result.returncode == 0 and not (tmp_path / "data").exists()
    assert "9 files" in result.stdout and f"{total / 1e9:.3f} GB" in result.stdout
    assert f"{total / 0.01e6 / 60:.1f} minutes" in result.stdout and "free" in result.stdout


@pytest.mark.parametrize(
    ("preset", "arguments", "said"),
    [
        ("demo", [], "synthesize"),
        ("youtube8m", ["--fraction", "0/3"], "--fraction 0/3"),
        ("youtube8m", ["--mirror", "moon"], "us, eu, asia"),
        ("youtube8m", ["--splits", "holdout"], "no split holdout"),
        ("youtube8m", ["--from", "/nowhere"], "no such directory"),
        ("youtube8m", ["--workers", "0"], "--workers"),
        ("audioset", ["--splits", "test"], "train, eval"),
        ("audioset", ["--fraction", "1/2"], "one archive"),
    ],
)
def test_what_cannot_be_is_said(download, preset, arguments, said):
    result = download(*arguments, preset=preset)
    assert result.returncode in (1, 2) and said in result.stderr and "Traceback" not in result.stderr


def test_a_mirror_that_is_down(download, truth, tmp_path):
    root, files = truth
    with dead() as down, serving(root) as url:
        result = download("--mirror", down, "--mirror", url)
        check(tmp_path, files, result)
        assert result.returncode == 0, result.stderr
        # Known beforehand what is wanted; then nobody is there any more.
        for path in (home_of(tmp_path) / "raw" / "train").iterdir():
            path.unlink()
        with serving(root, faults=["hang-up"], only="tfrecord$", heads=True) as broken:
            result = download("--mirror", broken, "--attempts", 3)
            check(tmp_path, files, result)
            assert result.returncode == 1 and listed(tmp_path) == {n for n in files if n.startswith("train")}
        result = download("--mirror", down, "--attempts", 2)
        assert result.returncode == 1 and "Connection refused" in result.stderr


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault not in ("gone", "short", "page")])
def test_each_fault_that_passes_is_survived(download, truth, tmp_path, fault):
    root, files = truth
    with serving(root, faults=[fault], times=2, seed=5, only="tfrecord$") as url:
        result = download("--mirror", url)
        check(tmp_path, files, result)
        assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_that_stays_is_told(download, truth, tmp_path, fault):
    root, files = truth
    with serving(root, faults=[fault], seed=5, only="trainpj.tfrecord$") as url:
        result = download("--mirror", url, "--attempts", 3)
        check(tmp_path, files, result)
    harmless = fault == "no-range"
    # A transfer that comes further each time is not given up, and other-range is no fault of a whole file.
    if fault not in ("reset", "truncate", "stall", "other-range"):
        assert result.returncode == (0 if harmless else 1)
    if result.returncode:
        assert listed(tmp_path) == {"train/trainpj.tfrecord"} and "trainpj" in result.stderr


def test_a_killed_download_goes_on_where_it_was(download, truth, tmp_path):
    root, files = truth
    log, parts = tmp_path / "log", home_of(tmp_path) / "raw"
    with serving(root, log=str(log), delay=0.05) as url:
        process = subprocess.Popen(
            stage_command("download", "--preset", "youtube8m", "--mirror", url),
            cwd=ROOT,
            env=stage_environment(tmp_path),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 60
        while not any(part.stat().st_size > 40_000 for part in parts.glob("*/*.part")):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert listed(tmp_path) == set(files)
    done = there(tmp_path)
    assert [name for name, data in done.items() if data != files[name]] == []
    kept = {part.name.removesuffix(".part"): part.stat().st_size for part in parts.glob("*/*.part")}
    log.unlink()
    with serving(root, log=str(log)) as url:
        check(tmp_path, files, result := download("--mirror", url))
        assert result.returncode == 0, result.stderr
    asked = {Path(path).name: told for method, path, told, _ in requests_of(log) if method == "GET"}
    assert {name: asked[name] for name in kept} == {
        name: f"bytes={size}-" if size else None for name, size in kept.items()
    }
    assert not {Path(name).name for name in done} & asked.keys()


@contextlib.contextmanager
def small_disk(folder: Path, kilobytes: int):
    """A file system of that size in the folder; skips where this user may not mount one."""
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"cannot mount a small file system: {mounted.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_that_is_too_small_is_said_before_the_first_byte(download, truth, tmp_path):
    with small_disk(tmp_path / "data", 500), serving(truth[0]) as url:
        result = download("--mirror", url)
        assert result.returncode == 1 and "too little disk" in result.stderr
        assert not (home_of(tmp_path) / "raw").exists()


def test_a_disk_that_runs_full(download, truth, tmp_path):
    root, files = truth
    with small_disk(tmp_path / "data", 500):
        with serving(root, lengths=False, heads=True) as url:  # without lengths it cannot be foreseen
            result = download("--mirror", url)
            check(tmp_path, files, result)
            assert result.returncode == 1 and "disk is full" in result.stderr
        subprocess.run(["mount", "-o", "remount,size=50m", str(tmp_path / "data")], check=True)
        with serving(root) as url:
            result = download("--mirror", url)
            check(tmp_path, files, result)
            assert result.returncode == 0, result.stderr


def test_a_quota_on_the_size_of_files(truth, tmp_path):
    root, files = truth
    with serving(root) as url:
        result = subprocess.run(
            stage_command("download", "--preset", "youtube8m", "--mirror", url, *QUICK),
            cwd=ROOT,
            env=stage_environment(tmp_path),
            capture_output=True,
            text=True,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000)),
        )
    check(tmp_path, files, result)
    assert result.returncode == 1 and "File too large" in result.stderr
    assert there(tmp_path).keys() == {name for name, data in files.items() if len(data) <= 150_000}


def test_what_the_official_script_left_is_taken_over(download, truth, tmp_path):
    root, files = truth
    raw = home_of(tmp_path) / "raw" / "train"
    raw.mkdir(parents=True)
    (raw / "train0939.tfrecord").write_bytes(files["train/trainpj.tfrecord"])
    (raw / "train0000.tfrecord").write_bytes(files["train/trainaa.tfrecord"][:1000])  # it stopped here
    with serving(root, log=str(tmp_path / "log")) as url:
        result = download("--mirror", url, "--splits", "train")
    assert result.returncode == 0, result.stderr
    assert "train0000.tfrecord is damaged" in result.stderr
    assert {name: hashlib.md5(data).hexdigest() for name, data in there(tmp_path).items()} == {
        f"train/{name}": hashlib.md5(files[f"train/{was}"]).hexdigest()
        for name, was in (
            ("train0000.tfrecord", "trainaa.tfrecord"),
            ("train0939.tfrecord", "trainpj.tfrecord"),
            ("trainZ9.tfrecord", "trainZ9.tfrecord"),
        )
    }
    assert not [path for _, path, _, _ in requests_of(tmp_path / "log") if "trainpj" in path and path.startswith("GET")]


def test_from_a_directory_and_from_a_list_of_urls(download, truth, tmp_path):
    root, files = truth
    result = download("--from", root / "2" / "frame", "--splits", "train", "validate")
    assert result.returncode == 0, result.stderr
    assert there(tmp_path).keys() == {name for name in files if not name.startswith("test")}
    with serving(root) as url:
        urls = tmp_path / "urls.txt"
        urls.write_text("".join(f"{url}/2/frame/{name}\n" for name in files))
        check(tmp_path, files, result := download("--from", urls))
        assert result.returncode == 0, result.stderr


def test_audiosets_archive(download, tmp_path):
    root = tmp_path / "mirror"
    archive = root / "youtube_corpus" / "v1" / "features" / "features.tar.gz"
    archive.parent.mkdir(parents=True)
    names = root / "youtube_corpus" / "v1" / "csv" / "class_labels_indices.csv"
    names.parent.mkdir()
    names.write_text("index,mid,display_name\n")
    members = {f"audioset_v1_embeddings/{folder}/-_{n}.tfrecord": os.urandom(3000) for folder in
               ("bal_train", "eval", "unbal_train") for n in range(3)}  # fmt: skip
    with tarfile.open(archive, "w:gz") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    log = tmp_path / "log"
    with serving(root, faults=["truncate", "reset", "busy"], times=3, seed=1, only="gz$", log=str(log)) as url:
        result = download("--mirror", url, preset="audioset")
        assert result.returncode == 0, result.stdout + result.stderr
        count = len(requests_of(log))
        assert "are there" in download("--mirror", url, preset="audioset").stdout
        assert len(requests_of(log)) == count
    home = home_of(tmp_path, "audioset")
    for split, folder in (("train", "bal_train"), ("eval", "eval")):
        assert {path.name: path.read_bytes() for path in (home / "raw" / split).glob("*.tfrecord")} == {
            Path(name).name: data for name, data in members.items() if f"/{folder}/" in name
        }
    assert not (home / "raw" / "unbalanced").exists() and not (home / "features.tar.gz").exists()
    assert (home / "class_labels_indices.csv").read_text() == names.read_text()


SEEDS = [*range(10), *(pytest.param(seed, marks=pytest.mark.long, id=f"long-{seed}") for seed in range(200))]


@pytest.mark.wide
@pytest.mark.parametrize("seed", SEEDS)
def test_fault_schedules(truth, tmp_path, seed):
    """Mirrors, their faults, what an earlier process left, and a kill, all drawn from the seed."""
    root, files = truth
    chance = random.Random(seed)
    raw = home_of(tmp_path) / "raw"
    for name, data in files.items():
        left = chance.choice(["", "", "part", "wrong part", "file", "cut file"])
        path = raw / name if left.endswith("file") else raw / f"{name}.part"
        if left:
            upto = chance.randrange(len(data))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes({"file": data, "wrong part": os.urandom(upto)}.get(left, data[:upto]))
    damaged = {name: data for name, data in there(tmp_path).items() if data != files[name]}
    with contextlib.ExitStack() as stack:
        mirrors = []
        for _ in range(chance.randint(1, 3)):
            if chance.random() < 0.15:
                mirrors.append(stack.enter_context(dead()))
                continue
            faults = chance.sample(FAULTS, chance.randint(1, len(FAULTS)))
            # Nothing tells a plan with a wrong letter from a right one.
            everywhere = "tfrecord$" if "wrong" in faults else ""
            script = {
                "seed": chance.randrange(1 << 30),
                "faults": faults,
                "share": chance.choice([0.2, 0.5, 0.9]),
                "times": chance.choice([1, 3, 1000]),
                "only": chance.choice(["tfrecord$", "pj.tfrecord$", everywhere]),
                "heads": chance.random() < 0.3,
                "validators": chance.random() < 0.7,
                "lengths": chance.random() < 0.8,
            }
            mirrors.append(stack.enter_context(serving(root, **script)))
        command = stage_command(
            "download", "--preset", "youtube8m", *(word for url in mirrors for word in ("--mirror", url)),
            "--attempts", chance.randint(2, 6), "--workers", chance.randint(1, 4), *QUICK,
        )  # fmt: skip
        settings = {"cwd": ROOT, "env": stage_environment(tmp_path), "text": True}
        if chance.random() < 0.4:
            with contextlib.suppress(subprocess.TimeoutExpired):  # which kills it
                subprocess.run(command, capture_output=True, timeout=chance.uniform(0.5, 2.5), **settings)
            wrong = {name: data for name, data in there(tmp_path).items() if data != files[name]}
            assert wrong.items() <= damaged.items(), "a wrong file was written"
        result = subprocess.run(command, capture_output=True, timeout=300, **settings)
    wrong = {name: data for name, data in there(tmp_path).items() if data != files[name]}
    assert wrong.items() <= damaged.items() and not (wrong and result.returncode == 0)
    if result.returncode:  # what was damaged before and could not be fetched again is listed like what is not there
        for name in wrong:
            (raw / name).unlink()
    check(tmp_path, files, result)
    with serving(root) as url:
        result = subprocess.run(
            stage_command("download", "--preset", "youtube8m", "--mirror", url, *QUICK), capture_output=True, **settings
        )
    check(tmp_path, files, result)
    assert result.returncode == 0, result.stderr
