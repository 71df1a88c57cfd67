"""Adam with clipping, accumulated batches, and a moving average of the weights."""

import contextlib
from collections.abc import Iterator, Sequence

import keras
from keras import ops

from pipeline.config import TrainingConfig
from pipeline.training.schedule import ExampleSchedule

AVERAGED, PLAIN = "averaged", "plain"
MEMORY = 2
"""The moving average's memory is 1 / (1 + MEMORY) of the batches so far, as long as that is less than its limit."""


@keras.saving.register_keras_serializable(package="pipeline")
class Adam(keras.optimizers.Adam):
    """Keras's Adam (Kingma, Ba 2015), its whole update compiled; its moving average stays beside the weights.

    An update touches every weight some twenty times, one operation at a time, and is bound by memory: compiled it reads
    and writes each once, and takes half of the time or less. JAX compiles the whole step anyway. The gradient's norm is
    left out of it: XLA writes squares down before it adds them up, TensorFlow's own kernel does not and takes a fifth
    of the time.
    """

    _norm = None
    """Of the gradient, while an update is compiled that is given it."""

    def apply(self, grads, trainable_variables=None):
        if keras.backend.backend() != "tensorflow":
            super().apply(grads, trainable_variables)
            return
        import tensorflow as tf

        update, grads = super().apply, list(grads)
        # Of gradients that are accumulated first the norm is that of their sum, which is made within the update.
        clips = self.global_clipnorm and not self.gradient_accumulation_steps

        def compiled(grads, norm):
            self._norm = norm
            update(grads, trainable_variables)
            self._norm = None

        tf.function(compiled, jit_compile=True)(grads, tf.linalg.global_norm(grads) if clips else None)

    def _clip_gradients(self, grads):
        if self._norm is None:
            return super()._clip_gradients(grads)
        # What is not finite becomes NaN everywhere, as in Keras.
        scale = ops.minimum(self.global_clipnorm / self._norm, 1.0) + (self._norm - self._norm)
        return [gradient * scale for gradient in grads]

    def _update_model_variables_moving_average(self, trainable_variables):
        """Keras's average, with a momentum that forgets the start: see `ema_momentum`."""
        # `iterations` are updates; the average moves at every batch, also at those that only accumulate.
        momentum = ema_momentum(ops.cast(self._iterations, "float32"), self.ema_momentum)
        for weight, average in zip(trainable_variables, self._model_variables_moving_average):
            average.assign(momentum * average + (1 - momentum) * weight)

    def finalize_variable_values(self, var_list):
        """Nothing: Keras would end every `fit`, here every range of steps, with the average in the weights."""


def ema_momentum(batches, full):
    """The share of itself that the average keeps after t batches: min(full, t / (t + 2)).

    Its memory is a third of the run so far, until that is as long as `full` makes it. With `full` from the start, the
    average of a run that is not much longer than its half-life would mostly be the random weights that it began with.
    On AudioSet a memory of a quarter or a tenth is better early, where plain weights are as good, and worse at the end.
    """
    return ops.minimum(batches / (batches + MEMORY), full)


def build_optimizer(training: TrainingConfig, total_steps: int, weights: Sequence[keras.Variable]) -> Adam:
    """The optimizer of a training run of `total_steps` batches, with its moments of the weights.

    They are there before the first step: made within it they would lie beside all that it computes, and what is
    compiled cannot make any.
    """
    accumulate = training.accumulate if training.accumulate > 1 else None
    batches = training.ema_half_life * training.accumulate
    adam = Adam(
        ExampleSchedule.of(training, total_steps),
        epsilon=1e-8,
        global_clipnorm=training.clip_norm or None,
        gradient_accumulation_steps=accumulate,
        use_ema=bool(batches),
        ema_momentum=0.5 ** (1 / batches) if batches else 0.99,
    )
    adam.build(weights)
    return adam


def names_of_weights(adam: Adam) -> tuple[str, ...]:
    """The weights that can be a run's best, by the names that `use_weights` takes.

    Averaged ones are better than those that are trained on, where there is an average. While its memory still grows it
    may lag behind, and both are tried.
    """
    if not adam.use_ema:
        return (PLAIN,)
    batches = int(adam._iterations)
    return (AVERAGED, PLAIN) if batches / (batches + MEMORY) < adam.ema_momentum else (AVERAGED,)


@contextlib.contextmanager
def use_weights(model: keras.Model, name: str) -> Iterator[None]:
    """Inside the block the model has its averaged or its plain weights; afterwards those it is trained on."""
    if name == PLAIN:
        yield
        return
    trained = [variable.numpy().copy() for variable in model.trainable_variables]
    for variable, average in zip(model.trainable_variables, model.optimizer._model_variables_moving_average):
        variable.assign(ops.copy(average))  # JAX gives a variable's memory away in a step; the average keeps its own
    try:
        yield
    finally:
        for variable, value in zip(model.trainable_variables, trained):
            variable.assign(value)
