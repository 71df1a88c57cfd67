"""Stages to disturb, what each of them begins with, and what it ends with when nothing disturbs it."""

import os
import platform
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faults.same import content, differences
from faults.stages import NONE, Ended, Fault, Running, Server, compile_library
from servers.fault_server import serving

STAGES: dict[str, tuple[str, ...]] = {
    "synthesize": ("--workers", "1"),
    "ingest": ("--workers", "1"),
    "train": (),
    "soup": (),
    "infer": ("--run", "average-soup"),
    "ensemble": (),
    "submit": (),
    "evaluate": (),
    "report": ("--no-frames",),
    "export": ("--run", "ensemble"),
}
"""The stages, each of which reads what those before it wrote, with their arguments."""
OTHERS: dict[str, tuple[str, ...]] = {
    "download": ("--workers", "2"),
    "run_all": ("--workers", "1", "--models", "average"),
    "pack": ("--name", "own", "--workers", "1"),
}
"""Stages that begin with nothing; `pack` with a dataset to which it adds."""
FOLDED = {"train in folds": (), "infer in folds": ()}
"""Stages that read an index of two folds."""


@dataclass
class Subject:
    """A stage to disturb, in a folder that is as the stages before left it."""

    name: str
    arguments: tuple[str, ...]
    server: Server
    folder: Path
    before: Path
    expected: dict[str, bytes]
    undisturbed: Ended

    def reset(self) -> None:
        """Put the folder back to what the stage begins with."""
        _copy(self.before, self.folder)

    def run(self, fault: Fault = NONE) -> Ended:
        return self.server.run(self.folder, self.stage, *self.arguments, fault=fault)

    def start(self, fault: Fault = NONE) -> Running:
        return self.server.start(self.folder, self.stage, *self.arguments, fault=fault)

    @property
    def stage(self) -> str:
        return _stage(self.name)

    def check(self, *faults: Fault) -> None:
        """Run the stage undisturbed, after these faults; assert that it ends with what it would have without them."""
        ended = self.run()
        assert ended.status == 0, f"{self.name}, then {_listed(faults)}, then the same again: {ended.told}"
        self.compare(*faults)

    def compare(self, *faults: Fault) -> None:
        found = differences(content(self.folder), self.expected)
        if self.name == "run_all":  # its page draws how fast this training was, and that of `report` always the same
            found = [line for line in found if line != "differs: reports/small.html"]
        assert not found, f"{self.name}, after {_listed(faults)}: {found}"


def _stage(name: str) -> str:
    return name.split()[0]


def _listed(faults: tuple[Fault, ...]) -> str:
    return ", ".join(map(str, faults)) or "nothing"


def _copy(source: Path, target: Path) -> None:
    """Replace a folder by a copy with the same times of its files: an index knows those of its shards."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Server:
    if not shutil.which("cc") or platform.machine() != "x86_64":
        message = "needs a C compiler, `cc`, to count the system calls, and x86-64, whose registers it knows"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    folder = tmp_path_factory.mktemp("faults")
    return Server(compile_library(folder), folder)


@pytest.fixture(scope="session")
def subject(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Subject]]:
    """Makes the subject of a stage; the stages before it run once."""
    root = tmp_path_factory.mktemp("stages")
    folder, last = root / "work", root / "last"
    made: dict[str, Subject] = {}
    last.mkdir()

    def make(name: str, arguments: tuple[str, ...], begin: Path) -> Subject:
        before = root / f"before-{name}"
        _copy(begin, before)
        _copy(begin, folder)
        ended = server.run(folder, _stage(name), *arguments)
        assert ended.status == 0, f"{name}: {ended.told}"
        return Subject(name, arguments, server, folder, before, content(folder), ended)

    def get(name: str) -> Subject:
        if name in FOLDED and name not in made:
            get("ingest")
            make("ingest in folds", (*STAGES["ingest"], "--dataset.folds", "2"), root / "before-ingest")
            for stage, arguments in FOLDED.items():
                _copy(folder, begin := root / f"begin-{stage}")
                made[stage] = make(stage, arguments, begin)
        if name in OTHERS and name not in made:
            empty = root / "empty"
            empty.mkdir(exist_ok=True)
            arguments = OTHERS[name]
            if name == "download":
                get("synthesize")
                arguments = (*arguments, "--from", str(_listed_at(address, root)))
            if name == "pack":
                arguments = (*arguments, *_feature_files(root / "features", 6))
                make(name, arguments, empty)
                _copy(folder, empty := root / "packed")
                _feature_files(root / "features", 15)
            made[name] = make(name, arguments, empty)
        for stage, arguments in STAGES.items():
            if name in made:
                break
            if stage not in made:
                made[stage] = make(stage, arguments, last)
                _copy(folder, last)
        made[name].reset()
        return made[name]

    with serving(root / "before-ingest") as address:
        yield get


def _listed_at(address: str, root: Path) -> Path:
    """Write the list of the shards that a server has of what `synthesize` made."""
    served = root / "before-ingest"
    shards = served.glob("data/small/raw/*/*.tfrecord")
    path = root / "urls.txt"
    path.write_text("".join(f"{address}/{shard.relative_to(served)}\n" for shard in sorted(shards)))
    return path


def _feature_files(folder: Path, videos: int) -> tuple[str, ...]:
    """Write npy files and a table of labels in three splits; return the flags that name them."""
    folder.mkdir(exist_ok=True)
    for number in range(videos):
        np.save(folder / f"v{number:02}.npy", np.full((2 + number % 3, 4), number, np.float32))
    lines = [f"v{n:02},{'owl' if n % 2 else ''},{('train', 'train', 'test', 'more')[n % 4]}" for n in range(videos)]
    (folder / "labels.csv").write_text("\n".join(["id,bird,split", *lines, ""]))
    return "--features", f"rgb={folder}/*.npy", "--labels", str(folder / "labels.csv")


# ------------------------------------------------------------------------------------------------------------ figures


@pytest.fixture
def tried(record_property) -> Callable[[str, str, int], None]:
    """Notes what a test tried, for the table at the end: what, of which stage, how often."""
    return lambda what, stage, count: record_property("faults", (what, stage, count))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print how often each kind of fault was tried, of which stage."""
    counts: Counter[tuple[str, str]] = Counter()
    for report in [report for each in terminalreporter.stats.values() for report in each]:
        for name, value in getattr(report, "user_properties", ()):
            if name == "faults" and report.when == "call":
                counts[value[0], value[1]] += value[2]
    if counts:
        terminalreporter.section("faults")
        for what in dict.fromkeys(what for what, _ in counts):
            stages = {stage: count for (other, stage), count in counts.items() if other == what}
            each = ", ".join(f"{stage} {count}" for stage, count in stages.items())
            terminalreporter.line(f"{what}: {sum(stages.values())} ({each})")
