"""The stages to disturb, what each of them begins with, and what it ends with when nothing disturbs it."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from faults.same import content, differences
from faults.stages import NONE, PRESET, Ended, Fault, Running, Server
from fixtures.backbones import tiny_pictures, tiny_sound
from fixtures.clips import click, even, write_clip

STAGES: dict[str, tuple[str, ...]] = {
    "synthesize": ("--workers", "1"),
    "ingest": ("--workers", "1"),
    "train": (),
    "soup": (),
    "infer": ("--run", "average-soup"),
    "ensemble": (),
    "threshold": ("--run", "ensemble"),
    "submit": (),
    "evaluate": (),
    "report": ("--no-frames",),
    "export": ("--run", "ensemble"),
}
"""The stages, each of which reads what those before it wrote, with their arguments."""
OTHERS = ("download", "run_all", "pack", "extract", "predict", "predict in windows")
"""Stages that begin with something else: nothing, a server, files of features, clips."""
FOLDED = {"train in folds": (), "infer in folds": ()}
"""Stages that read an index of two folds."""
SECONDS = {
    "run_all": 16,
    "train in folds": 9,
    "train": 6,
    "pack": 6,
    "extract": 4,
    "predict in windows": 3,
    "infer in folds": 3,
    "threshold": 0.5,
    "submit": 0.5,
    "evaluate": 0.5,
    "download": 0.5,
}
"""About how long it takes to disturb a stage once and to run it again; 2 seconds for those that are not here."""
CLIPS = 12


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


class Subjects:
    """Makes the subject of a stage; the stages before it run once.

    Args:
        server: starts stages.
        root: a folder for all that is made.
        address: of a server of the files below `root`/before-ingest.
    """

    def __init__(self, server: Server, root: Path, address: str):
        self._server, self._root, self._address = server, root, address
        self._folder, self._last, self._empty = (root / name for name in ("work", "last", "empty"))
        self._made: dict[str, Subject] = {}
        for folder in (self._last, self._empty):
            folder.mkdir()

    def get(self, name: str) -> Subject:
        """Return the subject of a stage, its folder reset."""
        if name in STAGES:
            for stage, arguments in STAGES.items():
                if name in self._made:
                    break
                if stage not in self._made:
                    self._made[stage] = self._make(stage, self._last, "--preset", PRESET, *arguments)
                    _copy(self._folder, self._last)
        elif name not in self._made:
            {
                "download": self._download,
                "run_all": self._run_all,
                "pack": self._pack,
                "extract": self._extract,
                "predict": self._predict,
                "predict in windows": self._predict,
                "train in folds": self._in_folds,
                "infer in folds": self._in_folds,
            }[name]()
        self._made[name].reset()
        return self._made[name]

    def _make(self, name: str, begin: Path, *arguments: object) -> Subject:
        assert name not in self._made, f"{name} would begin with what another stage begins with"
        before, folder = self._root / f"before-{name}", self._folder
        _copy(begin, before)
        _copy(begin, folder)
        told = tuple(map(str, arguments))
        ended = self._server.run(folder, _stage(name), *told)
        assert ended.status == 0, f"{name}: {ended.told}"
        return Subject(name, told, self._server, folder, before, content(folder), ended)

    def _kept(self, name: str) -> Path:
        """Return a copy of what the last stage that was made has left."""
        _copy(self._folder, self._root / name)
        return self._root / name

    def _download(self) -> None:
        self.get("ingest")
        served = self._root / "before-ingest"
        shards = sorted(served.glob("data/small/raw/*/*.tfrecord"))
        listed = self._root / "urls.txt"
        listed.write_text("".join(f"{self._address}/{shard.relative_to(served)}\n" for shard in shards))
        arguments = ("--preset", PRESET, "--workers", 2, "--from", listed)
        self._made["download"] = self._make("download", self._empty, *arguments)

    def _run_all(self) -> None:
        arguments = ("--preset", PRESET, "--workers", 1, "--models", "average")
        self._made["run_all"] = self._make("run_all", self._empty, *arguments)

    def _pack(self) -> None:
        """With a dataset to which it adds; its reading of the files is disturbed too."""
        begin, given = self._root / "features", self._folder / "given"
        _write_feature_files(begin / "given", 6)
        files = ("--features", f"rgb={given}/*.npy", "--labels", given / "labels.csv")
        arguments = ("--name", "own", "--workers", 1, *files)
        self._make("pack", begin, *arguments)
        begin = self._kept("packed")
        _write_feature_files(begin / "given", 15)
        self._made["pack"] = self._make("pack", begin, *arguments)

    def _extract(self) -> None:
        """With a dataset to which it adds; its reading of the clips is disturbed too."""
        clips = self._root / "clips"
        given = _write_clips(clips)
        begin = self._root / "filmed"
        _copy(clips, begin / "videos")
        arguments = ("--name", "clips", "--workers", 1, *given)
        self._make("extract", begin, self._folder / "videos" / "clip0[0-5]*", *arguments)
        self._made["extract"] = self._make("extract", self._kept("begun"), self._folder / "videos", *arguments)

    def _predict(self) -> None:
        """With a model of the clips."""
        preset = ("--preset", self._folder / "data" / "clips" / "clips.py")
        short = ("--model", "average", "--training.epochs", 1, "--classifier.hidden", 4)
        self.get("extract").check()
        self._make("train on clips", self._kept("extracted"), *preset, *short)
        begin, out = self._kept("learned"), self._folder / "out"
        arguments = (self._folder / "videos", "--run", "average", "--workers", 1, *preset)
        for name, more in {
            "predict": ("--output", out / "tags.jsonl", "--descriptors", out / "vectors.parquet"),
            "predict in windows": ("--output", out / "tags.vtt", "--page", out / "tags.html", "--every", 1),
        }.items():
            self._made[name] = self._make(name, begin, *arguments, *more)

    def _in_folds(self) -> None:
        self.get("ingest")
        folded = (*STAGES["ingest"], "--dataset.folds", 2)
        self._make("ingest in folds", self._root / "before-ingest", "--preset", PRESET, *folded)
        for stage, arguments in FOLDED.items():
            begin = self._kept(f"begin-{stage}")
            self._made[stage] = self._make(stage, begin, "--preset", PRESET, *arguments)


def tries(name: str, most: int) -> int:
    """Return how often a stage is tried: at most so often, and of more than twice as often as eight seconds allow."""
    return min(most, max(2, int(8 / SECONDS.get(name, 2))))


def _stage(name: str) -> str:
    return name.split()[0]


def _listed(faults: tuple[Fault, ...]) -> str:
    return ", ".join(map(str, faults)) or "nothing"


def _copy(source: Path, target: Path) -> None:
    """Replace a folder by a copy with the same times of its files: an index knows those of its shards."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)


def _write_feature_files(folder: Path, videos: int) -> None:
    """Write npy files and a table of labels in three splits."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(videos):
        np.save(folder / f"v{number:02}.npy", np.full((2 + number % 3, 4), number, np.float32))
    lines = [f"v{n:02},{'owl' if n % 2 else ''},{('train', 'train', 'test', 'more')[n % 4]}" for n in range(videos)]
    (folder / "labels.csv").write_text("\n".join(["id,bird,split", *lines, ""]))


def _write_clips(folder: Path) -> tuple[str, ...]:
    """Write clips with sound, and beside the folder a table of labels and backbones; return flags."""
    folder.mkdir()
    for number in range(CLIPS):
        write_clip(
            folder / f"clip{number:02}.mkv",
            even(8 + number % 4, 4),
            rate=4,
            options={"preset": "ultrafast"},
            sound=click(2.0, 0.1 * number),
            sound_codec="pcm_s16le",
        )
    lines = ["id,label,split", *(f"clip{n:02},{'ab'[n % 2]},{('train', 'holdout')[n % 3 > 1]}" for n in range(CLIPS))]
    (folder.parent / "clips.csv").write_text("\n".join(lines))
    pictures, sound = tiny_pictures(folder.parent / "seeing.onnx"), tiny_sound(folder.parent / "hearing.onnx")
    return "--backbones", str(pictures), "--backbones", str(sound), "--labels", str(folder.parent / "clips.csv")
