"""Which task it is: as the labels of all videos are, or as the owner says."""

import numpy as np
import pytest

from pipeline.config.errors import StageError
from pipeline.packing.task import task_of

ONE, TWO, NONE = np.array([3]), np.array([0, 1]), np.array([], int)


@pytest.mark.parametrize(
    ("labels", "classes", "task"),
    [
        ([ONE, None, ONE], 4, "single_label"),
        ([ONE, TWO], 4, "multi_label"),
        ([ONE, NONE], 4, "multi_label"),
        ([np.array([0])], 1, "multi_label"),
    ],
)
def test_it_is_found_in_the_labels(labels, classes, task):
    ids = list("abc")[: len(labels)]
    assert task_of(ids, labels, classes, None) == task
    assert task_of(ids, labels, classes, "multi_label") == "multi_label"
    if task == "single_label":
        assert task_of(ids, labels, classes, task) == task
        return
    with pytest.raises(StageError, match=r"--task single_label: .*--task") as raised:
        task_of(ids, labels, classes, "single_label")
    assert classes == 1 or f"1 video with no label or several, for example 'b' with {len(labels[1])}" in str(
        raised.value
    )
