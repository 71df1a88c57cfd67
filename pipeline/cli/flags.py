"""Flags that many commands share."""

import dataclasses
from pathlib import Path

from pipeline.artifacts.places import Places
from pipeline.config import Checked


@dataclasses.dataclass(frozen=True)
class Choice(Checked):
    """Flags of every command."""

    preset: str = "demo"
    """An experiment: a name from pipeline/presets, or the path of a file like those."""

    @classmethod
    def flag(cls, name: str) -> str:
        return f"--{name.replace('_', '-')}"


@dataclasses.dataclass(frozen=True)
class Common(Choice):
    """Flags of every stage."""

    data_dir: Path = dataclasses.field(default_factory=lambda: Places.from_environment().data_dir)
    """Where datasets lie; also $PIPELINE_DATA."""
    runs_dir: Path = dataclasses.field(default_factory=lambda: Places.from_environment().runs_dir)
    """Where runs lie; also $PIPELINE_RUNS."""
    submissions_dir: Path = dataclasses.field(default_factory=lambda: Places.from_environment().submissions_dir)
    """Where submissions lie; also $PIPELINE_SUBMISSIONS."""
    reports_dir: Path = dataclasses.field(default_factory=lambda: Places.from_environment().reports_dir)
    """Where reports lie; also $PIPELINE_REPORTS."""

    @property
    def verifies(self) -> bool:
        """Whether every shard is verified when it is opened: a flag of the stages that open any, see `Reading`."""
        return False

    @property
    def places(self) -> Places:
        return Places(self.data_dir, self.runs_dir, self.submissions_dir, self.reports_dir)

    @property
    def preset_name(self) -> str:
        return Path(self.preset).stem if self.preset.endswith(".py") else self.preset


@dataclasses.dataclass(frozen=True)
class Reading(Common):
    """Flags of the stages that read frames."""

    verify_shards: bool = False
    """Verify the checksum of every record of a shard when the shard is first opened. Without it: only where the file
    has another time than when it was indexed."""

    @property
    def verifies(self) -> bool:
        return self.verify_shards
