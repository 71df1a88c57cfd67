"""Learning rates, by hand."""

import math

import keras
import pytest

from pipeline.config import TrainingConfig
from pipeline.training.schedule import ExampleSchedule


def rate(step, total_steps=100, **settings):
    schedule = ExampleSchedule.of(TrainingConfig(**{"batch_size": 10, "learning_rate": 0.1, **settings}), total_steps)
    return float(schedule(step))


def test_constant():
    assert rate(0, decay="constant") == rate(99, decay="constant") == pytest.approx(0.1)


@pytest.mark.parametrize(("step", "stairs"), [(0, 0), (4, 0), (5, 1), (9, 1), (10, 2), (52, 10)])
def test_exponential_falls_in_stairs_of_examples(step, stairs):
    expected = 0.1 * 0.8**stairs
    assert rate(step, decay="exponential", decay_rate=0.8, decay_examples=50) == pytest.approx(expected)


@pytest.mark.parametrize("step", [0, 25, 50, 99])
def test_cosine_falls_to_nothing_at_the_end(step):
    expected = 0.1 * (1 + math.cos(math.pi * step / 100)) / 2
    assert rate(step, decay="cosine") == pytest.approx(expected, abs=1e-7)


def test_warm_up_rises_linearly_and_delays_the_decay():
    settings = {"decay": "cosine", "warmup_examples": 40}
    assert [rate(step, **settings) for step in range(4)] == pytest.approx([0.025, 0.05, 0.075, 0.1])
    assert rate(4, **settings) == pytest.approx(0.1)
    assert rate(52, **settings) == pytest.approx(0.05)  # half of the 96 steps that follow


def test_it_serializes():
    schedule = ExampleSchedule.of(TrainingConfig(decay="cosine", warmup_examples=7), 30)
    again = keras.optimizers.schedules.deserialize(keras.optimizers.schedules.serialize(schedule))
    assert again.get_config() == schedule.get_config()
