"""What an experiment is: frozen dataclasses, to and from JSON."""

import dataclasses
import difflib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import cattrs

T = TypeVar("T")


class ConfigError(ValueError):
    """A setting that cannot be: the message names it and the remedy."""


# ---------------------------------------------------------------------------------------------------------------- data


@dataclass(frozen=True)
class FeatureConfig:
    """One feature of a record: `size` values a frame, stored as `dtype` under the key `source`."""

    name: str
    size: int
    dtype: Literal["uint8", "float32"] = "uint8"
    source: str = ""
    """Key in the record; the name where it is empty."""

    @property
    def key(self) -> str:
        return self.source or self.name


@dataclass(frozen=True)
class DatasetConfig:
    """How the records of a dataset are written, and how its videos are split."""

    name: str
    """Folder below the data directory."""
    features: tuple[FeatureConfig, ...]
    """Features to read, in the order in which the model gets them."""
    num_classes: int
    level: Literal["frame", "video"] = "frame"
    """frame: SequenceExample, one row a frame. video: Example, one row a video."""
    id_keys: tuple[str, ...] = ("id", "video_id")
    """Keys of the video's id, the first that a record has is taken."""
    labels_key: str = "labels"
    max_frames: int = 300
    """Longer videos are read up to here."""
    train_splits: tuple[str, ...] = ("train",)
    """Splits of files that are trained on; the hold-out is taken from them. The other splits are only scored."""
    holdout_percent: float = 2.0
    """Share of the training videos kept for validation, chosen by a stable hash of the id."""
    synthetic: bool = False
    """Made up: every score on it is labelled so."""

    def __post_init__(self) -> None:
        if not self.features:
            raise ConfigError(f"dataset {self.name}: declare at least one feature")
        if len({feature.dtype for feature in self.features}) > 1:
            raise ConfigError(f"dataset {self.name}: features must share one dtype; they are read into one array")
        if not 0 <= self.holdout_percent < 100:
            raise ConfigError(f"dataset.holdout-percent must be in [0, 100), not {self.holdout_percent}")
        if reserved := {"holdout"} & set(self.train_splits):
            raise ConfigError(f"dataset.train-splits: {', '.join(reserved)} is the name of the hold-out")

    @property
    def width(self) -> int:
        """Values a frame, all features together."""
        return sum(feature.size for feature in self.features)

    @property
    def dtype(self) -> str:
        return self.features[0].dtype


@dataclass(frozen=True)
class SynthesisConfig:
    """Size and difficulty of a synthetic dataset shaped like YouTube-8M."""

    train_videos: int = 3000
    test_videos: int = 500
    videos_per_shard: int = 250
    min_frames: int = 60
    max_frames: int = 150
    appearances: int = 3
    """Ways in which a class can look; a video shows one or two of them."""
    background: float = 0.5
    """Mean share of scenes that show no class; it varies from video to video."""
    confusion: float = 0.3
    """Share of a scene's variance that is its own: what no model can learn."""
    seed: int = 0

    def __post_init__(self) -> None:
        largest = max(self.train_videos, self.test_videos)
        if min(self.train_videos, self.test_videos) < 0 or largest > 64**4 // 2:
            raise ConfigError("synthesis.train-videos and synthesis.test-videos must be in 0..8388608: ids are short")
        if self.videos_per_shard < (least := max(1, -(-largest // 62**2))):
            raise ConfigError(f"synthesis.videos-per-shard must be at least {least}: a split has 3844 names of shards")
        if not 1 <= self.min_frames <= self.max_frames:
            raise ConfigError("synthesis.min-frames must be at least 1 and at most synthesis.max-frames")
        if self.appearances < 1 or self.seed < 0:
            raise ConfigError("synthesis.appearances must be at least 1, and synthesis.seed at least 0")
        if not (0 < self.background < 1 and 0 <= self.confusion < 1):
            raise ConfigError("synthesis.background must be in (0, 1), and synthesis.confusion in [0, 1)")


# --------------------------------------------------------------------------------------------------------------- model


@dataclass(frozen=True)
class PoolingConfig:
    """A pooling family's own settings: the arguments of its layer.

    A tuple holds one value a feature, in the dataset's order, or a single value for all of them.
    """


@dataclass(frozen=True)
class AverageConfig(PoolingConfig):
    """Masked statistics over the frames."""

    statistics: Literal["mean", "mean_std_max"] = "mean"


@dataclass(frozen=True)
class NetVLADConfig(PoolingConfig):
    """Soft assignment to clusters, sums of residuals."""

    clusters: tuple[int, ...] = (256, 64)


@dataclass(frozen=True)
class NetRVLADConfig(PoolingConfig):
    """NetVLAD without the residual: sums of the frames themselves."""

    clusters: tuple[int, ...] = (256, 64)


POOLING: dict[str, type[PoolingConfig]] = {
    "average": AverageConfig,
    "netvlad": NetVLADConfig,
    "netrvlad": NetRVLADConfig,
}


@dataclass(frozen=True)
class ClassifierConfig:
    """Everything around the pooling, the same for all families."""

    input_batch_norm: bool = True
    """Batch norm of each feature, over valid frames, before it is pooled."""
    hidden: int = 1024
    """Size of the video descriptor; 0 gives the pooled features to the head as they are."""
    activation: Literal["none", "relu"] = "relu"
    gating: Literal["none", "context", "squeeze_excite"] = "context"
    """Gating of the descriptor."""
    dropout: float = 0.0
    """Share of the pooled descriptor dropped in training."""
    head: Literal["moe", "logistic"] = "moe"
    experts: int = 2
    """Experts a class, beside the dummy that says 0 (head moe)."""
    head_hidden: tuple[int, ...] = ()
    """Hidden layers (dense, batch norm, ReLU, dropout) before the head's last one."""
    head_dropout: float = 0.0
    """Dropout after each of them."""
    head_l2: float = 1e-6
    output_gating: Literal["none", "context"] = "none"
    """Gating of the probabilities."""


@dataclass(frozen=True)
class ModelConfig:
    """A pooling family, its settings, and the classifier around it."""

    family: str = "netvlad"
    pooling: PoolingConfig = field(default_factory=NetVLADConfig)
    classifier: ClassifierConfig = field(default_factory=ClassifierConfig)

    def __post_init__(self) -> None:
        expected = one_of(self.family, POOLING, "pooling family")
        if type(self.pooling) is not expected:
            raise ConfigError(f"family {self.family} takes {expected.__name__}, not {type(self.pooling).__name__}")


# ------------------------------------------------------------------------------------------------------------ training


@dataclass(frozen=True)
class SamplingConfig:
    """Which frames of a video are read."""

    train: Literal["uniform", "all", "random_frames", "random_sequence"] = "uniform"
    evaluation: Literal["uniform", "all"] = "uniform"
    """Always deterministic."""
    frames: int = 256
    """Frames after sampling; `all` pads up to the dataset's longest video instead."""

    def __post_init__(self) -> None:
        _at_least(self, "sampling", frames=1)


@dataclass(frozen=True)
class TrainingConfig:
    """How weights are found."""

    batch_size: int = 64
    """Videos in one pass through the device."""
    accumulate: int = 1
    """Passes whose gradients make one update: the paper's batches on one device."""
    epochs: float = 5.0
    learning_rate: float = 3e-4
    decay: Literal["constant", "exponential", "cosine"] = "exponential"
    decay_rate: float = 0.85
    decay_examples: int = 4_000_000
    """exponential: the rate is multiplied by decay-rate every so many examples."""
    warmup_examples: int = 0
    """The rate rises linearly over so many examples."""
    clip_norm: float = 1.0
    """Bound on the global norm of the gradient; 0 for none."""
    ema_half_life: float = 0.0
    """Updates after which a weight's share in the moving average has halved; 0 for no average."""
    mixup: float = 0.0
    """Alpha of the Beta distribution that mixes pairs of videos and their labels; 0 for none."""
    label_smoothing: float = 0.0
    patience: int = 0
    """Epochs without a better hold-out GAP before training stops; 0 never stops early."""
    checkpoint_steps: int = 500
    """Steps between checkpoints; every epoch's end is one too."""
    precision: Literal["float32", "mixed_bfloat16"] = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        _at_least(self, "training", batch_size=1, accumulate=1, decay_examples=1, checkpoint_steps=1)
        _at_least(self, "training", warmup_examples=0, clip_norm=0, ema_half_life=0, mixup=0, patience=0, seed=0)
        if self.epochs <= 0 or self.learning_rate <= 0:
            raise ConfigError("training.epochs and training.learning-rate must be more than 0")


@dataclass(frozen=True)
class InferenceConfig:
    """How predictions are made and kept."""

    batch_size: int = 256
    top_k: int = 100
    """Labels kept for each video."""
    videos_per_part: int = 8192
    """Videos in one Parquet file: what a killed run loses at most."""

    def __post_init__(self) -> None:
        _at_least(self, "inference", batch_size=1, top_k=1, videos_per_part=1)


@dataclass(frozen=True)
class EnsembleConfig:
    """How runs are blended: with equal weights."""

    top_k: int = 100
    """Labels kept for each video."""

    def __post_init__(self) -> None:
        _at_least(self, "ensemble", top_k=1)


@dataclass(frozen=True)
class SubmissionConfig:
    """The challenge's file."""

    top_k: int = 20
    """Pairs of label and confidence for each video; the challenge takes 20 at most."""

    def __post_init__(self) -> None:
        if not 1 <= self.top_k <= 20:
            raise ConfigError(f"submission.top-k must be from 1 to 20, not {self.top_k}")


@dataclass(frozen=True)
class Experiment:
    """Everything that a preset declares, for one model."""

    dataset: DatasetConfig
    model: ModelConfig
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    inference: InferenceConfig = field(default_factory=InferenceConfig)
    ensemble: EnsembleConfig = field(default_factory=EnsembleConfig)
    submission: SubmissionConfig = field(default_factory=SubmissionConfig)
    synthesis: SynthesisConfig | None = None


# --------------------------------------------------------------------------------------------------------- conversions


def one_of(name: str, valid: dict[str, T], what: str) -> T:
    """Look a name up; an unknown one raises ConfigError with the nearest and all valid names."""
    if name in valid:
        return valid[name]
    near = difflib.get_close_matches(name, valid, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise ConfigError(f"unknown {what} {name!r}.{hint} There are: {', '.join(valid)}")


def _at_least(config: Any, section: str, **least: float) -> None:
    for name, bound in least.items():
        if not getattr(config, name) >= bound:
            flag = f"{section}.{name.replace('_', '-')}"
            raise ConfigError(f"{flag} must be at least {bound}, not {getattr(config, name)}")


def to_dict(config: Any) -> dict[str, Any]:
    """A configuration as plain JSON values."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def from_dict(kind: type[T], values: dict[str, Any], source: str | Path = "") -> T:
    """The configuration that `to_dict` wrote. Unknown or ill-typed keys raise ConfigError naming them and `source`."""
    try:
        return _converter().structure(values, kind)
    except (cattrs.BaseValidationError, ConfigError) as error:
        faults = cattrs.transform_error(error) if isinstance(error, cattrs.BaseValidationError) else [str(error)]
        raise ConfigError(f"{source or kind.__name__}: {'; '.join(faults)}") from error


def differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    """The fields in which two configurations differ, as `training.epochs: 5 -> 6`."""
    found = []
    for key in sorted(old.keys() | new.keys()):
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            found += differences(before, after, f"{prefix}{key}.")
        elif before != after:
            found.append(f"{prefix}{key}: {before} -> {after}")
    return found


def _converter() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True)

    def structure_model(values: dict[str, Any], _: type) -> ModelConfig:
        settings = one_of(values["family"], POOLING, "pooling family")
        return ModelConfig(
            family=values["family"],
            pooling=converter.structure(values["pooling"], settings),
            classifier=converter.structure(values["classifier"], ClassifierConfig),
        )

    converter.register_structure_hook(ModelConfig, structure_model)
    return converter
