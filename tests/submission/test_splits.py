"""The split that is submitted."""

import pytest

from pipeline.config.errors import StageError
from pipeline.submission.splits import split_to_submit


@pytest.mark.parametrize(
    ("splits", "asked", "expected"),
    [(["test"], None, "test"), (["eval"], None, "eval"), (["a", "test", "b"], None, "test"), (["a", "b"], "b", "b")],
)
def test_which_it_is(splits, asked, expected):
    assert split_to_submit(splits, asked) == expected


@pytest.mark.parametrize(
    ("splits", "asked", "message"),
    [
        ([], None, "no split to submit: ingest one"),
        (["a", "b"], None, "Choose --split from: a, b"),
        (["a"], "b", "--split b: there is no such split to submit; there are: a"),
        ([], "b", "there are: none"),
    ],
)
def test_what_cannot_be_told_is_refused(splits, asked, message):
    with pytest.raises(StageError, match=message):
        split_to_submit(splits, asked)
