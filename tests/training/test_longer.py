"""More epochs of a run: only where the steps it has taken are the longer run's first steps."""

import dataclasses

import pytest

from pipeline.artifacts.done import Done
from pipeline.artifacts.places import CHECKPOINT
from pipeline.config import TrainingConfig, to_dict
from pipeline.config.errors import StageError
from pipeline.training.longer import asks_for_more, check_longer

LONGER = TrainingConfig(batch_size=8, epochs=4, decay="constant", warmup_examples=5)


def config_of(training: TrainingConfig, **more) -> dict:
    return {"training": to_dict(training), "model": {"family": "average"}, **more}


@pytest.mark.parametrize(
    ("change", "more", "asks"),
    [({"epochs": 3}, {}, True), ({}, {}, False), ({"epochs": 5}, {}, False), ({"epochs": 3}, {"from": "a"}, False)]
    + [({"epochs": 3, "seed": 1}, {}, False)],
)
def test_only_more_epochs_are_more_of_the_same(change, more, asks):
    begun = Done(config_of(dataclasses.replace(LONGER, **change)), {}, "")
    assert asks_for_more(begun, config_of(LONGER, **more)) is asks
    assert not asks_for_more(None, config_of(LONGER)) and not asks_for_more(Done({}, {}, ""), config_of(LONGER))


@pytest.mark.parametrize("change", [{}, {"decay": "exponential"}])
def test_a_run_goes_on_whose_rate_does_not_know_its_end(tmp_path, change):
    (tmp_path / CHECKPOINT).touch()
    check_longer(tmp_path, 2.0, [], dataclasses.replace(LONGER, **change), 60)


@pytest.mark.parametrize(
    ("before", "changed", "change", "fault"),
    [
        (2.0, [], {"decay": "cosine"}, "its learning rate has followed a cosine that ends at 0"),
        (2.5, [], {}, "its end is within an epoch"),
        (2.0, [], {"warmup_examples": 20}, "its warm-up took 12 examples, a tenth of the run, and would take 20"),
        (2.0, ["index changed"], {}, "index changed"),
        (2.0, [], {}, "it has no checkpoint"),
    ],
)
def test_a_run_that_cannot_go_on_says_why_and_what_to_do(tmp_path, before, changed, change, fault):
    if fault != "it has no checkpoint":
        (tmp_path / CHECKPOINT).touch()
    with pytest.raises(StageError) as refused:
        check_longer(tmp_path, before, changed, dataclasses.replace(LONGER, **change), 60)
    assert str(refused.value).startswith(
        f"{tmp_path} was made with --training.epochs {before:g} and cannot go on to 4: {fault}"
    )
    assert f"--run NAME --from {tmp_path.name}" in str(refused.value)
