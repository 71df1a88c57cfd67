"""Plan the steps of a training run, and warn of settings that presume a longer one."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.config import TrainingConfig
from pipeline.config.errors import StageError

LONGEST_WARMUP = 0.1
"""The longest warm-up, as a share of a run's examples: a longer one would leave too few at the full rate."""


@dataclass(frozen=True)
class TrainingPlan:
    """The steps of a training run, in batches."""

    total: int
    evaluations: tuple[int, ...]
    """The steps after which the hold-out is scored: the end of every epoch, and of the run."""
    checkpoints: int

    @classmethod
    def of(cls, training: TrainingConfig, videos: int) -> "TrainingPlan":
        """Plan a run; raises StageError if there are no videos to train on, or if no update would be made."""
        if not videos:
            raise StageError(
                "the index has no training videos: name their split in dataset.train-splits, or index them with "
                "`ingest --raw`"
            )
        total = max(math.ceil(training.epochs * videos / training.batch_size), 1)
        if total < training.accumulate:
            raise StageError(
                f"the run has {total} batches, and an update is made of {training.accumulate}: nothing would be "
                f"learned. Choose --training.accumulate {total} or less, or more --training.epochs"
            )
        ends = {math.ceil(epoch * videos / training.batch_size) for epoch in range(1, math.floor(training.epochs) + 1)}
        return cls(total, tuple(sorted({min(end, total) for end in ends} | {total})), training.checkpoint_steps)

    def next_stop(self, step: int) -> int:
        """Return the first step after `step` at which something may be stored."""
        evaluation = next(end for end in self.evaluations if end > step)
        return min(evaluation, (step // self.checkpoints + 1) * self.checkpoints)


def warmup_examples(training: TrainingConfig, total_steps: int) -> int:
    """Return the number of warm-up examples: that of the setting, but at most LONGEST_WARMUP of the run."""
    return min(training.warmup_examples, int(LONGEST_WARMUP * total_steps * training.batch_size))


def short_run_warnings(training: TrainingConfig, plan: TrainingPlan, videos: int, holdout: int) -> Iterator[str]:
    """Yield a line for each setting that presumes a longer run than this one, with the consequence and the remedy.

    Args:
        training: the settings.
        plan: the steps of the run.
        videos: the number of videos to train on.
        holdout: the number of videos in the hold-out.
    """
    examples = plan.total * training.batch_size
    updates = plan.total // training.accumulate
    scorings = len(plan.evaluations)
    if training.batch_size > videos:
        yield (
            f"a batch of {training.batch_size:,} holds the {videos:,} training videos more than once: choose a smaller "
            "--training.batch-size"
        )
    if (warmup := warmup_examples(training, plan.total)) < training.warmup_examples:
        yield (
            f"the warm-up takes {warmup:,} examples, a tenth of the run, not {training.warmup_examples:,}: "
            "for a longer one choose more --training.epochs"
        )
    if training.decay == "exponential" and training.decay_examples + warmup >= examples:
        yield (
            f"the learning rate never falls: the run has {examples:,} examples, and it falls every "
            f"{training.decay_examples:,}. Choose --training.decay cosine, or fewer --training.decay-examples"
        )
    if training.ema_half_life > updates:
        yield (
            f"the average of the weights reaches back over a third of the run's {updates:,} updates: a half-life of "
            f"{training.ema_half_life:,g} is never reached. Choose a shorter --training.ema-half-life"
        )
    if training.snapshots > scorings:
        yield (
            f"{scorings} snapshots are kept, not {training.snapshots}: the run has no more evaluations. Choose more "
            "--training.epochs"
        )
    if training.patience and not holdout:
        yield "without a hold-out nothing ends the training early: --training.patience has no effect"
    elif training.patience and training.patience >= scorings - 1:  # the first evaluation is always the best so far
        yield (
            f"a patience of {training.patience} ends nothing early: the run has {scorings} evaluations. Choose a "
            "smaller --training.patience"
        )
