"""What to pack and how: the files of features, labels and splits, and the form in which they are stored."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from pipeline.cli.paths import NamedFiles
from pipeline.config import CheckedFields
from pipeline.config.checked import check_value
from pipeline.config.errors import ConfigError, StageError
from pipeline.config.ranges import FolderName, Key, Within

Align = Literal["crop", "resample", "refuse"]
"""How the streams of a video are made equally long."""
_Bound = Annotated[float, Within(-1_000_000_000, 1_000_000_000)]
Floats = Literal["float16", "float32"]
"""How floats are stored."""


@dataclass(frozen=True, kw_only=True)
class IdSettings(CheckedFields):
    """Which column of tables names the videos."""

    id: str | None = None
    """Column of tables with the video's id; by default the one whose values are the ids of most videos."""


@dataclass(frozen=True, kw_only=True)
class FeatureSettings(IdSettings):
    """Which files hold the features of videos, and how those belong together."""

    features: Annotated[tuple[NamedFiles, ...], tyro.conf.UseAppendAction] = ()
    """Files of a feature, NAME=GLOB, repeatable: npy, npz, HDF5, Parquet or tar, as their content says."""
    rows: str | None = None
    """Table, or pattern of tables, that names the video of each row of a stacked array, in the array's order. Its
    labels are taken where --labels names no table."""
    align: Align | None = None
    """Alignment of features that differ in their number of frames: crop to the shortest, resample to the times of the
    first feature, or refuse. By default up to 2 frames or 2 % more are cropped, and larger differences refused."""

    def patterns(self) -> dict[str, str]:
        """Return the pattern of the files of each feature that is named; raises StageError for one written wrongly."""
        found: dict[str, str] = {}
        for item in self.features:
            name, separator, place = item.partition("=")
            if not (separator and name and place):
                raise StageError(f"--features {item}: write NAME=GLOB, for example rgb='features/*.npy'")
            check_value(f"--features {item}: the name", name, Key)
            if name in found:
                raise StageError(f"--features: two are named {name}; one pattern may name all files of a feature")
            found[name] = place
        return found


@dataclass(frozen=True, kw_only=True)
class DatasetSettings(IdSettings):
    """The dataset that videos are put into: its name, their labels and splits, and how features are stored."""

    name: FolderName
    """Name of the dataset, of its folder below --data-dir, and of its preset."""
    labels: Annotated[tuple[Path, ...], tyro.conf.UseAppendAction] = ()
    """Table of labels, CSV, TSV, Parquet, JSON or JSON lines; repeatable."""
    label_column: str | None = None
    """Column of the labels; by default the only one left, or all of them if there is one column for each class."""
    separator: str | None = None
    """Text between the labels of a cell; by default spaces between numbers, and ; or | between names."""
    task: Literal["multi_label", "single_label"] | None = None
    """Task: multi_label, where a video has any number of labels, or single_label, where it has exactly one; by default
    single_label if every labeled video has one, of 2 classes or more."""
    vocabulary: Path | None = None
    """CSV file with a name for each class, in columns index and name. Labels are then its names or numbers."""
    splits: Path | None = None
    """Table of ids and their splits; by default a column named split in the tables of labels."""
    split_column: str | None = None
    """Column of the splits. Without splits, labeled videos are train and the others test."""
    group: str | None = None
    """Column that names what belongs together, such as a site or a speaker: never on both sides of the hold-out."""
    dtype: Floats = "float16"
    """Type in which floats are stored. Bytes stay bytes."""
    quantize: tyro.conf.FlagCreatePairsOff[bool] = False
    """Store floats as bytes, over a range that is measured for each feature; what it costs is printed."""
    quantize_range: tuple[_Bound, ...] = ()
    """Ends of the range of --quantize, for all features, in place of the measured ones: -2 2 is YouTube-8M's."""
    drop_bad: tyro.conf.FlagCreatePairsOff[bool] = False
    """Leave out videos that cannot be read, or hold values that are not finite. Without it `pack` refuses them, and
    `extract` uses what could be read of a damaged file."""

    def check_together(self) -> None:
        bounds = self.quantize_range
        if bounds and not (len(bounds) == 2 and bounds[0] < bounds[1]):
            told = " ".join(f"{each:g}" for each in bounds)
            raise ConfigError(f"--quantize-range must be two numbers, the lower one first, such as -2 2; not {told}")
        if bounds and not self.quantize:
            raise ConfigError("--quantize-range says which range bytes span: give --quantize too")


@dataclass(frozen=True, kw_only=True)
class PackSettings(FeatureSettings, DatasetSettings):
    """What to pack, and how."""
