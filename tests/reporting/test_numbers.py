"""Numbers, times and names as the page writes them."""

import math

import pytest

from pipeline.reporting import numbers


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (9.44, "9.4 s"),
        (59.96, "1 min 0 s"),
        (113.0, "1 min 53 s"),
        (3599.7, "1 h 0 min"),
        (12000, "3 h 20 min"),
    ],
)
def test_durations_have_two_units(seconds, text):
    assert numbers.duration(seconds) == text


def test_moments_are_in_utc():
    assert numbers.moment("2026-11-28T15:05:09+02:00") == "2026-11-28 13:05 UTC"
    assert numbers.moment(None) == "–"


def test_what_is_not_known_is_a_dash():
    assert {numbers.score(None), numbers.score(math.nan), numbers.count(None), numbers.percent(math.nan)} == {"–"}
    assert numbers.millions(None) == "–"


def test_numbers():
    assert numbers.score(0.5) == "0.5000" and numbers.count(12345.4) == "12,345" and numbers.percent(0.256) == "26 %"
    assert numbers.signed(-0.00125) == "−0.0013" and numbers.signed(0.1) == "+0.1000"
    assert numbers.millions(692_992) == "692,992" and numbers.millions(17_836_224) == "17.8 M"


def test_names_break_and_are_text():
    assert numbers.breakable("a_b-<c>") == "a_<wbr>b-<wbr>&lt;c&gt;"
