"""The log of submissions: what was sent where, when, and how it scored; by it nothing is sent twice."""

import dataclasses
import fcntl
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Protocol

import cattrs

from pipeline.artifacts.files import read_json, write_json
from pipeline.artifacts.locks import locked
from pipeline.artifacts.stored_json import parse_json
from pipeline.config.errors import StageError
from pipeline.runtime.output import printable_json
from pipeline.transfer.source import Refused, Unavailable

LOG = "log.jsonl"
"""Its name in the folder of submissions."""

# ------------------------------------------------------------------------------------------------------------- the log


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class LogEntry:
    """What was known of a submission at a time."""

    file: str
    hash: str
    """Of the file's content."""
    competition: str
    message: str
    status: Literal["sending", "refused", "pending", "complete", "error"]
    """sending: begun, and not known to have arrived; refused: never got in; pending: waits for its score; complete:
    scored; error: the site could not score it."""
    ref: int | None = None
    """The site's number of it, once it has one."""
    public_score: float | None = None
    private_score: float | None = None
    reason: str = ""
    """The site's, for refused and error."""
    time: str = field(default_factory=_now)
    """UTC, ISO 8601."""

    def __str__(self) -> str:
        head = f"submitted to {self.competition}, no. {self.ref}"
        if self.status == "pending":
            return f"{head}, no score yet: the same command asks again"
        scores = {"public": self.public_score, "private": self.private_score}
        told = [f"{name} score {score}" for name, score in scores.items() if score is not None]
        return f"{head}: {', '.join(told) or 'scored, and the site does not tell how'}"

    def now(self, **changes: Any) -> "LogEntry":
        """What is known now."""
        return dataclasses.replace(self, time=_now(), **changes)


class SubmissionLog:
    """The log in a folder of submissions: one JSON line an event, only ever added to; without its file it is empty."""

    def __init__(self, folder: Path):
        self.path = folder / LOG

    def entries(self) -> list[LogEntry]:
        """All, the oldest first; raises StageError naming the line that is none.

        What follows the last line break was cut off by a kill, and does not count.
        """
        lines = self.path.read_bytes().split(b"\n")[:-1] if self.path.exists() else []
        found = []
        for number, line in enumerate(lines, 1):
            try:
                found.append(_CONVERTER.structure(dict(parse_json(line)), LogEntry))
            except (ValueError, TypeError, cattrs.BaseValidationError):
                reason = f"{self.path}, line {number}: this is no entry of the log of submissions"
                raise StageError(f"{reason}; correct the line or delete it") from None
        return found

    def of(self, content: str, competition: str) -> list[LogEntry]:
        """The entries of a content, by its hash, in a competition, the oldest first."""
        return [entry for entry in self.entries() if (entry.hash, entry.competition) == (content, competition)]

    def outcomes(self, content: str) -> list[dict[str, Any]]:
        """What became of each submission of a content: its last entry, as JSON values."""
        last = {(entry.competition, entry.ref): entry for entry in self.entries() if entry.hash == content}
        return [dataclasses.asdict(entry) for entry in last.values() if entry.ref is not None]

    def append(self, entry: LogEntry) -> None:
        """Add an entry; it is on the disk when this returns."""
        line = printable_json(dataclasses.asdict(entry)) + "\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)  # what a kill cut off
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())


_CONVERTER = cattrs.Converter(forbid_extra_keys=True)

# ---------------------------------------------------------------------------------------------------------- submitting


@dataclass(frozen=True)
class SubmissionState:
    """What a site says of a submission."""

    ref: int
    status: Literal["pending", "complete", "error"]
    public_score: float | None = None
    private_score: float | None = None
    reason: str = ""


class Site(Protocol):
    """Where files are submitted; each call raises Unavailable or Refused."""

    competition: str

    def named(self, path: Path) -> list[SubmissionState]:
        """The submissions of files of this name and size, the latest first."""

    def send(self, path: Path, message: str, known: set[int]) -> int:
        """The number of a new submission of a file; those known are not it."""

    def scored(self, ref: int, wait: float) -> SubmissionState:
        """A submission, when it has a score or so many seconds are over."""


def submit_once(
    path: Path, content: str, message: str, site: Site, log: SubmissionLog, again: bool = False, wait: float = 0.0
) -> LogEntry:
    """Submit a file unless the log or the site knows it, and ask for its score until there is one.

    Args:
        path: the file; at the site its name and size tell it from others, so the name should hold the hash.
        content: the hash of its content.
        message: what the site shows beside it.
        again: submit it though that was done; what a killed run left unfinished is finished first all the same.
        wait: seconds; when they are over and it has no score yet, the entry's status is `pending`.

    Raises:
        StageError: it was not submitted, or gets no score: why, and the remedy. The log has it too.
    """
    with locked(log.path):
        entries = log.of(content, site.competition)
        last = entries[-1].status if entries else "none"
        if last in ("none", "sending", "refused") or (again and last != "pending"):
            # A run killed while sending may have come through; only what the log does not have yet can be that one.
            known = {entry.ref for entry in entries}
            begun = LogEntry(path.name, content, site.competition, message, "sending")
            entry = _sent(path, begun, site, log, known, adopt=last == "sending" or not again)
        else:
            entry = entries[-1]
    if entry.status == "pending":
        try:
            state = site.scored(entry.ref, wait)
        except (Refused, Unavailable) as error:
            reason = f"{path} is submitted to {site.competition}, no. {entry.ref}, but its score cannot be had: {error}"
            raise StageError(f"{reason}; the same command asks again") from error
        if state.status != "pending":
            entry = entry.now(**dataclasses.asdict(state))
            log.append(entry)
    if entry.status == "error":
        reason = f"{site.competition} rejected {path}, no. {entry.ref}: {entry.reason or 'it gives no reason'}"
        raise StageError(f"{reason}; --again submits the same content once more")
    return entry


def submit_and_record(
    path: Path, about: Path, content: str, message: str, site: Site, again: bool = False, wait: float = 0.0
) -> str:
    """`submit_once` with the log beside the file; `about`, its JSON, tells what came of it, also after an error.

    Returns a line for the user.
    """
    log = SubmissionLog(path.parent)
    known = log.of(content, site.competition)
    try:
        entry = submit_once(path, content, message, site, log, again, wait)
    finally:
        write_json(about, read_json(about) | {"submitted": log.outcomes(content)})
    return f"{path}: {f'known since {entry.time}: ' if entry in known else ''}{entry}"


def _sent(path: Path, begun: LogEntry, site: Site, log: SubmissionLog, known: set[int | None], adopt: bool) -> LogEntry:
    """The entry of a file that the site has now: sent, or, where it may be adopted, one that the log did not have."""
    try:
        there = site.named(path)
        found = [state.ref for state in there if state.ref not in known] if adopt else []
        if not found:
            log.append(begun)
        ref = found[0] if found else site.send(path, begun.message, {state.ref for state in there})
    except Refused as error:
        log.append(begun.now(status="refused", reason=str(error)))
        raise StageError(f"{path} was not submitted to {site.competition}: {error}") from error
    except Unavailable as error:
        reason = f"{path} was not submitted to {site.competition}: {error}"
        raise StageError(f"{reason}; the file is safe there, and the same command tries again") from error
    entry = begun.now(status="pending", ref=ref)
    log.append(entry)
    return entry
