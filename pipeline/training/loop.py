"""Train a model from the first step, or from a checkpoint, to the last step."""

import contextlib
import math
import time
from pathlib import Path
from typing import Any

import keras
from tqdm import tqdm

from pipeline.artifacts.files import remove_leftovers
from pipeline.artifacts.models import MODEL, Snapshots, store_model
from pipeline.artifacts.places import CHECKPOINT
from pipeline.artifacts.predictions import Predictions
from pipeline.config import InferenceConfig, ModelConfig, SamplingConfig, TrainingConfig
from pipeline.config.errors import StageError
from pipeline.config.monitor import Monitor, key_of, short_title
from pipeline.inference.scoring import Metrics
from pipeline.inputs.index import Index
from pipeline.inputs.reading.reader import FrameReader
from pipeline.models import build_model
from pipeline.runtime import hosts, signals
from pipeline.runtime.progress import progress_bar
from pipeline.training import checkpoint, optimizer, statistics
from pipeline.training.agreement import Agreement
from pipeline.training.batches import EpochSampler, TrainBatches
from pipeline.training.callbacks import BatchMonitor
from pipeline.training.checkpoint import TrainState
from pipeline.training.compiled import compile_model
from pipeline.training.draws import drawn_by_step
from pipeline.training.freezing import freeze_layers
from pipeline.training.holdout import Holdout
from pipeline.training.log import MetricsLog
from pipeline.training.plan import TrainingPlan, short_run_warnings
from pipeline.training.soft_labels import SoftLabels
from pipeline.training.start import Start

REST = 20
"""If the last checkpoint took t to write, none is written for REST * t: they take at most a twentieth of the time."""


class Trainer:
    """A training run: its model, data and folder.

    Args:
        folder: the folder of the run, with the checkpoint, the best model, the snapshots and the log.
        index: the videos to train and validate on.
        teacher: the soft labels that are mixed into the labels of the training videos.
        start: the trained run whose weights it begins with, unless there is a checkpoint.
    """

    def __init__(
        self,
        folder: Path,
        index: Index,
        model: ModelConfig,
        sampling: SamplingConfig,
        training: TrainingConfig,
        inference: InferenceConfig,
        teacher: SoftLabels | None = None,
        start: Start | None = None,
    ):
        self.folder = folder
        self.index = index
        self.sampling = sampling
        self.training = training
        self.teacher = teacher
        self.hosts = hosts.mine()
        keras.utils.set_random_seed(training.seed)
        self.reader = FrameReader(index)
        self.sampler = EpochSampler(index.rows("train"), training.batch_size, training.seed)
        self.chooses = key_of(training.monitor)
        self.plan = TrainingPlan.of(training, len(self.sampler.rows))
        # This copy is never compiled, so it is stored without the optimizer, which is three times as large.
        self.stored = build_model(model, index.dataset, training.precision)
        if start and not (folder / CHECKPOINT).exists():
            start.give_to(self.stored)
        freeze_layers(self.stored, training.freeze)
        self.model = compile_model(self.stored, index.dataset, sampling, training, self.plan.total)
        self.start = statistics.start_at_zero(self.model)
        self.holdout = Holdout(self.model, self.reader, index, sampling, inference, self.hosts)

    def run(self) -> TrainState:
        """Train to the end, from the last checkpoint if there is one.

        Raises:
            StageError: the loss is not finite.
            Stopped: a signal asked to stop. The checkpoint is that of the last step that was taken.
        """
        path = self.folder / CHECKPOINT
        writes = self.hosts.is_first
        if writes:
            remove_leftovers(self.folder)
        if self.teacher:
            self.teacher.open()
        # The checkpoint comes first (weights, optimizer, seed generators, state), since the log needs its step.
        self.hosts.check_shared(path, path.exists())
        state = checkpoint.restore_checkpoint(path, self.model) if path.exists() else TrainState()
        self.hosts.check_shared(path, state.step)
        if state.format == 1:
            statistics.remove_start(self.model, self.start, state.step)
            state.format = checkpoint.FORMAT
        log = MetricsLog(self.folder, state.step) if writes else None
        self.snapshots = Snapshots(self.folder, self.training.snapshots, state.step) if writes else None
        if state.step:
            print(f"resuming at step {state.step} of {self.plan.total}")
        for line in short_run_warnings(self.training, self.plan, len(self.sampler.rows), len(self.holdout.rows)):
            print(line)
        self.kept_step, due = state.step, 0.0
        batch_size = self.training.batch_size
        bar = progress_bar(
            total=self.plan.total * batch_size,
            initial=state.step * batch_size,
            desc=self.model.name,
            unit=" examples",
            unit_scale=True,
        )
        with bar, signals.held(self.training.grace) as own:
            self.request = Agreement(own, self.hosts) if self.hosts.count > 1 else own
            while state.unlogged or (state.step < self.plan.total and not self._waited_enough(state)):
                with contextlib.suppress(signals.Stopped):  # of an evaluation
                    self._advance(state, log, bar)
                self.request.hear()
                if ((began := time.monotonic()) >= due or self.request) and writes:
                    checkpoint.save_checkpoint(path, self.model, state)
                    self.kept_step, ended = state.step, time.monotonic()
                    due = ended + REST * (ended - began)
                self.request.check()
            if self.training.keep_checkpoint and self.kept_step != state.step and writes:
                checkpoint.save_checkpoint(path, self.model, state)
        if log:
            log.close()
        return state

    def _waited_enough(self, state: TrainState) -> bool:
        return bool(self.training.patience) and state.waited >= self.training.patience

    def _advance(self, state: TrainState, log: MetricsLog | None, bar: tqdm) -> None:
        """Train up to the next stop. If it is an evaluation, score the hold-out; keep the model if it is the best.

        If a stop is requested, `state` says how far this came.
        """
        record = state.unlogged or self._train(state, bar)
        if not record:
            return
        if state.step in self.plan.evaluations:
            state.unlogged = record
            record = record | self._evaluate(state)
            state.unlogged = {}
            told = _scored(record, self.training.monitor)
            bar.write(f"step {state.step}, epoch {record['epoch']:.1f}: loss {record['loss']:.3f}{told}")
        if log:
            log.add(record)

    def _train(self, state: TrainState, bar: tqdm) -> dict[str, Any]:
        """Train up to the next stop, and return a record for the log; {} if a stop was requested before it."""
        steps = range(state.step, self.plan.next_stop(state.step))
        batches = TrainBatches(
            self.reader, self.sampler, steps, self.sampling, self.training.mixup, self.teacher, self.hosts
        )
        watch = BatchMonitor(steps, self.training.batch_size, bar, self.request, state.sums)
        callbacks = [watch, *drawn_by_step(self.training.seed, steps)]
        try:
            self.model.fit(batches, epochs=1, shuffle=False, verbose=0, callbacks=callbacks)
        except Exception:
            if batches.failure:
                raise batches.failure from None
            raise
        if watch.failed_step is not None:
            path = self.folder / CHECKPOINT
            kept = f"; the last good checkpoint, of step {self.kept_step}, is {path}" if self.kept_step else ""
            half = "" if self.training.precision == "float32" else ", or --training.precision float32"
            raise StageError(
                f"the loss became {watch.loss} by step {watch.failed_step}{kept}. Try a lower "
                "--training.learning-rate, a longer --training.warmup-examples, a smaller --training.clip-norm" + half
            )
        state.step, state.sums = steps.start + watch.done, watch.sums
        statistics.check_finite(self.model, state.step)  # before anything is stored
        state.seconds += watch.seconds
        state.timed_examples += watch.batches * self.training.batch_size
        if state.step < steps.stop:
            return {}
        record: dict[str, Any] = {
            "step": state.step,
            "epoch": state.step * self.training.batch_size / len(self.sampler.rows),
            "loss": watch.loss,
            **watch.penalties,
            "learning_rate": float(self.model.optimizer.learning_rate),
        }
        if watch.seconds:
            record["examples_per_second"] = watch.batches * self.training.batch_size / watch.seconds
        return record

    def _evaluate(self, state: TrainState) -> dict[str, Any]:
        """Score the weights that can be the best, keep the better ones, and return their metrics; {} if no hold-out."""
        began = time.perf_counter()
        names = optimizer.names_of_weights(self.model.optimizer)
        with statistics.corrected_statistics(self.model, state.step):
            predicted = {name: self._predict(name) for name in names} if self.index.holdout_labeled else {}
            scores = {name: self.holdout.score(found, self.folder) for name, found in predicted.items()}
            scored = {name: _known(found.whole) for name, found in scores.items()}
            best = max(scored, key=lambda name: scored[name][self.chooses], default=names[0])
            keys = dict.fromkeys(("gap", self.chooses))
            both = {f"{key}_{name}": found[key] for key in keys for name, found in scored.items()}
            metrics = {**scored[best], **both} if scored else {}
            with optimizer.use_weights(self.model, best):
                if not metrics or metrics[self.chooses] > state.best.get(self.chooses, -math.inf):
                    state.best = {**metrics, "step": state.step, "weights": best}
                    state.waited = 0
                    if self.hosts.is_first:
                        store_model(self.folder / MODEL, self.stored)
                    if self.hosts.is_first and metrics:
                        self.holdout.keep(predicted[best], scores[best], self.folder)
                else:
                    state.waited += 1
                if self.snapshots:
                    self.snapshots.add(state.step, self.stored)
        taken = {"evaluation_seconds": time.perf_counter() - began} if metrics else {}
        return {**metrics, "weights": best, **taken}

    def _predict(self, weights: str) -> Predictions:
        """Predict the hold-out with the averaged or the plain weights."""
        with optimizer.use_weights(self.model, weights):
            return self.holdout.predict(self._go_on_or_stop)

    def _go_on_or_stop(self) -> None:
        self.request.hear()
        self.request.check()


def _known(metrics: Metrics) -> dict[str, float]:
    """Return the metrics that have a value."""
    return {name: value for name, value in metrics.items() if value is not None}


def _scored(record: dict[str, Any], monitor: Monitor) -> str:
    """Return a text with the hold-out score and its weights, and that of the other weights if both are scored."""
    key = key_of(monitor)
    if key not in record:
        return ""
    others = [name for name in (optimizer.AVERAGED, optimizer.PLAIN) if name != record["weights"]]
    beside = "".join(f"; {name} {record[f'{key}_{name}']:.4f}" for name in others if f"{key}_{name}" in record)
    return f", hold-out {short_title(monitor)} {record[key]:.4f} ({record['weights']}{beside})"
