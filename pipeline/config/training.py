"""Training: which frames are read, and how weights are found."""

from dataclasses import dataclass
from typing import Literal

from pipeline.config.errors import ConfigError, at_least


@dataclass(frozen=True)
class SamplingConfig:
    """Which frames of a video are read."""

    train: Literal["uniform", "all", "random_frames", "random_sequence"] = "uniform"
    evaluation: Literal["uniform", "all"] = "uniform"
    """Always deterministic."""
    frames: int = 256
    """Frames after sampling; `all` pads up to the dataset's longest video instead."""

    def __post_init__(self) -> None:
        at_least(self, "sampling", frames=1)


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
    """The rate rises linearly over so many examples, a tenth of the run at most."""
    clip_norm: float = 1.0
    """Bound on the global norm of the gradient; 0 for none."""
    ema_half_life: float = 0.0
    """Updates after which a weight's share in the moving average has halved; 0 for no average. Until there are enough,
    the average reaches back over a third of the run so far."""
    mixup: float = 0.0
    """Alpha of the Beta distribution that mixes pairs of videos and their labels; 0 for none."""
    label_smoothing: float = 0.0
    patience: int = 0
    """Epochs without a better hold-out GAP before training stops; 0 never stops early."""
    checkpoint_steps: int = 500
    """Steps after which a checkpoint may be written, as at an epoch's end: it is if the last was not too recent."""
    snapshots: int = 0
    """Of so many last evaluations the weights are kept, for `soup` to average; 0 keeps none."""
    teacher: str | None = None
    """Name or path of a run, or `ensemble`, whose predictions of split train are mixed into the labels."""
    teacher_share: float = 0.5
    """Share of the teacher's predictions in the targets, from 0 to 1."""
    precision: Literal["auto", "float32", "mixed_bfloat16"] = "float32"
    """auto: bfloat16 where it is multiplied faster, float32 elsewhere. Weights are float32 in any case."""
    seed: int = 0

    def __post_init__(self) -> None:
        at_least(self, "training", batch_size=1, accumulate=1, decay_examples=1, checkpoint_steps=1)
        at_least(self, "training", warmup_examples=0, clip_norm=0, ema_half_life=0, mixup=0, patience=0, seed=0)
        at_least(self, "training", snapshots=0)
        if not 0 <= self.teacher_share <= 1:
            raise ConfigError(f"training.teacher-share must be from 0 to 1, not {self.teacher_share}")
        if self.epochs <= 0 or self.learning_rate <= 0:
            raise ConfigError("training.epochs and training.learning-rate must be more than 0")
