"""Paths in flags: every one of them may begin with a home folder, whatever its type."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
import tyro

from pipeline.cli.flags import CommonFlags, IngestFlags
from pipeline.cli.parsing import parse_flags
from pipeline.cli.paths import PathOrName
from pipeline.config import ConfigError


@dataclass(frozen=True, kw_only=True)
class Flags(IngestFlags, CommonFlags):
    """With a path of every type that a stage has."""

    files: tyro.conf.Positional[tuple[Path, ...]] = ()
    csv: Path | None = None
    run: PathOrName = "average"
    origin: Annotated[PathOrName | None, tyro.conf.arg(name="from")] = None


@pytest.fixture(autouse=True)
def home(monkeypatch) -> None:
    monkeypatch.setenv("HOME", "/homes/me")


def test_home_folders_are_read_in_every_flag():
    arguments = "~/a b.npz --data-dir=~/x --csv ~/s.csv --run=~/r --from=~/f --raw train=~/t --raw test=~/d/*.tfrecord"
    flags, _ = parse_flags(
        Flags, [], [text.replace("~/a", "~/a b.npz") for text in arguments.replace(" b.npz", "").split()]
    )
    assert flags.files == (Path("/homes/me/a b.npz"),)
    assert flags.places.data_dir == Path("/homes/me/x")
    assert flags.csv == Path("/homes/me/s.csv")
    assert (flags.run, flags.origin) == ("/homes/me/r", "/homes/me/f")
    assert flags.raw == ("train=/homes/me/t", "test=/homes/me/d/*.tfrecord")


def test_what_is_no_home_folder_stays_as_it_is():
    flags, _ = parse_flags(Flags, [], ["--from=gs://b/~x", "--run", "netvlad", "--raw", "train", "--csv", "./~"])
    assert (flags.origin, flags.run, flags.raw, flags.csv) == ("gs://b/~x", "netvlad", ("train",), Path("~"))
    flags, _ = parse_flags(Flags, [], [])
    assert (flags.csv, flags.origin, flags.raw, flags.files) == (None, None, (), ())


@pytest.mark.parametrize(
    "flag", ["--data-dir=", "--reports-dir=", "--csv=", "--raw=train=", "--from=", "--run=", "--preset=", ""]
)
def test_no_such_home_folder_is_refused_whatever_the_flag(flag):
    with pytest.raises(ConfigError, match="there is no home folder ~nobody-such"):
        parse_flags(Flags, [], [f"{flag}~nobody-such/x.py"])


def test_an_empty_path_is_not_the_current_folder():
    with pytest.raises(ConfigError, match="a path is empty"):
        parse_flags(Flags, [], ["--data-dir="])


def test_the_places_of_variables_are_read_so_too(monkeypatch):
    for name, value in (("DATA", "~/x"), ("RUNS", ""), ("REPORTS", "r")):
        monkeypatch.setenv(f"PIPELINE_{name}", value)
    monkeypatch.delenv("PIPELINE_SUBMISSIONS", raising=False)
    places = parse_flags(Flags, [], [])[0].places
    assert (places.data_dir, places.runs_dir) == (Path("/homes/me/x"), Path("runs"))
    assert (places.reports_dir, places.submissions_dir) == (Path("r"), Path("submissions"))


def test_a_preset_may_lie_in_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.py").write_text("from pipeline.presets.demo import *\n")
    flags, experiment = parse_flags(Flags, [], ["--preset=~/mine.py"])
    assert flags.preset_name == "mine" and experiment.dataset.name == "demo"
