"""Times, curves, marks and rulers of a page of tags."""

import numpy as np
import pytest

from pipeline.reporting import tag_values as module
from pipeline.reporting.tag_values import clock, most_counting


def test_times():
    assert [clock(at) for at in (0, 5, 7.5, 59.96, 61, 3599.97, 3723, 36000)] == [
        *("0:00", "0:05", "0:07.5", "1:00", "1:01", "1:00:00", "1:02:03", "10:00:00"),
    ]


def test_frames_that_count_most_are_apart():
    shares = np.ones(190)
    shares[[100, 101, 20, 150]] = 9, 8, 4, 1.2
    assert most_counting(shares) == [20, 100]
    assert most_counting(np.ones(10)) == []
    assert len(most_counting(np.random.default_rng(0).random(5000))) == 5


def test_curves_go_from_end_to_end_and_keep_peaks():
    def points(places, values):
        return [[*map(float, each.split())] for each in module._points(np.array(places), np.array(values)).split("L")]

    assert points([0.25, 0.75], [0.5, 1]) == [[0, 50], [250, 50], [750, 0], [1000, 0]]
    values = np.zeros(5000)
    values[1234] = 1
    many = points(np.arange(0.5, 5000) / 5000, values)
    assert len(many) == 1002 and min(down for _, down in many) == 0
    assert [across for across, _ in many] == sorted(across for across, _ in many)


@pytest.mark.parametrize(("seconds", "told"), [(0.4, "0:00.4"), (32, "0:32"), (190, "3:10"), (4000, "1:06:40")])
def test_the_ruler_has_few_marks_that_do_not_meet(seconds, told):
    ticks = list(module._ticks(seconds))
    assert 2 <= len(ticks) <= 7 and ticks[0]["left"] == 0 and clock(ticks[-1]["seconds"]) == told
    assert min(np.diff([tick["left"] for tick in ticks])) > 9
