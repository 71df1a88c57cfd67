"""The points of a curve: of the loss, means over about as many steps each."""

import pytest

from pipeline.reporting.curves import curve


def log(*means: tuple[int, float]) -> list[dict]:
    return [{"step": step, "loss": loss} for step, loss in means]


def logged(loss: list[float], stops: list[int]) -> list[dict]:
    """What training writes down: at each stop, the mean of the losses since the one before."""
    starts = [0, *stops]
    return log(*((stop, sum(loss[start:stop]) / (stop - start)) for start, stop in zip(starts, stops)))


def test_a_checkpoint_makes_no_bend():
    """Two losses that alternate from step to step, and two stops that are one step apart."""
    loss = [2.0, 4.0] * 300
    found = curve(logged(loss, [100, 101, 200, 300, 400, 401, 500, 600]), "loss")
    assert found == [(100, 3.0), (200, 3.0), (300, 3.0), (400, 3.0), (500, 3.0), (600, 3.0)]


def test_the_mean_of_all_steps_is_kept():
    loss = [100 / (1 + step) for step in range(1000)]
    stops = sorted({*range(43, 1000, 43), 500, 1000})
    found = curve(logged(loss, stops), "loss")
    spans = [step - before for (step, _), before in zip(found, [0, *(step for step, _ in found)])]
    assert sum(span * mean for span, (_, mean) in zip(spans, found)) == pytest.approx(sum(loss))
    assert found[-1][0] == 1000 and min(spans) >= 0.75 * max(spans[:-1])
    assert [mean for _, mean in found] == sorted((mean for _, mean in found), reverse=True)


def test_epochs_that_differ_by_a_step_are_points_of_their_own():
    stops = [43, 85, 128, 170]
    assert [step for step, _ in curve(logged([1.0] * 170, stops), "loss")] == stops


def test_what_was_not_measured_is_left_out():
    records = [{"step": 1, "loss": 1.0}, {"step": 2, "loss": 1.0, "gap": 0.5}, {"step": 3, "gap": float("nan")}]
    assert curve(records, "gap") == [(2, 0.5)]
    assert curve([], "loss") == [] and curve([], "gap") == []
