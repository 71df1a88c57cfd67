"""The stops of a run; what is said of settings that presume a longer one, and what is not."""

import re

import pytest

from pipeline.config import TrainingConfig
from pipeline.config.errors import StageError
from pipeline.presets import load_preset
from pipeline.training.plan import TrainingPlan, short_run_warnings, warmup_examples


def test_a_plan_stops_at_epochs_and_at_checkpoints():
    plan = TrainingPlan.of(TrainingConfig(batch_size=8, epochs=2.5, checkpoint_steps=3), videos=30)
    assert plan.total == 10  # 75 examples
    assert plan.evaluations == (4, 8, 10)
    stops, step = [], 0
    while step < plan.total:
        stops.append(step := plan.next_stop(step))
    assert stops == [3, 4, 6, 8, 9, 10]


def test_an_epoch_shorter_than_a_batch_is_no_stop_of_its_own():
    plan = TrainingPlan.of(TrainingConfig(batch_size=8, epochs=4), videos=3)
    assert (plan.total, plan.evaluations) == (2, (1, 2))


def test_a_run_that_cannot_learn_is_refused():
    with pytest.raises(StageError, match="no training videos"):
        TrainingPlan.of(TrainingConfig(), videos=0)
    few = TrainingConfig(batch_size=8, epochs=1, accumulate=5)
    with pytest.raises(StageError, match=r"4 batches, .* made of 5: nothing .* --training.accumulate 4 or less"):
        TrainingPlan.of(few, videos=30)
    assert TrainingPlan.of(few, videos=33).total == 5


@pytest.mark.parametrize(("asked", "taken"), [(0, 0), (59, 59), (60, 60), (61, 60), (5000, 60)])
def test_the_warm_up_is_a_tenth_of_the_run_at_most(asked, taken):
    assert warmup_examples(TrainingConfig(batch_size=6, warmup_examples=asked), total_steps=100) == taken


LONG = {"batch_size": 10, "epochs": 4, "decay": "constant"}
"""Four evaluations and 400 examples of 100 videos: 40 batches."""
SAID = [
    ({}, None),
    ({"batch_size": 100}, None),
    ({"batch_size": 101}, r"a batch of 101 holds the 100 training videos more than once: .* --training.batch-size"),
    ({"warmup_examples": 40}, None),
    ({"warmup_examples": 41}, r"the warm-up takes 40 examples, a tenth of the run, not 41: .* --training.epochs"),
    ({"decay": "exponential", "decay_examples": 399}, None),
    (
        {"decay": "exponential", "decay_examples": 400},
        r"never falls: the run has 400 ex.*--training.decay cosine",
    ),
    ({"decay": "exponential", "decay_examples": 380, "warmup_examples": 20}, "never falls"),
    ({"decay": "cosine", "decay_examples": 4_000_000}, None),
    ({"ema_half_life": 40}, None),
    (
        {"ema_half_life": 41},
        r"a third of the run's 40 updates: a half-life of 41 is never .*half-life",
    ),
    ({"ema_half_life": 20, "accumulate": 2}, None),
    ({"ema_half_life": 21, "accumulate": 2}, "a third of the run's 20 updates"),
    ({"snapshots": 4}, None),
    ({"snapshots": 5}, r"4 snapshots are kept, not 5: .*--training.epochs"),
    ({"patience": 2}, None),
    ({"patience": 3}, r"a patience of 3 ends nothing early: the run has 4 evaluations.*--training.patience"),
]


@pytest.mark.parametrize(("changes", "line"), SAID, ids=str)
def test_settings_that_presume_a_longer_run_are_told(changes, line):
    training = TrainingConfig(**{**LONG, **changes})
    said = list(short_run_warnings(training, TrainingPlan.of(training, 100), videos=100, holdout=10))
    assert len(said) == (line is not None)
    assert all(re.search(line, each) for each in said)


def test_patience_needs_a_hold_out():
    training = TrainingConfig(**LONG, patience=1)
    assert not list(short_run_warnings(training, TrainingPlan.of(training, 100), videos=100, holdout=1))
    (line,) = short_run_warnings(training, TrainingPlan.of(training, 100), videos=100, holdout=0)
    assert "without a hold-out" in line


VIDEOS = {"demo": 2700, "audioset": 19898, "youtube8m_video": 19_246, "youtube8m": 4_900_000}
"""Training videos of each preset's own data."""


@pytest.mark.parametrize("preset", VIDEOS)
def test_nothing_is_said_of_the_presets_on_their_own_data(preset):
    from pipeline.models import FAMILIES

    for family in FAMILIES:
        training = load_preset(preset).experiment(family).training
        plan = TrainingPlan.of(training, VIDEOS[preset])
        assert not list(short_run_warnings(training, plan, VIDEOS[preset], holdout=100)), family
