"""Monitor training batches: update the bar, take the time, stop if asked to, or at a loss that is not finite."""

import math
import time
from collections.abc import Sequence

import keras
from tqdm import tqdm

from pipeline.runtime.signals import StopRequest


class BatchMonitor(keras.callbacks.Callback):
    """Counts, times and checks the batches of a range of steps.

    Keras may take several steps before it reports the last of them. After `fit`, `loss` is the mean over the range, and
    `penalties` are the parts of it that have a name. `seconds` and `batches` cover all batches except those of the
    first report, which may compile. `failed_step` is the step by which a loss was not finite and training stopped.
    If a request stopped it, `done` steps were taken, and `sums` lets another monitor go on with the rest of the range.

    Args:
        steps: the steps of the range that are still to be taken.
        batch_size: the number of examples in a step.
        bar: counts examples.
        request: asks training to stop after a step.
        sums: the values of the model's metrics after the steps of the range that were taken before; empty if none was.
    """

    def __init__(
        self, steps: range, batch_size: int, bar: tqdm, request: StopRequest | None = None, sums: Sequence[float] = ()
    ):
        super().__init__()
        self.steps = steps
        self.batch_size = batch_size
        self.bar = bar
        self.request = request
        self.sums = sums
        self.done = 0
        self.loss = math.nan
        self.penalties: dict[str, float] = {}
        self.seconds = 0.0
        self.batches = 0
        self.failed_step: int | None = None
        self._began: float | None = None
        self._first = 0

    def on_epoch_begin(self, epoch, logs=None):
        if self.sums:  # `fit` has just reset the metrics
            for variable, value in zip(self._metrics(), self.sums, strict=True):
                variable.assign(value)

    def on_train_batch_end(self, batch, logs=None):
        batch = min(batch, len(self.steps) - 1)  # Keras goes on counting past the end of the range
        self.loss = float(logs["loss"])
        now = time.perf_counter()
        if self._began is None:
            self._began, self._first = now, batch
        else:
            self.batches = batch - self._first
            self.seconds = now - self._began
        self.bar.update((batch + 1 - self.done) * self.batch_size)
        self.done = batch + 1
        self.bar.set_postfix_str(f"loss {self.loss:.3f}", refresh=False)
        if self.request is not None:
            self.request.hear()
        # Keras reports the mean of the losses so far. Once a loss is not finite, the mean stays so.
        if not math.isfinite(self.loss):
            self.failed_step = self.steps[batch]
            self.model.stop_training = True
        elif self.request:
            self.model.stop_training = True

    def on_train_end(self, logs=None):
        self.penalties = {name: float(value) for name, value in logs.items() if name != "loss"}
        self.sums = [float(variable.numpy()) for variable in self._metrics()] if self.done < len(self.steps) else []

    def _metrics(self) -> list[keras.Variable]:
        return [variable for metric in self.model.metrics for variable in metric.variables]
