"""Adam with clipping, accumulated batches, and a moving average of the weights."""

import contextlib
import importlib
import math
from collections.abc import Iterator, Sequence

import keras
from keras import ops

from pipeline.config import TrainingConfig
from pipeline.config.errors import StageError
from pipeline.training.schedule import ExampleSchedule

AVERAGED, PLAIN = "averaged", "plain"
MEMORY = 2
"""The moving average reaches back over 1 / (1 + MEMORY) of the batches so far, until it reaches its limit."""


_OVERRIDDEN = ("_clip_gradients", "_update_model_variables_moving_average")
"""Methods of Keras's optimizer, 3.11 to 3.15, that have no public name; under another one ours would not be called."""


@keras.saving.register_keras_serializable(package="pipeline")
class Adam(keras.optimizers.Adam):
    """Keras's Adam (Kingma, Ba 2015) with a compiled update; its moving average is kept apart from the weights.

    Uncompiled, an update is bound by memory: it touches every weight some twenty times, one operation at a time.
    Compiled, it reads and writes each weight once, and takes at most half of the time. JAX compiles the whole step
    anyway, and PyTorch has a kernel for Adam. The gradient's norm is not compiled: XLA stores the squares before it
    adds them up, while TensorFlow's own kernel does not, and takes a fifth of the time; PyTorch's has its own too.
    """

    _norm = None
    """The norm of the gradient, set while an update that takes it is compiled."""

    def apply(self, grads, trainable_variables=None):
        if keras.backend.backend() != "tensorflow":
            super().apply(grads, trainable_variables)
            return
        import tensorflow as tf

        update, grads = super().apply, list(grads)
        # If gradients are accumulated, the norm is that of their sum, which is computed within the update.
        clips = self.global_clipnorm and not self.gradient_accumulation_steps

        def compiled(grads, norm):
            self._norm = norm
            update(grads, trainable_variables)
            self._norm = None

        tf.function(compiled, autograph=False, jit_compile=True)(grads, tf.linalg.global_norm(grads) if clips else None)

    def _clip_gradients(self, grads):
        norm = self._norm
        if norm is None and self.global_clipnorm and keras.backend.backend() == "torch":
            import torch

            norm = torch.nn.utils.get_total_norm(grads)
        if norm is None:
            return super()._clip_gradients(grads)
        # A norm that is not finite makes NaN of everything, as in Keras.
        scale = ops.minimum(self.global_clipnorm / norm, 1.0) + (norm - norm)
        return [gradient * scale for gradient in grads]

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        if keras.backend.backend() != "torch":
            super()._backend_update_step(grads, trainable_variables, learning_rate)
            return
        import torch

        places = [self._get_variable_index(variable) for variable in trainable_variables]
        weights = [variable.value for variable in trainable_variables]
        done = int(self.iterations)
        # Keras adds epsilon to the root of the moment as it is, PyTorch to that of the corrected one.
        epsilon = self.epsilon / math.sqrt(1 - self.beta_2 ** (done + 1))
        update = importlib.import_module("torch.optim.adam").adam  # `torch.optim` hides its module of this name
        with torch.no_grad():
            update(
                weights,
                list(grads),
                [self._momentums[place].value for place in places],
                [self._velocities[place].value for place in places],
                [],
                [torch.tensor(float(done), device=weight.device) for weight in weights],  # it counts them up
                fused=True,
                amsgrad=False,
                beta1=self.beta_1,
                beta2=self.beta_2,
                lr=float(learning_rate),
                weight_decay=0.0,
                eps=epsilon,
                maximize=False,
            )

    def _update_model_variables_moving_average(self, trainable_variables):
        """Update Keras's average, but with a momentum that forgets the start; see `ema_momentum`."""
        # `_iterations` counts batches, `iterations` updates. The average moves at every batch, accumulating or not.
        momentum = ema_momentum(ops.cast(self._iterations, "float32"), self.ema_momentum)
        for weight, average in zip(trainable_variables, self._model_variables_moving_average):
            if keras.backend.backend() == "torch":  # in place: one pass over the memory
                average.value.lerp_(weight.value, 1 - momentum)
            else:
                average.assign(momentum * average + (1 - momentum) * weight)

    def finalize_variable_values(self, var_list):
        """Do nothing: Keras would put the average into the weights after every `fit`, that is, every range of steps."""


def ema_momentum(batches, full):
    """Return the share of itself that the average keeps after t batches: min(full, t / (t + 2)).

    The average reaches back over a third of the run so far, until it reaches back as far as `full` lets it. With `full`
    from the start, the average of a run that is not much longer than its half-life would mostly consist of the initial
    random weights. On AudioSet a quarter or a tenth in place of a third is better early in a run, where plain weights
    are as good, and worse at the end.
    """
    return ops.minimum(batches / (batches + MEMORY), full)


def build_optimizer(training: TrainingConfig, total_steps: int, weights: Sequence[keras.Variable]) -> Adam:
    """Return the optimizer of a training run of `total_steps` batches, with its moments of the weights.

    The moments are created before the first step. Creating them within it would add them to the step's peak memory, and
    a compiled function cannot create variables.

    Raises:
        StageError: this version of Keras does not call what is overridden here.
    """
    if lacking := [name for name in _OVERRIDDEN if not hasattr(keras.optimizers.Adam, name)]:
        raise StageError(
            f"Keras {keras.__version__} is too new: its optimizer has no {' and no '.join(lacking)}; install keras<3.16"
        )
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
    """Return the names, for `use_weights`, of the weights that may be a run's best.

    If there is an average, it is better than the weights that are trained. But while its memory still grows it may lag
    behind, so both are tried.
    """
    if not adam.use_ema:
        return (PLAIN,)
    batches = int(adam._iterations)
    return (AVERAGED, PLAIN) if batches / (batches + MEMORY) < adam.ema_momentum else (AVERAGED,)


@contextlib.contextmanager
def use_weights(model: keras.Model, name: str) -> Iterator[None]:
    """Give the model its averaged or its plain weights inside the block; afterwards restore those that are trained."""
    if name == PLAIN:
        yield
        return
    trained = [variable.numpy().copy() for variable in model.trainable_variables]
    for variable, average in zip(model.trainable_variables, model.optimizer._model_variables_moving_average):
        variable.assign(ops.copy(average))  # a copy, since on JAX a step donates a variable's memory
    try:
        yield
    finally:
        for variable, value in zip(model.trainable_variables, trained):
            variable.assign(value)
