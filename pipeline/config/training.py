"""Training: which frames are read, and how weights are found."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pipeline.config.checked import CheckedFields
from pipeline.config.ranges import Frames, Matching, Seed, Share, Videos, Within

_Teacher = Annotated[str, Matching(r"[^\x00-\x1f\x7f-][^\x00-\x1f\x7f]*", "the name or path of a run, or ensemble")]


@dataclass(frozen=True)
class SamplingConfig(CheckedFields, section="sampling"):
    """Which frames of a video are read."""

    train: Literal["uniform", "all", "random_frames", "random_sequence"] = "uniform"
    evaluation: Literal["uniform", "all"] = "uniform"
    """Always deterministic."""
    frames: Frames = 256
    """Frames after sampling; `all` pads up to the dataset's longest video instead."""


@dataclass(frozen=True)
class TrainingConfig(CheckedFields, section="training"):
    """How weights are found."""

    batch_size: Videos = 64
    """Videos in one pass through the device."""
    accumulate: Annotated[int, Within(1, 65_536, unit="passes")] = 1
    """Passes whose gradients make one update: the paper's batches on one device."""
    epochs: Annotated[float, Within(above=0, most=100_000, unit="passes over the training videos")] = 5.0
    """Passes over the training videos; a part of one is fine."""
    learning_rate: Annotated[float, Within(1e-10, 10)] = 3e-4
    """Of Adam, after the warm-up."""
    decay: Literal["constant", "exponential", "cosine"] = "exponential"
    decay_rate: Annotated[float, Within(above=0, most=1)] = 0.85
    decay_examples: Annotated[int, Within(1, 1_000_000_000_000, unit="examples")] = 4_000_000
    """exponential: the rate is multiplied by decay-rate every so many examples."""
    warmup_examples: Annotated[int, Within(0, 1_000_000_000_000, unit="examples")] = 0
    """The rate rises linearly over so many examples, a tenth of the run at most."""
    clip_norm: Annotated[float, Within(0, 1_000_000_000)] = 1.0
    """Bound on the global norm of the gradient; 0 for none."""
    ema_half_life: Annotated[float, Within(0, 1_000_000_000, unit="updates")] = 0.0
    """Updates after which a weight's share in the moving average has halved; 0 for no average. Until there are enough,
    the average reaches back over a third of the run so far."""
    mixup: Annotated[float, Within(0, 1000)] = 0.0
    """Alpha of the Beta distribution that mixes pairs of videos and their labels; 0 for none."""
    label_smoothing: Share = 0.0
    """Share of each target that is replaced by one half."""
    patience: Annotated[int, Within(0, 100_000, unit="epochs")] = 0
    """Epochs without a better hold-out GAP before training stops; 0 never stops early."""
    checkpoint_steps: Annotated[int, Within(1, 1_000_000_000, unit="steps")] = 500
    """Steps after which a checkpoint may be written, as at an epoch's end: it is if the last was not too recent."""
    snapshots: Annotated[int, Within(0, 10_000, unit="evaluations")] = 0
    """Of so many last evaluations the weights are kept, for `soup` to average; 0 keeps none."""
    teacher: _Teacher | None = None
    """Name or path of a run, or `ensemble`, whose predictions of split train are mixed into the labels."""
    teacher_share: Annotated[float, Within(0, 1)] = 0.5
    """Share of the teacher's predictions in the targets, from 0 to 1."""
    precision: Literal["auto", "float32", "mixed_bfloat16"] = "float32"
    """auto: bfloat16 where it is multiplied faster, float32 elsewhere. Weights are float32 in any case."""
    seed: Seed = 0
