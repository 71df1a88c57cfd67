"""Every stage on a full disk: one line that names the path and the remedy, and the same command goes on afterwards."""

import errno
import os
import resource
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fixtures.support import small_preset, stage_here, write_shard

from pipeline.artifacts.temporary import TemporaryName
from pipeline.config import InferenceConfig, SynthesisConfig, TrainingConfig

PRESET = small_preset(
    TrainingConfig(batch_size=8, epochs=2, snapshots=2),
    InferenceConfig(batch_size=8, videos_per_part=20),
    synthesis=SynthesisConfig(train_videos=8, test_videos=4, videos_per_shard=4, min_frames=4, max_frames=8),
)
STAGES = {
    "synthesize": ("--workers", 1),
    "ingest": ("--raw", "train={0}/raw/train", "--raw", "test={0}/raw/test", "--workers", 1),
    "train": (),
    "infer": (),
    "soup": ("--method", "uniform"),
    "ensemble": ("--runs", "average"),
    "threshold": (),
    "submit": (),
    "export": ("--run", "average"),
    "report": ("--no-frames",),
}
"""The stages in their order, with their flags."""
MADE = {
    "synthesize": ("data/small/raw", "*/*.tfrecord"),
    "ingest": ("data/small/index", "index.parquet"),
    "train": ("runs/small/average", "predictions/holdout/part-*.parquet"),
    "infer": ("runs/small/average/predictions", "*/part-*.parquet"),
    "soup": ("runs/small/average-soup", "done.json"),
    "ensemble": ("runs/small/ensemble", "predictions/*/part-*.parquet"),
    "threshold": ("runs/small/average/thresholds.json", ""),
    "submit": ("submissions", "*.csv"),
    "export": ("runs/small/average-float16.zip", ""),
    "report": ("reports/small.html", ""),
}
"""Where each writes, and what of it must be the same, whatever went wrong before."""


@contextmanager
def fails_at(count: int, fault: int = errno.ENOSPC) -> Iterator[list[str]]:
    """The call of that number which makes, renames or keeps something fails; yields what was called."""
    called: list[str] = []

    def wrap(name: str, function):
        def call(*arguments, **more):
            makes = arguments[1] & os.O_CREAT if name == "open" else name != "mkdir" or not Path(arguments[0]).is_dir()
            if makes:
                called.append(name)
            if makes and len(called) == count:
                path = None if name == "fsync" else os.fspath(arguments[0])
                raise OSError(fault, os.strerror(fault), path)
            return function(*arguments, **more)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in ("open", "mkdir", "rename", "replace", "fsync"):
            patch.setattr(os, name, wrap(name, getattr(os, name)))
        yield called


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Whatever library writes more than so many bytes to a file is told that it is too large."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def run(folder: Path, stage: str):
    arguments = [str(argument).format(folder) for argument in STAGES[stage]]
    return stage_here(stage, folder, "--preset", folder / "small.py", *arguments)


def begun(folder: Path) -> Path:
    (folder / "small.py").write_text(PRESET)
    for split, videos in (("train", range(60)), ("test", range(60, 80))):
        write_shard(folder / "raw" / split / "a.tfrecord", videos)
    return folder


def content(folder: Path, stage: str) -> dict[str, bytes]:
    place, pattern = MADE[stage]
    found = (folder / place).glob(pattern) if pattern else [folder / place]
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def check_refused(result, told: str) -> None:
    lines = [line for line in result.stderr.splitlines() if line.startswith(("error: ", "Traceback"))]
    assert result.returncode == 1 and len(lines) == 1, result.stderr
    assert lines[0].startswith("error: /") and told in lines[0], lines[0]  # a library's own may lie elsewhere
    path = Path(lines[0].removeprefix("error: ").partition(f": {told}")[0])
    assert not any(TemporaryName.of(part) for part in path.parts), lines[0]


def leftovers(folder: Path) -> list[Path]:
    return [path for path in folder.rglob(".*") if TemporaryName.of(path.name) or path.name.endswith(".lock")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return begun(tmp_path_factory.mktemp("full"))


def some(calls: int) -> tuple[set[int], tuple[int, ...]]:
    """The calls that fail, and the sizes that are too large."""
    return {1, max(calls // 2, 1), calls}, (300,)


def every(calls: int) -> tuple[set[int], tuple[int, ...]]:
    return {*range(1, calls + 1)}, (0, 300, 3000)


@pytest.mark.wide
@pytest.mark.parametrize("faults", [some, pytest.param(every, marks=pytest.mark.long)])
@pytest.mark.parametrize("stage", STAGES)  # in their order: each works on what the one before it made
def test_a_full_disk_is_told_and_costs_nothing(folder, stage, faults):
    with fails_at(0) as called:
        result = run(folder, stage)
    assert result.returncode == 0, result.stderr
    expected, place = content(folder, stage), folder / MADE[stage][0]
    assert expected and not leftovers(folder)
    shutil.rmtree(place) if place.is_dir() else place.unlink()
    told = 0
    counts, sizes = faults(len(called))
    for count in sorted(counts):
        with fails_at(count):
            result = run(folder, stage)
        if result.returncode:
            check_refused(result, "No space left on device; make room, the same command goes on")
            told += 1
        assert not leftovers(folder)
    assert told
    for size in sizes:  # as the libraries tell it that write
        with files_of_at_most(size):
            result = run(folder, stage)
        if result.returncode:
            check_refused(result, "File too large; allow larger files")
        assert not leftovers(folder)
    result = run(folder, stage)
    assert result.returncode == 0, result.stderr
    assert content(folder, stage) == expected
