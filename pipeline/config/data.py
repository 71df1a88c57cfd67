"""Datasets: the features of a record, how videos are split, and synthetic ones."""

import re
from dataclasses import dataclass
from typing import Annotated, Literal

from pipeline.config.checked import CheckedFields
from pipeline.config.errors import ConfigError
from pipeline.config.ranges import MOST_CLASSES, FolderName, Frames, Key, Matching, Seed, Several, Size, Within

_LAYERS = re.compile(
    r"frames|num_frames|mask|frame_dropout|descriptor(_norm|_dropout)?|hidden(_norm|_relu)?|gating|output_gating|head"
    r"|head_hidden_\d+(_norm|_relu)?|head_dropout_\d+"
)
"""Names of a model's own layers; a feature's layers are named for the feature."""
_SPLIT_VIDEOS = 64**4 // 2
"""Ids of synthetic videos have four characters of 64, and there are two splits."""


@dataclass(frozen=True)
class FeatureConfig(CheckedFields, section="dataset.features"):
    """One feature of a record: `size` values a frame, stored as `dtype` under the key `source`."""

    name: Annotated[str, Matching(r"[A-Za-z0-9_.-]{1,100}", "letters, digits and any of _ . - (see source)")]
    """Name of the feature, and of layers of the model."""
    size: Size
    dtype: Literal["uint8", "float32"] = "uint8"
    source: Annotated[str, Matching(r"[^\x00-\x1f\x7f-\x9f]{0,1000}", "a key of a record, or empty")] = ""
    """Key in the record; the name where it is empty."""

    @property
    def key(self) -> str:
        return self.source or self.name


@dataclass(frozen=True)
class DatasetConfig(CheckedFields, section="dataset"):
    """How the records of a dataset are written, and how its videos are split."""

    name: FolderName
    """Folder below the data directory."""
    features: Annotated[tuple[FeatureConfig, ...], Several(least=1)]
    """Features to read, in the order in which the model gets them."""
    num_classes: Annotated[int, Within(1, MOST_CLASSES, unit="classes")]
    level: Literal["frame", "video"] = "frame"
    """frame: SequenceExample, one row a frame. video: Example, one row a video."""
    id_keys: Annotated[tuple[Key, ...], Several(least=1, distinct=True)] = ("id", "video_id")
    """Keys of the video's id, the first that a record has is taken."""
    labels_key: Key = "labels"
    max_frames: Frames = 300
    """Longer videos are read up to here."""
    train_splits: Annotated[tuple[FolderName, ...], Several(distinct=True)] = ("train",)
    """Splits of files that are trained on; the hold-out is taken from them. The other splits are only scored."""
    holdout_percent: Annotated[float, Within(least=0, below=100, unit="percent of the training videos")] = 2.0
    """Share of the training videos kept for validation, chosen by a stable hash of the id."""
    synthetic: bool = False
    """Made up: every score on it is labeled so."""

    def check_together(self) -> None:
        if len({feature.dtype for feature in self.features}) > 1:
            raise ConfigError(f"dataset {self.name}: features must share one dtype; they are read into one array")
        names = [feature.name for feature in self.features]
        taken = {f"{name}_{part}" for name in names for part in ("norm", "noise", "pooling")}
        for number, name in enumerate(names):
            if name in names[:number]:
                raise ConfigError(f"dataset.features: two are named {name}; give each a name of its own")
            if name in taken or _LAYERS.fullmatch(name):
                raise ConfigError(f"dataset.features: {name} is the name of a layer; take another, with source {name}")
        if "holdout" in self.train_splits:
            raise ConfigError("dataset.train-splits: holdout is the name of the hold-out")

    @property
    def width(self) -> int:
        """Values a frame, all features together."""
        return sum(feature.size for feature in self.features)

    @property
    def dtype(self) -> str:
        return self.features[0].dtype


@dataclass(frozen=True)
class SynthesisConfig(CheckedFields, section="synthesis"):
    """Size and difficulty of a synthetic dataset shaped like YouTube-8M."""

    train_videos: Annotated[int, Within(0, _SPLIT_VIDEOS, unit="videos")] = 3000
    test_videos: Annotated[int, Within(0, _SPLIT_VIDEOS, unit="videos")] = 500
    videos_per_shard: Annotated[int, Within(1, _SPLIT_VIDEOS, unit="videos")] = 250
    min_frames: Frames = 60
    max_frames: Frames = 150
    appearances: Annotated[int, Within(1, 1000)] = 3
    """Ways in which a class can look; a video shows one or two of them."""
    background: Annotated[float, Within(above=0, below=1)] = 0.5
    """Mean share of scenes that show no class; it varies from video to video."""
    confusion: Annotated[float, Within(least=0, below=1)] = 0.3
    """Share of a scene's variance that is its own: what no model can learn."""
    seed: Seed = 0

    def check_together(self) -> None:
        if self.videos_per_shard < (least := -(-max(self.train_videos, self.test_videos) // 62**2)):
            raise ConfigError(f"synthesis.videos-per-shard must be at least {least}: a split has 3844 names of shards")
        if self.min_frames > self.max_frames:
            raise ConfigError(
                f"synthesis.min-frames must be at most synthesis.max-frames, {self.max_frames}, not {self.min_frames}"
            )
