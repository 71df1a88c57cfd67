"""Where a trained model comes from: with what code, on what machine, and when it was ready."""

from datetime import UTC, datetime
from typing import Any

from pipeline.runtime.backend import describe_machine
from pipeline.submission.provenance import git_commit


def describe_origin() -> dict[str, Any]:
    """Return the commit and the machine as JSON values, when a training begins: its code is what was imported then."""
    return {"git": git_commit(), "machine": describe_machine()}


def now() -> str:
    """Return this moment in ISO 8601, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
