"""Flags that several stages share, each declared once. Flags of a single stage are in its own file."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import tyro

from pipeline.artifacts.owner import check_owner
from pipeline.artifacts.parts import Part
from pipeline.artifacts.places import Places
from pipeline.cli.paths import PathOrName, SplitFiles
from pipeline.cli.types import Preset
from pipeline.config import CheckedFields, ConfigError
from pipeline.config.ranges import Count, EngineName, GPUs, OutlierRatio, PartName, Processors, Workers
from pipeline.config.threshold import GivenThreshold
from pipeline.presets import name_of_preset
from pipeline.runtime.engine import PROCESSES, RayCluster
from pipeline.runtime.parallel import default_workers


@dataclasses.dataclass(frozen=True)
class BaseFlags(CheckedFields):
    """Flag of every command."""

    version: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print the version of the pipeline, and do nothing else."""

    @classmethod
    def flag(cls, name: str) -> str:
        return f"--{name.replace('_', '-')}"


@dataclasses.dataclass(frozen=True)
class PresetFlags(BaseFlags):
    """Flag of the commands that follow a preset."""

    preset: Preset = "demo"
    """Preset that declares all settings of an experiment: a name from pipeline/presets, or the path of such a file."""

    @property
    def preset_name(self) -> str:
        return name_of_preset(self.preset)


@dataclasses.dataclass(frozen=True)
class PlacesFlags(BaseFlags):
    """Flags that say where things lie."""

    places: Annotated[Places, tyro.conf.arg(name="")] = dataclasses.field(default_factory=Places.from_environment)


@dataclasses.dataclass(frozen=True)
class CommonFlags(PlacesFlags, PresetFlags):
    """Flags of every stage that follows a preset."""

    def check_together(self) -> None:
        check_owner(self.places.runs_dir / self.preset_name, self.preset)

    @property
    def verifies(self) -> bool:
        """Whether every shard is verified when opened. Only stages that open shards have a flag: `ReadingFlags`."""
        return False


@dataclasses.dataclass(frozen=True)
class ReadingFlags(CommonFlags):
    """Flags of the stages that read frames."""

    verify_shards: bool = False
    """Verify the checksum of every record of a shard when the shard is first opened.
    Without it, only shards whose modification time has changed since ingest are verified."""

    @property
    def verifies(self) -> bool:
        return self.verify_shards


@dataclasses.dataclass(frozen=True)
class IngestFlags(BaseFlags):
    """Flags that say what is indexed."""

    raw: Annotated[tuple[SplitFiles, ...], tyro.conf.UseAppendAction] = ()
    """Files to index as a split, where they are: SPLIT=DIR_OR_GLOB, repeatable.
    Without it: the files that the last ingest was given, or data/<dataset>/raw/<split>/*.tfrecord."""
    vocabulary: Path | None = None
    """CSV file with a name for each class, in columns index and name (or display_name), kept in the index.
    Without it: the names that the index has already, or the file that download has put into data/<dataset>/."""
    append: bool = False
    """Read only files that are new since the last ingest, whose --raw still count.
    The index is the same as that of a whole ingest."""
    max_quarantined: Count = 0
    """Largest number of bad records that are left out (quarantined); with more, ingest fails."""
    outlier_ratio: OutlierRatio = 1000.0
    """Quarantine a video whose largest float is more than this many times that of the median video; 0: none.
    A smaller ratio leaves out more videos."""


@dataclasses.dataclass(frozen=True)
class WorkerFlags(BaseFlags):
    """Flag that says how many processes work at a time."""

    workers: Workers = dataclasses.field(default_factory=default_workers)
    """Number of processes that make or check shards, or look at many files; by default as many as there are
    processors."""


@dataclasses.dataclass(frozen=True)
class EngineFlags(BaseFlags):
    """Flags that say where the tasks of a stage run. No result depends on them."""

    engine: EngineName = PROCESSES
    """What runs the tasks: processes of this machine; `ray`, the cluster that it is part of; or ray://HOST:PORT."""
    task_cpus: Processors = 1
    """Processors of a task on a cluster. Tasks that train or predict with few take long."""
    task_gpus: GPUs | None = None
    """GPUs of a task on a cluster, also a part of one; by default 1 for training and prediction where there are any."""

    def ray_cluster(self, models: bool = False) -> RayCluster | None:
        """Return the cluster to run tasks on; None if they run on this machine. `models`: whether they run models.

        Raises StageError as `RayCluster` does.
        """
        return None if self.engine == PROCESSES else RayCluster(self.engine, self.task_cpus, self.task_gpus, models)

    def engine_tokens(self) -> list[str]:
        """Return the flags that let another stage run its tasks where this one does."""
        return ["--engine", self.engine, "--task-cpus", str(self.task_cpus)]


@dataclasses.dataclass(frozen=True)
class PartFlags(EngineFlags):
    """Flags of the stages whose work several commands can share, without a cluster."""

    part: PartName | None = None
    """Part of the work, such as 3/8, that this command does: others do the rest meanwhile, in other terminals or on
    machines that share the folders. The same command with --join 8 finishes it."""
    join: Workers | None = None
    """Number of parts to finish the work of. If one is missing it is named, and nothing is finished."""

    def check_together(self) -> None:
        super().check_together()
        if self.part and self.join:
            raise ConfigError("--part and --join exclude each other: join when all parts are done")
        if (share := self.share) and share.number > share.of:
            raise ConfigError(f"--part {self.part}: there are only {share.of} parts")
        if self.part and self.engine != PROCESSES:
            raise ConfigError(f"--part and --engine {self.engine} exclude each other: a cluster takes all parts")

    @property
    def share(self) -> Part | None:
        """The part of the work that this command does; None if it does all."""
        return Part.read(self.part) if self.part else None


@dataclasses.dataclass(frozen=True)
class MediaFlags(BaseFlags):
    """Flag of the commands that extract features of video and sound files."""

    missing: Literal["leave_out", "zeros"] = "leave_out"
    """What becomes of files without sound or without pictures where features of both are needed: left out, or zeros
    in place of what is missing."""


@dataclasses.dataclass(frozen=True)
class ForceFlags(BaseFlags):
    """Flag that says whether earlier results are kept."""

    force: bool = False
    """Delete the earlier result, whatever it was made with, and make it anew."""


@dataclasses.dataclass(frozen=True)
class StartFlags(BaseFlags):
    """Flag that says what training begins with."""

    start: Annotated[PathOrName | None, tyro.conf.arg(name="from")] = None
    """Trained run whose weights a new run begins with, where they fit: its name or, of any preset, its path.
    Layers that do not fit, such as the head of other classes, begin at random."""


@dataclasses.dataclass(frozen=True)
class ThresholdFlags(BaseFlags):
    """Flag that says from which score on a label is assigned."""

    threshold: GivenThreshold | None = None
    """Smallest score of a label that is assigned: a number for all classes, or `stored`, those that the stage threshold
    has chosen. Without it: the best labels, whatever their scores."""


@dataclasses.dataclass(frozen=True)
class SplitFlags(BaseFlags):
    """Flags that say what is submitted, and in which form."""

    split: str | None = None
    """Split to submit; by default test, or the only split that is not trained on."""
    like: Path | None = None
    """Sample submission of a host, to write a file like it: its columns, its ids in its order, its form of labels.
    Without it: the challenge's CSV."""
