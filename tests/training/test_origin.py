"""What a run notes of where it comes from."""

from datetime import UTC, datetime, timedelta

from pipeline.runtime.backend import describe_machine
from pipeline.submission.provenance import git_commit
from pipeline.training.origin import describe_origin, now


def test_the_code_and_the_machine_are_those_of_now():
    assert describe_origin() == {"git": git_commit(), "machine": describe_machine()}


def test_moments_are_in_utc_to_the_second():
    moment = datetime.fromisoformat(now())
    assert moment.utcoffset() == timedelta(0) and moment.microsecond == 0
    assert abs(datetime.now(UTC) - moment) < timedelta(minutes=5)
