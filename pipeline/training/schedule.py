"""The learning rate as a function of the number of examples seen."""

import keras
from keras import ops

from pipeline.config import TrainingConfig
from pipeline.training.plan import warmup_examples


@keras.saving.register_keras_serializable(package="pipeline")
class ExampleSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up, then constant, exponential (in stairs of `decay_examples`) or cosine decay to 0.

    All is counted in examples, so that it means the same for any batch size and accumulation.
    """

    def __init__(
        self,
        learning_rate: float,
        decay: str,
        batch_size: int,
        total_examples: int,
        decay_rate: float = 0.85,
        decay_examples: int = 4_000_000,
        warmup_examples: int = 0,
    ):
        self.learning_rate = learning_rate
        self.decay = decay
        self.batch_size = batch_size
        self.total_examples = total_examples
        self.decay_rate = decay_rate
        self.decay_examples = decay_examples
        self.warmup_examples = warmup_examples

    @classmethod
    def of(cls, training: TrainingConfig, total_steps: int) -> "ExampleSchedule":
        return cls(
            training.learning_rate,
            training.decay,
            training.batch_size,
            total_steps * training.batch_size,
            training.decay_rate,
            training.decay_examples,
            warmup_examples(training, total_steps),
        )

    def __call__(self, step):
        """Return the learning rate of a step (the number of batches before it), a float32 scalar."""
        examples = ops.cast(step, "float32") * self.batch_size
        rate = ops.convert_to_tensor(self.learning_rate, "float32")
        after = ops.maximum(examples - self.warmup_examples, 0.0)
        if self.decay == "exponential":
            rate = rate * self.decay_rate ** ops.floor(after / self.decay_examples)
        elif self.decay == "cosine":
            share = ops.minimum(after / max(self.total_examples - self.warmup_examples, 1), 1.0)
            rate = rate * 0.5 * (1 + ops.cos(share * 3.141592653589793))
        if self.warmup_examples:
            # The batch itself counts as seen, so that the rate of the first batch is not 0.
            rate = rate * ops.minimum((examples + self.batch_size) / self.warmup_examples, 1.0)
        return rate

    def get_config(self):
        return dict(vars(self))
