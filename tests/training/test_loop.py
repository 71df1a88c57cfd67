"""Training: resumed or not it is the same; the best model is kept; a loss that is not finite stops it."""

import dataclasses
import itertools
import json
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from fixtures.support import OTHER_BACKENDS, ROOT, make_small_index, on_backend, update_uncompiled

from pipeline.artifacts.models import digest_model, list_snapshots, step_of
from pipeline.artifacts.predictions import Predictions, PredictionStore
from pipeline.config import (
    AverageConfig,
    ClassifierConfig,
    InferenceConfig,
    ModelConfig,
    NetVLADConfig,
    SamplingConfig,
    SecondOrderConfig,
    TrainingConfig,
)
from pipeline.config.errors import StageError
from pipeline.inference.ensemble import Ensemble
from pipeline.inference.predictor import Predictor
from pipeline.inference.scoring import Scores, scores_of
from pipeline.inputs.index import Index
from pipeline.models import load_model
from pipeline.runtime import signals
from pipeline.training import checkpoint, compiled, holdout, log, loop
from pipeline.training.checkpoint import TrainState
from pipeline.training.loop import CHECKPOINT, MODEL, Trainer
from pipeline.training.soft_labels import SoftLabels

TRAINING = TrainingConfig(
    batch_size=8, epochs=2.5, learning_rate=0.01, decay="cosine", ema_half_life=3, mixup=0.4, checkpoint_steps=100
)
CLASSIFIER = ClassifierConfig(hidden=8, dropout=0.3, gating="none", head="logistic")  # each weight is traced
AVERAGE = ModelConfig("average", AverageConfig(), CLASSIFIER)
NETVLAD = ModelConfig("netvlad", NetVLADConfig((3, 2)), CLASSIFIER)
PENALTIES = {"center_orthogonality": 0.1, "assignment_entropy": 0.2}
PENALIZED = ModelConfig(  # without whitening, which is most of the graph
    "second_order", SecondOrderConfig((3, 2), (4, 2), "none", "none", **PENALTIES), CLASSIFIER
)


def trainer(index, folder, model=AVERAGE, **changes) -> Trainer:
    folder.mkdir(exist_ok=True)
    sampling = SamplingConfig(train="random_frames", frames=5)
    training = dataclasses.replace(TRAINING, **changes)
    soft_labels = SoftLabels(teacher(index), folder / "teacher", index, training.teacher_share)
    arguments = (folder, index, model, sampling, training, InferenceConfig(batch_size=8))
    return Trainer(*arguments, soft_labels if training.teacher else None)


def teacher(index) -> PredictionStore:
    """Predictions of the training videos, of nothing."""
    rows = index.rows("train")
    store = PredictionStore(index.folder / "predictions" / "train")
    labels = np.stack([np.random.default_rng(row).permutation(9)[:5] for row in rows])
    for number, _ in store.begin({}, {}, len(rows), len(rows)):
        store.write(number, Predictions(index.ids_of(rows), labels, np.linspace(0.9, 0.1, 5) + 0 * labels))
    store.finish({}, {})
    return store


def state_of(run: Trainer) -> dict[str, np.ndarray]:
    with np.load(run.folder / CHECKPOINT) as arrays:
        return {name: arrays[name] for name in arrays.files if name != "state"}


def assert_same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


@pytest.fixture(autouse=True)
def _every_checkpoint(monkeypatch):
    """However long they take."""
    monkeypatch.setattr(loop, "REST", 0)


@pytest.fixture(autouse=True, scope="module")
def _uncompiled():
    with pytest.MonkeyPatch.context() as patch:
        update_uncompiled(patch)
        yield


def hold_out(index: Index) -> Index:
    """The small index with its last ten training videos held out."""
    rows = index.rows("train")
    index.splits = {"train": 30, "holdout": 10}
    index.summary["labelled"]["holdout"] = 10
    index.rows = lambda split: {"train": rows[:30], "holdout": rows[30:]}[split]
    return index


@pytest.fixture
def held_out(small_index):
    return hold_out(small_index)


@pytest.fixture(scope="module")
def ended(tmp_path_factory) -> Trainer:
    """A run that was trained to its end, several steps at once."""
    folder = tmp_path_factory.mktemp("ended")
    run = trainer(hold_out(make_small_index(folder)), folder / "run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "REST", 0)
        run.run()
    return run


@pytest.mark.parametrize(("short", "checkpoint_steps"), [(1 << 20, 1), (0, 100)], ids=["at each step", "step by step"])
def test_where_it_stops_and_how_many_steps_it_takes_at_once_changes_nothing(
    ended, held_out, tmp_path, monkeypatch, short, checkpoint_steps
):
    monkeypatch.setattr(compiled, "SHORT", short)
    run = trainer(held_out, tmp_path / "run", checkpoint_steps=checkpoint_steps)
    run.run()
    assert [each.model.steps_per_execution for each in (ended, run)] == [10, 10 if short else 1]
    assert_same(state_of(run), state_of(ended))


@pytest.mark.parametrize(
    ("rest", "kept", "last"), [(0, [2, 4, 6, 8, 10], []), (20, [2, 8], [10]), (1000, [2], [10]), (1000, [2], None)]
)
def test_checkpoints_take_little_of_the_time(held_out, tmp_path, monkeypatch, rest, kept, last):
    """On a clock where eight seconds pass from stop to stop, and a checkpoint takes one; the last may be kept."""
    now, saved = [1000.0], []

    def advance(seconds):
        now[0] += seconds

    def save(path, model, state):
        saved.append(state.step)
        advance(1)

    def train(state, log, bar):
        state.step = run.plan.next_stop(state.step)
        advance(8)

    run = trainer(held_out, tmp_path / "run", AVERAGE, checkpoint_steps=2, keep_checkpoint=last is not None)
    monkeypatch.setattr(loop, "REST", rest)
    monkeypatch.setattr(run, "_advance", train)
    monkeypatch.setattr(checkpoint, "save_checkpoint", save)
    monkeypatch.setattr(loop.time, "monotonic", lambda: now[0])
    run.run()
    assert saved == kept + (last or [])


@pytest.mark.wide
def test_a_teacher_changes_what_is_learned(held_out, tmp_path):
    alone = trainer(held_out, tmp_path / "alone", AVERAGE, epochs=0.1)
    taught = trainer(held_out, tmp_path / "taught", AVERAGE, epochs=0.1, teacher="ensemble", teacher_share=0.9)
    assert alone.run().step == taught.run().step == 1
    assert any((state_of(alone)[name] != value).any() for name, value in state_of(taught).items())


@pytest.mark.wide
def test_penalties_are_in_the_log_and_not_in_what_is_stored(held_out, tmp_path):
    run = trainer(held_out, tmp_path / "run", PENALIZED, epochs=1, checkpoint_steps=2)
    run.run()
    for line in (run.folder / "metrics.jsonl").read_text().splitlines():
        record = json.loads(line)
        names = ("rgb_center_orthogonality", "rgb_assignment_entropy", "audio_assignment_entropy")
        terms = [record[name] for name in names]
        assert 0 < sum(terms) < record["loss"]
    stored = load_model(run.folder / MODEL)
    assert [weight.path for weight in stored.weights] == [weight.path for weight in run.stored.weights]
    assert type(stored) is type(run.stored), "nothing of training"


@pytest.mark.wide
@pytest.mark.first
@pytest.mark.parametrize("backend", OTHER_BACKENDS)
def test_on_other_backends_too(backend):
    """The tests of a resumed run, of penalties and of what is PyTorch's own again, in one process."""
    resumed = f"{__file__}::test_a_resumed_run_ends_like_one_that_was_not_stopped[average-{RESUMED[1][1]}]"
    penalties = f"{Path(__file__).with_name('test_penalized.py')}::test_fit_gives_each_penalty_by_its_name"
    own = [Path(__file__).with_name(f"test_{name}.py") for name in ("draws", "optimizer") if backend == "torch"]
    command = [sys.executable, "-m", "pytest", "-q", "--wide", "-p", "no:cacheprovider", resumed, penalties, *own]
    result = subprocess.run(command, cwd=ROOT, env=on_backend(backend), capture_output=True, text=True)
    assert result.returncode == 0, result.stdout
    assert " passed" in result.stdout and " skipped" not in result.stdout


RESUMED = [
    (NETVLAD, {"snapshots": 2}),
    (AVERAGE, {"accumulate": 2, "teacher": "ensemble", "precision": "mixed_bfloat16", "freeze": ("rgb_norm",)}),
]


@pytest.mark.wide
@pytest.mark.parametrize(("model", "changes"), RESUMED, ids=lambda value: getattr(value, "family", str(value)))
def test_a_resumed_run_ends_like_one_that_was_not_stopped(held_out, tmp_path, model, changes, monkeypatch):
    whole = trainer(held_out, tmp_path / "whole", model, checkpoint_steps=2, **changes)
    expected = whole.run()
    # Killed after the checkpoint of step 6, in the middle of the second epoch, and the small one again in the third.
    # On other backends once is enough: on JAX each run compiles its model.
    for last in (6, 9, None) if model is AVERAGE and keras.backend.backend() == "tensorflow" else (6, None):
        run = trainer(held_out, tmp_path / "parts", model, checkpoint_steps=2, **changes)
        save = checkpoint.save_checkpoint

        def save_then_stop(path, model, state, last=last, save=save):
            save(path, model, state)
            if last is not None and state.step >= last:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(checkpoint, "save_checkpoint", save_then_stop)
            if last is None:
                state = run.run()
            else:
                with pytest.raises(KeyboardInterrupt):
                    run.run()
    assert_same(state_of(run), state_of(whole))
    assert state.best == expected.best
    inputs = {"frames": np.ones((2, 5, 8), np.uint8), "num_frames": np.array([5, 3], np.int32)}
    one, other = (load_model(each.folder / MODEL).predict_on_batch(inputs) for each in (run, whole))
    np.testing.assert_array_equal(one, other)
    logs = [
        [json.loads(line) for line in (each.folder / "metrics.jsonl").read_text().splitlines()] for each in (run, whole)
    ]
    assert [record["step"] for record in logs[0]] == [record["step"] for record in logs[1]] == [2, 4, 6, 8, 10]
    assert [record["loss"] for record in logs[0]] == [record["loss"] for record in logs[1]]
    for name in ("gap", "gap_averaged", "gap_plain", "weights"):
        assert [record.get(name) for record in logs[0]] == [record.get(name) for record in logs[1]]
    assert [step_of(path) for path in list_snapshots(run.folder)] == ([8, 10] if run.training.snapshots else [])
    digests = [[digest_model(path) for path in list_snapshots(each.folder)] for each in (run, whole)]
    assert digests[0] == digests[1]


def test_frozen_layers_are_the_same_to_the_bit_and_the_optimizer_does_not_know_them(held_out, tmp_path):
    """In the model that is stored, in the weights that are trained, and in their averages."""
    run = trainer(held_out, tmp_path / "run", epochs=1, freeze=("rgb_*", "hidden*"))
    before = {layer.name: layer.get_weights() for layer in run.stored.layers}
    run.run()
    stored = load_model(run.folder / MODEL)
    for name, weights in before.items():
        after = [model.get_layer(name).get_weights() for model in (run.stored, stored)]
        same = [[np.array_equal(*each) for each in zip(now, weights, strict=True)] for now in after]
        if name in ("head", "audio_norm"):
            assert not any(map(any, same)), name
        else:
            assert all(map(all, same)), name
    trained = [weight.shape for weight in run.model.trainable_weights]
    adam = run.model.optimizer
    for slots in (adam._momentums, adam._velocities, adam._model_variables_moving_average):
        assert [slot.shape for slot in slots] == trained
    assert trained == [(8, 9), (9,)], "the head"


def test_a_run_that_signals_stopped_ends_like_one_that_was_not(held_out, tmp_path, monkeypatch):
    """Stopped twice between two stops of its plan, and in an evaluation; its log differs in times alone."""
    monkeypatch.setattr(compiled, "SHORT", 0)  # step by step
    settings = {"checkpoint_steps": 5, "epochs": 2, "snapshots": 2}
    whole = trainer(held_out, tmp_path / "whole", AVERAGE, **settings)
    expected = whole.run()
    stops = iter([("step", 2), ("step", 1), ("predict", 2)])
    for after in (2, 3, 4, 8):
        run = trainer(held_out, tmp_path / "parts", AVERAGE, **settings)
        what, count = next(stops, ("", 0))
        told = itertools.count(1)

        def stop(*arguments, wanted=count, told=told):
            if next(told) == wanted:
                signals.receive(signal.SIGTERM)

        class StopAtStep(keras.callbacks.Callback):
            def on_train_batch_begin(self, batch, logs=None, what=what, stop=stop):
                if what == "step":
                    stop()

        fit, predict = run.model.fit, run._predict

        def predict_and_stop(name, what=what, stop=stop, predict=predict):
            if what == "predict":
                stop()
            return predict(name)

        run.model.fit = lambda *arguments, callbacks, fit=fit, watch=StopAtStep, **more: fit(
            *arguments, callbacks=[watch(), *callbacks], **more
        )
        run._predict = predict_and_stop
        if what:
            with pytest.raises(signals.Stopped, match="143"):
                run.run()
        else:
            state = run.run()
        assert checkpoint.restore_checkpoint(run.folder / CHECKPOINT, run.model).step == after
    assert_same(state_of(run), state_of(whole))
    assert (state.step, state.best, state.waited) == (expected.step, expected.best, expected.waited)
    assert not state.sums and not state.unlogged
    assert digest_model(run.folder / MODEL) == digest_model(whole.folder / MODEL)
    one, other = (
        [
            {name: value for name, value in record.items() if "seconds" not in name and "per_second" not in name}
            for record in log.read_log(each.folder / "metrics.jsonl")
        ]
        for each in (run, whole)
    )
    assert one == other and [record["step"] for record in one] == [4, 5, 8]


def test_the_best_model_is_that_of_the_best_weights_of_the_best_evaluation(held_out, tmp_path, monkeypatch):
    """At each evaluation the averaged weights are scored first, then the plain ones, while the memory still grows."""
    run = trainer(held_out, tmp_path / "run", epochs=3, snapshots=2, ema_half_life=5)
    gaps = iter([0.3, 0.2, 0.5, 0.6, 0.5, 0.4])
    kept = []

    def score(parts, index, split, source):
        return Scores({"gap": next(gaps), "map": 0.0})

    predict = run.holdout.predictor.predict_parts

    def predict_and_note(reader, parts, progress):
        kept.append([weight.copy() for weight in run.model.get_weights()])
        return list(predict(reader, parts))

    monkeypatch.setattr(holdout, "score_predictions", score)
    monkeypatch.setattr(run.holdout.predictor, "predict_parts", predict_and_note)
    state = run.run()
    gaps_of_both = {"gap_averaged": 0.5, "gap_plain": 0.6}
    assert state.best == {"gap": 0.6, "map": 0.0, **gaps_of_both, "step": 8, "weights": "plain"}
    for stored, expected in zip(load_model(run.folder / MODEL).get_weights(), kept[3], strict=True):
        np.testing.assert_array_equal(stored, expected)
    snapshots = list_snapshots(run.folder)
    assert [step_of(path) for path in snapshots] == [8, 12]
    for path, weights in zip(snapshots, kept[3:5]):
        for stored, expected in zip(load_model(path).get_weights(), weights, strict=True):
            np.testing.assert_array_equal(stored, expected)
    assert digest_model(snapshots[0]) == digest_model(run.folder / MODEL)
    with zipfile.ZipFile(run.folder / MODEL) as archive, archive.open("model.weights.h5") as weights:
        assert "optimizer" not in h5py.File(weights)
    names = [weight.path for weight in run.model.weights]
    for name, weight, averaged, plain in zip(names, run.model.get_weights(), kept[4], kept[5], strict=True):
        if "moving" in name:  # corrected in both, not in what training goes on with
            np.testing.assert_array_equal(averaged, plain)
            np.testing.assert_allclose(weight, averaged * (1 - 0.99**12), rtol=1e-5)
        else:
            np.testing.assert_array_equal(weight, plain, err_msg="the average was put back")
    assert any((averaged != plain).any() for averaged, plain in zip(kept[4], kept[5]))
    scored = [record for record in log.read_log(run.folder / "metrics.jsonl") if "gap" in record]
    assert [record["weights"] for record in scored] == ["averaged", "plain", "averaged"]
    assert [(record["gap_averaged"], record["gap_plain"]) for record in scored] == [(0.3, 0.2), (0.5, 0.6), (0.5, 0.4)]


def test_the_best_evaluation_s_predictions_are_kept_as_infer_would_make_them(ended):
    run, index = ended, ended.index
    state = checkpoint.restore_checkpoint(run.folder / CHECKPOINT, run.model)
    store = PredictionStore(run.folder / "predictions" / "holdout")
    settings = {"sampling": ["uniform", 5], "top_k": 100, "videos_per_part": 8192}
    inputs = {"model": digest_model(run.folder / MODEL), "index": index.digest}
    assert store.is_up_to_date(settings, inputs)
    (part,) = store.read()
    assert part.ids == index.ids_of(run.holdout.rows)
    stored = Ensemble.of_model(load_model(run.folder / MODEL), run.sampling, index.dataset, 100)
    labels, scores = Predictor(stored, 8).predict_rows(run.reader, run.holdout.rows)
    np.testing.assert_array_equal(part.labels, labels)
    np.testing.assert_array_equal(part.scores, scores)
    assert scores_of(store, index, "holdout").whole["gap"] == state.best["gap"]


@pytest.mark.wide
def test_a_half_life_beyond_the_run_is_told_and_no_worse_than_none(held_out, tmp_path, capsys):
    model = dataclasses.replace(AVERAGE, classifier=ClassifierConfig(hidden=8, dropout=0.3))  # which learns faster
    run, plain = (trainer(held_out, tmp_path / str(h), model, epochs=6, ema_half_life=h) for h in (1000, 0))
    start = run.holdout.predictor.evaluate_rows(run.reader, run.holdout.rows)["gap"]
    best = run.run().best
    assert "a half-life of 1,000 is never reached" in capsys.readouterr().out
    without = plain.run().best
    assert "half-life" not in capsys.readouterr().out
    assert best["gap"] >= without["gap"] - 0.01
    assert without["gap"] > start + 0.05
    assert best["gap_averaged"] > start + 0.05, "the average is not that of the random start"
    assert without["weights"] == "plain" and "gap_averaged" not in without


def test_statistics_that_are_not_finite_stop_it_before_anything_is_stored(held_out, tmp_path):
    run = trainer(held_out, tmp_path / "run", checkpoint_steps=2)
    fit, ranges = run.model.fit, []

    def fit_and_poison(*arguments, **more):
        fit(*arguments, **more)
        ranges.append(True)
        if len(ranges) == 3:  # the first epoch is stored
            run.model.get_layer("rgb_norm").moving_variance.assign(np.full(6, np.inf))

    run.model.fit = fit_and_poison
    with pytest.raises(StageError, match=r"moving_variance of layer rgb_norm is not finite by step 6"):
        run.run()
    assert checkpoint.restore_checkpoint(run.folder / CHECKPOINT, run.model).step == 4
    assert all(np.isfinite(weight).all() for weight in load_model(run.folder / MODEL).get_weights())


@pytest.mark.parametrize("monitor", ["auc", "map"])
def test_another_metric_chooses_the_epoch_and_when_to_stop(held_out, tmp_path, monkeypatch, monitor):
    run = trainer(held_out, tmp_path / "run", epochs=9, patience=2, ema_half_life=0, monitor=monitor)
    values = iter([-0.3, 0.6, 0.5, 0.6, 0.9])
    gaps = iter([0.9, 0.1, 0.2, 0.3, 0.4])
    name = {"auc": "auc", "map": "map_all_kept"}[monitor]
    monkeypatch.setattr(
        holdout, "score_predictions", lambda *_: Scores({"gap": next(gaps), name: next(values), "d_prime": None})
    )
    state = run.run()
    assert (state.best[name], state.best["gap"], state.best["step"]) == (0.6, 0.1, run.plan.evaluations[1])
    assert state.best[f"{name}_plain"] == 0.6 and state.best["gap_plain"] == 0.1
    assert state.step == run.plan.evaluations[3]
    assert not any(value is None for record in log.read_log(run.folder / "metrics.jsonl") for value in record.values())


def test_it_stops_early_when_nothing_gets_better(held_out, tmp_path, monkeypatch):
    run = trainer(held_out, tmp_path / "run", epochs=9, patience=2, ema_half_life=0)
    gaps = iter([0.3, 0.6, 0.5, 0.6, 0.9])  # one an evaluation: there is no average
    monkeypatch.setattr(holdout, "score_predictions", lambda *arguments: Scores({"gap": next(gaps)}))
    state = run.run()
    assert state.best["gap"] == 0.6
    assert state.step == run.plan.evaluations[3]


def test_without_a_hold_out_the_last_weights_are_kept(small_index, tmp_path):
    run = trainer(small_index, tmp_path / "run")
    state = run.run()
    assert state.best == {"step": run.plan.total, "weights": "averaged"}
    assert (run.folder / MODEL).exists()


@pytest.mark.parametrize(("short", "call"), [(0, 5), (1 << 20, 2)], ids=["step by step", "two at once"])
def test_a_loss_that_is_not_finite_stops_it_and_says_what_to_try(held_out, tmp_path, monkeypatch, short, call):
    monkeypatch.setattr(compiled, "SHORT", short)
    run = trainer(held_out, tmp_path / "run", checkpoint_steps=2)

    class Poison(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if run.calls == call:
                weight = self.model.trainable_weights[0]
                weight.assign(np.full(weight.shape, np.nan))
            run.calls += 1

    run.calls = 0
    fit = run.model.fit
    run.model.fit = lambda *arguments, callbacks, **more: fit(*arguments, callbacks=[Poison(), *callbacks], **more)
    with pytest.raises(StageError, match=r"became nan by step 5; the last good checkpoint, of step 4, is .*rate"):
        run.run()
    assert checkpoint.restore_checkpoint(run.folder / CHECKPOINT, run.model).step == 4
    assert all(np.isfinite(weight).all() for weight in run.model.get_weights())


def test_a_shard_that_went_away_is_named(held_out, tmp_path):
    run = trainer(held_out, tmp_path / "run")
    held_out.paths[0].unlink()
    with pytest.raises(StageError, match=rf"{held_out.paths[0].name}.*run ingest again"):
        run.run()


def test_a_checkpoint_that_is_damaged_or_of_another_model_is_refused(held_out, tmp_path):
    run = trainer(held_out, tmp_path / "run")
    path = run.folder / CHECKPOINT
    checkpoint.save_checkpoint(path, run.model, TrainState())
    other = trainer(held_out, tmp_path / "other", ema_half_life=0)
    with pytest.raises(StageError, match="holds other variables"):
        checkpoint.restore_checkpoint(path, other.model)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(StageError, match=r"checkpoint\.npz cannot be restored .* --force"):
        run.run()
