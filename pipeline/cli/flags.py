"""Flags that several commands have, each declared once; a stage's own are in its file."""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from pipeline.artifacts.places import Places
from pipeline.config import CheckedFields
from pipeline.config.ranges import Count, OutlierRatio, Workers
from pipeline.runtime.parallel import default_workers


@dataclasses.dataclass(frozen=True)
class BaseFlags(CheckedFields):
    """Flags of every command."""

    preset: str = "demo"
    """An experiment: a name from pipeline/presets, or the path of a file like those."""

    @classmethod
    def flag(cls, name: str) -> str:
        return f"--{name.replace('_', '-')}"


@dataclasses.dataclass(frozen=True)
class CommonFlags(BaseFlags):
    """Flags of every stage."""

    places: Annotated[Places, tyro.conf.arg(name="")] = dataclasses.field(default_factory=Places.from_environment)

    @property
    def verifies(self) -> bool:
        """Whether every shard is verified when it is opened: a flag of the stages that open any, see `ReadingFlags`."""
        return False

    @property
    def preset_name(self) -> str:
        return Path(self.preset).stem if self.preset.endswith(".py") else self.preset


@dataclasses.dataclass(frozen=True)
class ReadingFlags(CommonFlags):
    """Flags of the stages that read frames."""

    verify_shards: bool = False
    """Verify the checksum of every record of a shard when the shard is first opened. Without it: only where the file
    has another time than when it was indexed."""

    @property
    def verifies(self) -> bool:
        return self.verify_shards


@dataclasses.dataclass(frozen=True)
class IngestFlags(BaseFlags):
    """What is indexed."""

    raw: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """SPLIT=DIR_OR_GLOB, repeatable: index these files where they are, as that split. Without it: the files that the
    last ingest was given, or data/<dataset>/raw/<split>/*.tfrecord."""
    append: bool = False
    """Read only what came since the last ingest, whose --raw count on: the index is that of a whole ingest."""
    max_quarantined: Count = 0
    """Bad records that are tolerated; more, and ingest fails."""
    outlier_ratio: OutlierRatio = 1000.0
    """Quarantine a video with a float that is so many times the largest value of the median video; 0: none."""


@dataclasses.dataclass(frozen=True)
class WorkerFlags(BaseFlags):
    """How many work at once."""

    workers: Workers = dataclasses.field(default_factory=default_workers)
    """Processes that make or check shards."""


@dataclasses.dataclass(frozen=True)
class ForceFlags(BaseFlags):
    """Whether what is there is kept."""

    force: bool = False
    """Delete what is there, whatever it was made with, and make it anew."""


@dataclasses.dataclass(frozen=True)
class SplitFlags(BaseFlags):
    """What is submitted."""

    split: str | None = None
    """Split to submit; by default test, or the only one that is not trained on."""
