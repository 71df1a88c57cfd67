"""Settings of training: which frames of a video are used, and how the weights are optimized."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pipeline.config.checked import LEFT_OUT_AT_DEFAULT, CheckedFields
from pipeline.config.monitor import Monitor
from pipeline.config.ranges import Devices, Frames, Matching, Seconds, Seed, Several, Share, Videos, Within

_Layers = Annotated[
    str, Matching(r"[^\x00-\x20\x7f-][^\x00-\x20\x7f]*", "a pattern of names of layers, such as *_norm")
]
_Teacher = Annotated[str, Matching(r"[^\x00-\x1f\x7f-][^\x00-\x1f\x7f]*", "the name or path of a run, or ensemble")]


@dataclass(frozen=True)
class SamplingConfig(CheckedFields, section="sampling"):
    """Which frames of a video the model sees."""

    train: Literal["uniform", "all", "random_frames", "random_sequence"] = "uniform"
    """Sampling in training. uniform: frames at equal distances. all: every frame.
    random_frames: frames drawn at random, with replacement. random_sequence: consecutive frames from a random start."""
    evaluation: Literal["uniform", "all"] = "uniform"
    """Sampling in validation and prediction, as in training; both choices are deterministic."""
    frames: Frames = 256
    """Number of frames after sampling. More frames show the model more and cost more time and memory.
    Sampling method all ignores it and pads every video to --dataset.max-frames."""


@dataclass(frozen=True)
class TrainingConfig(CheckedFields, section="training"):
    """How the weights are optimized: batches, learning rate, regularization, checkpoints."""

    batch_size: Videos = 64
    """Batch size: number of videos in one pass through the device. Larger batches need more memory."""
    accumulate: Annotated[int, Within(1, 65_536, unit="passes")] = 1
    """Gradient accumulation: number of passes whose gradients are combined into one update of the weights.
    More passes act like a larger batch without more memory, such as the paper's batches on one device."""
    epochs: Annotated[float, Within(above=0, most=100_000, unit="passes over the training videos")] = 5.0
    """Number of passes over the training videos; it may be a fraction, such as 0.5."""
    learning_rate: Annotated[float, Within(1e-10, 10)] = 3e-4
    """Learning rate of Adam after the warm-up, before it decays."""
    decay: Literal["constant", "exponential", "cosine"] = "exponential"
    """Decay of the learning rate. constant: none. cosine: along half a cosine, to 0 at the end of the run.
    exponential: in steps, see --training.decay-rate and --training.decay-examples."""
    decay_rate: Annotated[float, Within(above=0, most=1)] = 0.85
    """Factor that the learning rate is multiplied by at each step of decay exponential."""
    decay_examples: Annotated[int, Within(1, 1_000_000_000_000, unit="examples")] = 4_000_000
    """Number of examples from one step of decay exponential to the next."""
    warmup_examples: Annotated[int, Within(0, 1_000_000_000_000, unit="examples")] = 0
    """Length of the warm-up in examples: the learning rate rises linearly over it. A tenth of the run is its limit."""
    clip_norm: Annotated[float, Within(0, 1_000_000_000)] = 1.0
    """Largest global norm of the gradient; a longer gradient is scaled down to it. 0 turns clipping off."""
    ema_half_life: Annotated[float, Within(0, 1_000_000_000, unit="updates")] = 0.0
    """Half-life, in updates, of the exponential moving average of the weights; 0 turns the average off.
    A longer one averages over more updates; early on, the average reaches back over a third of the run so far."""
    mixup: Annotated[float, Within(0, 1000)] = 0.0
    """Mixup: alpha of the Beta distribution that mixes pairs of videos and their labels; 0 turns mixup off.
    The larger it is, the more evenly the two videos of a pair are mixed."""
    label_smoothing: Share = 0.0
    """Label smoothing: share of each target that is replaced by one half; 0 turns it off.
    With --classifier.head softmax it is replaced by an equal share for each class."""
    monitor: Monitor = field(default="gap", metadata=LEFT_OUT_AT_DEFAULT)
    """Metric on the hold-out by which the best epoch is kept, training stops early, and runs are chosen and blended.
    gap: GAP@20. map, auc, d_prime: means over the classes, which count alike however rare they are. hit_at_one, perr.
    top_1, top_5: the accuracy of a single_label dataset."""
    patience: Annotated[int, Within(0, 100_000, unit="epochs")] = 0
    """Patience: number of epochs after which training stops if none had a better hold-out score, see
    --training.monitor; 0 never stops early."""
    checkpoint_steps: Annotated[int, Within(1, 1_000_000_000, unit="steps")] = 500
    """Number of steps from one chance to write a checkpoint to the next; the end of an epoch is a chance too.
    A chance is skipped if the last checkpoint is too recent, so that writing takes a twentieth of the time at most."""
    keep_checkpoint: bool = field(default=True, metadata=LEFT_OUT_AT_DEFAULT)
    """Whether a finished run keeps its last checkpoint, from which more --training.epochs go on.
    It takes three to four times as much disk as the model; without it, it is deleted."""
    snapshots: Annotated[int, Within(0, 10_000, unit="evaluations")] = 0
    """Number of evaluations, counted from the last, whose weights are kept for `soup` to average; 0 keeps none."""
    teacher: _Teacher | None = None
    """Teacher for distillation: name or path of a run, or `ensemble`.
    Its predictions of split train are mixed into the labels."""
    teacher_share: Annotated[float, Within(0, 1)] = 0.5
    """Share of the teacher's predictions in the targets, from 0 (labels alone) to 1 (teacher alone)."""
    freeze: Annotated[tuple[_Layers, ...], Several(distinct=True)] = field(default=(), metadata=LEFT_OUT_AT_DEFAULT)
    """Layers that are not trained: patterns of their names, such as *_pooling.
    Their weights and statistics stay as they begin, so it goes with --from."""
    precision: Literal["auto", "float32", "mixed_bfloat16"] = "float32"
    """Precision of the computation. auto: mixed_bfloat16 where the hardware is faster with it, float32 elsewhere.
    The weights are float32 in any case."""
    grace: Seconds = field(default=0.0, metadata=LEFT_OUT_AT_DEFAULT)
    """Seconds after which a signal ends the training even if it has not reached a step's end and written a checkpoint;
    then the last one counts. Fewer than the launcher gives before it kills; 0 takes as long as it takes."""
    devices: Devices = field(default="all", metadata=LEFT_OUT_AT_DEFAULT)
    """Number of accelerators of this machine that share each batch, or all that are seen. It changes nothing of what is
    learned. More than one need KERAS_BACKEND=jax, and must share --training.batch-size evenly."""
    seed: Seed = 0
    """Random seed of the initial weights, the order of the videos, and all other random choices."""
