"""What --threshold takes, and which goals need a value."""

import pytest

from pipeline.config import ConfigError, ThresholdConfig
from pipeline.config.checked import field_faults
from pipeline.config.threshold import GivenThreshold


@pytest.mark.parametrize("given", ["stored", "0", "1", "0.3", ".5", "1e-3", "0.99999"])
def test_stored_or_a_number_is_taken(given):
    assert list(field_faults("threshold", given, GivenThreshold)) == []


@pytest.mark.parametrize("given", ["Stored", "", "2", "-0.1", "nan", "inf", "1.01", "0,5", "best", 0.5, None])
def test_anything_else_is_refused(given):
    (fault,) = field_faults("threshold", given, GivenThreshold)
    assert fault.startswith("threshold must be ") and repr(given) in fault
    if isinstance(given, str):
        assert "stored, or a number from 0 to 1" in fault


@pytest.mark.parametrize(("goal", "value"), [("f1", 0.5), ("precision", None), ("recall", None)])
def test_a_goal_and_its_value_belong_together(goal, value):
    with pytest.raises(ConfigError, match=r"goal precision or recall and threshold\.value"):
        ThresholdConfig(goal, value)


def test_goals_are_told_in_words():
    assert ThresholdConfig().describe() == "the best F1 of each class"
    assert ThresholdConfig("recall", 0.9, shared=True).describe() == "a recall of at least 0.9 of all labels together"
