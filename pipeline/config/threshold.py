"""Settings of thresholds: from which score on a label is assigned, and what is to be reached by that."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from pipeline.config.checked import CheckedFields
from pipeline.config.errors import ConfigError
from pipeline.config.ranges import Within

STORED = "stored"
"""What --threshold says for the thresholds that were chosen for the run."""
Wanted = Annotated[float, Within(above=0, most=1)]
"""The precision or the recall that is wanted."""


class _StoredOrNumber:
    """Text that is `stored`, or a number that a score may be."""

    def allows(self, value: str) -> bool:
        return value == STORED or Within(0, 1).allows(_number(value))

    def __str__(self) -> str:
        return f"{STORED}, or a number from 0 to 1"


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


GivenThreshold = Annotated[str, _StoredOrNumber()]


@dataclass(frozen=True)
class ThresholdConfig(CheckedFields, section="threshold"):
    """How thresholds are chosen on the hold-out."""

    goal: Literal["f1", "precision", "recall"] = "f1"
    """What is to be reached. f1: the best F1.
    precision: at least --threshold.value of the assigned labels are right, and as many as possible are assigned.
    recall: at least --threshold.value of the true labels are assigned, and as few others as possible."""
    value: Wanted | None = None
    """Precision or recall to reach, with --threshold.goal precision or recall."""
    shared: bool = False
    """Choose one threshold for all classes, in place of one for each."""
    least_positives: Annotated[int, Within(1, 1 << 40, unit="videos")] = 10
    """Smallest number of videos of the hold-out that a class must have to get a threshold of its own.
    Rarer classes get the shared one: from a few videos a threshold is luck."""

    def check_together(self) -> None:
        if (self.goal == "f1") != (self.value is None):
            raise ConfigError(
                "threshold.goal precision or recall and threshold.value, how much of it, belong together: give both or "
                "neither"
            )

    def describe(self) -> str:
        """Return the goal in words."""
        goal = "the best F1" if self.value is None else f"a {self.goal} of at least {self.value:g}"
        return f"{goal} of {'all labels together' if self.shared else 'each class'}"
