"""Settings of a dataset: its features, its classes, how its videos are split, and how a synthetic one is made."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pipeline.config.checked import LEFT_OUT_AT_DEFAULT, CheckedFields
from pipeline.config.errors import ConfigError
from pipeline.config.ranges import (
    MOST_CLASSES,
    MOST_FOLDS,
    FolderName,
    Frames,
    Key,
    Matching,
    Seed,
    Several,
    Size,
    Within,
)

_SPLIT_VIDEOS = 64**4 // 2
"""Most videos in a synthetic split: ids have four characters out of 64, and two splits share them."""
_Bound = Annotated[float, Within(-1_000_000_000, 1_000_000_000)]
_ANY_KEY = r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{0,1000}"
_PRINTABLE = r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{0,3000}"
_LOW, _HIGH = -2.0, 2.0
"""The range of YouTube-8M's bytes."""


@dataclass(frozen=True)
class FeatureConfig(CheckedFields, section="dataset.features"):
    """One feature of a record: `size` values for each frame, stored as `dtype` under the key `source`."""

    name: Key
    """Name of the feature, which stands for it in messages, reports and files of your own."""
    size: Size
    """Number of values that the feature has in each frame."""
    dtype: Literal["uint8", "float16", "float32"] = "uint8"
    """Type of the stored values: uint8, quantized to bytes as in YouTube-8M; float16, two bytes a value; or float32."""
    source: Annotated[str, Matching(_ANY_KEY, "a key of a record, or empty")] = ""
    """Key of the feature in the record; if empty, the feature's name is the key."""
    minimum: _Bound = field(default=_LOW, metadata=LEFT_OUT_AT_DEFAULT)
    """Lower end of the range that was quantized to bytes; YouTube-8M's is -2 to 2. Only for dtype uint8."""
    maximum: _Bound = field(default=_HIGH, metadata=LEFT_OUT_AT_DEFAULT)
    """Upper end of the range that was quantized to bytes. Only for dtype uint8."""
    made_by: Annotated[str, Matching(_PRINTABLE, "printable text")] = field(default="", metadata=LEFT_OUT_AT_DEFAULT)
    """Recipe by which extract made the feature: the backbone and its checksum, frames a second, preprocessing, as JSON.
    Features of other recipes are not mixed with these. Empty for features from elsewhere."""

    def check_together(self) -> None:
        if not self.minimum < self.maximum:
            raise ConfigError(
                f"{self.flag('minimum')} must be less than {self.flag('maximum')}, {self.maximum:g}, "
                f"not {self.minimum:g}"
            )
        if self.dtype != "uint8" and (self.minimum, self.maximum) != (_LOW, _HIGH):
            raise ConfigError(
                f"{self.flag('minimum')} and {self.flag('maximum')} are the range of bytes, and feature {self.name} is "
                f"{self.dtype}: leave them out"
            )

    @property
    def key(self) -> str:
        return self.source or self.name

    def __str__(self) -> str:
        whole = f"{self.name} {self.size} {self.dtype}"
        if (self.minimum, self.maximum) != (_LOW, _HIGH):
            whole += f" from {self.minimum:g} to {self.maximum:g}"
        return f"{whole} made by {self.made_by}" if self.made_by else whole


def byte_scale(minimum: float = _LOW, maximum: float = _HIGH) -> tuple[float, float]:
    """Return step and shift of a range that is quantized: a byte q stands for step q + shift, the center of its bin.

    Source: utils.Dequantize of YouTube-8M's starter code.
    """
    return (maximum - minimum) / 255, (maximum - minimum) / 512 + minimum


@dataclass(frozen=True)
class DatasetConfig(CheckedFields, section="dataset"):
    """How the records of a dataset are stored, and how its videos are split."""

    name: FolderName
    """Name of the dataset, and of its folder below --data-dir."""
    features: Annotated[tuple[FeatureConfig, ...], Several(least=1)]
    """Features to read, in the order in which the model gets them."""
    num_classes: Annotated[int, Within(1, MOST_CLASSES, unit="classes")]
    """Number of classes. Labels are whole numbers from 0 to one less than this."""
    level: Literal["frame", "video"] = "frame"
    """Level of the features. frame: a record is a SequenceExample with one row of values for each frame.
    video: a record is an Example with one row of values for the whole video."""
    id_keys: Annotated[tuple[Key, ...], Several(least=1, distinct=True)] = ("id", "video_id")
    """Keys under which a record may store the video's id; the first key that the record has is taken."""
    task: Literal["multi_label", "single_label"] = field(default="multi_label", metadata=LEFT_OUT_AT_DEFAULT)
    """Task of the dataset. multi_label: a video has any number of classes, also none.
    single_label: it has exactly one, which a softmax head may rely on; ingest quarantines every other record."""
    labels_key: Key = "labels"
    """Key under which a record stores the video's labels."""
    max_frames: Frames = 300
    """Largest number of frames read from a video; those of a longer one are spread over its whole length."""
    train_splits: Annotated[tuple[FolderName, ...], Several(distinct=True)] = ("train",)
    """Splits whose videos are trained on; the hold-out is taken from them. All other splits are only scored."""
    holdout_percent: Annotated[float, Within(least=0, below=100, unit="percent of the training videos")] = 2.0
    """Share of the training videos, in percent, held out for validation; a stable hash of the id chooses them.
    Where there is a split holdout, it is held out in their place.
    A larger hold-out gives more reliable scores and leaves fewer videos to train on."""
    group_key: Annotated[str, Matching(_ANY_KEY, "a key of a record, or empty")] = field(
        default="", metadata=LEFT_OUT_AT_DEFAULT
    )
    """Key of what a video belongs to, such as a channel or a site, in the record's context; if empty, there is none.
    The hold-out takes all videos of one channel, or none, and so does a fold; a record without the key stands for
    itself."""
    folds: Annotated[int, Within(0, MOST_FOLDS, unit="folds")] = field(default=0, metadata=LEFT_OUT_AT_DEFAULT)
    """Number of folds that the training videos are dealt out to, in place of a hold-out; 0: none.
    A run is then trained once for each fold, on the videos of all others; every training video is predicted by the
    model that has not seen it. The other splits are predicted by the mean of all the models."""
    synthetic: bool = False
    """Whether the data are made up; every score on them is then labeled synthetic."""

    def check_together(self) -> None:
        if len({feature.dtype for feature in self.features}) > 1:
            raise ConfigError(
                f"dataset.features must share one dtype, not {', '.join(feature.dtype for feature in self.features)}: "
                "they are read into one array. Store all of them alike"
            )
        names = [feature.name for feature in self.features]
        for number, name in enumerate(names):
            if name in names[:number]:
                raise ConfigError(f"dataset.features: two are named {name}; give each a name of its own")
        if self.folds == 1:
            raise ConfigError(
                "dataset.folds must be 0, for none, or at least 2, not 1: a fold is held out of the others"
            )
        if "holdout" in self.train_splits:
            raise ConfigError(
                "dataset.train-splits must not contain holdout, the name of the hold-out; rename the split"
            )

    @property
    def width(self) -> int:
        """Number of values in a frame, all features together."""
        return sum(feature.size for feature in self.features)

    @property
    def dtype(self) -> str:
        return self.features[0].dtype

    @property
    def quantized(self) -> bool:
        """Whether values are bytes, which are bounded; floats may be of any size."""
        return self.dtype == "uint8"


@dataclass(frozen=True)
class SynthesisConfig(CheckedFields, section="synthesis"):
    """Size and difficulty of a synthetic dataset shaped like YouTube-8M."""

    train_videos: Annotated[int, Within(0, _SPLIT_VIDEOS, unit="videos")] = 3000
    """Number of videos in split train, which has labels."""
    test_videos: Annotated[int, Within(0, _SPLIT_VIDEOS, unit="videos")] = 500
    """Number of videos in split test, which has no labels."""
    videos_per_shard: Annotated[int, Within(1, _SPLIT_VIDEOS, unit="videos")] = 250
    """Number of videos in one TFRecord file (shard)."""
    min_frames: Frames = 60
    """Smallest number of frames in a video."""
    max_frames: Frames = 150
    """Largest number of frames in a video."""
    appearances: Annotated[int, Within(1, 1000)] = 3
    """Number of ways in which a class can look; a video shows one or two of them. More make classes harder to learn."""
    background: Annotated[float, Within(above=0, below=1)] = 0.5
    """Mean share of scenes that show no class, between 0 and 1; it varies from video to video."""
    confusion: Annotated[float, Within(least=0, below=1)] = 0.3
    """Share of a scene's variance, from 0 to below 1, that is random noise of its own.
    No model can learn it: the larger the share, the lower the scores."""
    seed: Seed = 0
    """Random seed. The same seed and settings make the same videos."""

    def check_together(self) -> None:
        if self.videos_per_shard < (least := -(-max(self.train_videos, self.test_videos) // 62**2)):
            raise ConfigError(
                f"synthesis.videos-per-shard must be at least {least}, not {self.videos_per_shard}: a split has names "
                "for 3844 shards only"
            )
        if self.min_frames > self.max_frames:
            raise ConfigError(
                f"synthesis.min-frames must be at most synthesis.max-frames, {self.max_frames}, not {self.min_frames}"
            )
