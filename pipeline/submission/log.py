"""The log of submissions: what was sent where and when, and its score; it prevents sending a file twice."""

import dataclasses
import fcntl
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Protocol

import cattrs

from pipeline.artifacts.failures import about
from pipeline.artifacts.files import read_json, sync_descriptor, write_json
from pipeline.artifacts.locks import flock, locked
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
    """The state of a submission at a time."""

    file: str
    hash: str
    """SHA-256 of the file's content."""
    competition: str
    message: str
    status: Literal["sending", "refused", "pending", "complete", "error"]
    """sending: begun, and not known to have arrived; refused: not accepted; pending: waiting for its score;
    complete: scored; error: the site could not score it."""
    ref: int | None = None
    """The site's number of the submission, once it has one."""
    public_score: float | None = None
    private_score: float | None = None
    reason: str = ""
    """The site's reason, if the status is refused or error."""
    time: str = field(default_factory=_now)
    """UTC, ISO 8601."""

    def __str__(self) -> str:
        head = f"submitted to {self.competition}, no. {self.ref}"
        if self.status == "pending":
            return f"{head}, no score yet: the same command asks again"
        scores = {"public": self.public_score, "private": self.private_score}
        told = [f"{name} score {score}" for name, score in scores.items() if score is not None]
        return f"{head}: {', '.join(told) or 'scored, but the site does not show the score'}"

    def now(self, **changes: Any) -> "LogEntry":
        """Return a copy with some fields changed, and the time of now."""
        return dataclasses.replace(self, time=_now(), **changes)


class SubmissionLog:
    """The log in a folder of submissions: a JSON line for each event, to which lines are only added."""

    def __init__(self, folder: Path):
        self.path = folder / LOG

    def entries(self) -> list[LogEntry]:
        """Return all entries, the oldest first; raise StageError that names a line that is not an entry.

        Text after the last line break was cut short by a kill, and is ignored.
        """
        lines = self.path.read_bytes().split(b"\n")[:-1] if self.path.exists() else []
        found = []
        for number, line in enumerate(lines, 1):
            try:
                found.append(_CONVERTER.structure(dict(parse_json(line)), LogEntry))
            except (ValueError, TypeError, cattrs.BaseValidationError):
                reason = f"{self.path}, line {number} is not an entry of the log of submissions"
                raise StageError(f"{reason}; correct the line or delete it") from None
        return found

    def of(self, content: str, competition: str) -> list[LogEntry]:
        """Return the entries of a content, given by its hash, in a competition, the oldest first."""
        return [entry for entry in self.entries() if (entry.hash, entry.competition) == (content, competition)]

    def outcomes(self, content: str) -> list[dict[str, Any]]:
        """Return the last entry of each submission of a content, as JSON values."""
        last = {(entry.competition, entry.ref): entry for entry in self.entries() if entry.hash == content}
        return [dataclasses.asdict(entry) for entry in last.values() if entry.ref is not None]

    def append(self, entry: LogEntry) -> None:
        """Add an entry, and wait until it is on the disk."""
        line = printable_json(dataclasses.asdict(entry)) + "\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with about(self.path), self.path.open("a+b") as file:
            flock(file.fileno(), fcntl.LOCK_EX)
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)  # drop a line that a kill cut short
            file.write(line.encode())
            file.flush()
            sync_descriptor(file.fileno())


_CONVERTER = cattrs.Converter(forbid_extra_keys=True)

# ---------------------------------------------------------------------------------------------------------- submitting


Status = Literal["pending", "complete", "error"]


@dataclass(frozen=True)
class SubmissionState:
    """The state of a submission, as the site gives it."""

    ref: int
    status: Status
    public_score: float | None = None
    private_score: float | None = None
    reason: str = ""


class Site(Protocol):
    """A site to submit files to; each method raises Unavailable or Refused."""

    competition: str

    def named(self, path: Path) -> list[SubmissionState]:
        """Return the submissions of files of this name and size, the latest first."""

    def send(self, path: Path, message: str, known: set[int]) -> int:
        """Submit a file and return the submission's number, which is none of `known`."""

    def scored(self, ref: int, wait: float) -> SubmissionState:
        """Wait up to `wait` seconds for a submission's score; return its state."""


def submit_once(
    path: Path, content: str, message: str, site: Site, log: SubmissionLog, again: bool = False, wait: float = 0.0
) -> LogEntry:
    """Submit a file unless the log or the site has it already, and wait for its score.

    Args:
        path: the file; the site identifies it by name and size, so its name should contain the hash.
        content: the hash of its content.
        message: the description that the site shows.
        again: submit it once more; an unfinished submission of a killed run is still finished first.
        wait: the longest wait in seconds; without a score by then, the entry's status is `pending`.

    Raises:
        StageError: it was not submitted, or gets no score; the message says why, and the log has the reason.
    """
    with locked(log.path):
        entries = log.of(content, site.competition)
        last = entries[-1].status if entries else "none"
        if last in ("none", "sending", "refused") or (again and last != "pending"):
            # A killed run may have sent the file; only a submission that the log lacks can be that one.
            known = {entry.ref for entry in entries}
            begun = LogEntry(path.name, content, site.competition, message, "sending")
            entry = _sent(path, begun, site, log, known, adopt=last == "sending" or not again)
        else:
            entry = entries[-1]
    if entry.status == "pending":
        try:
            state = site.scored(entry.ref, wait)
        except (Refused, Unavailable) as error:
            reason = (
                f"{path} is submitted to {site.competition}, no. {entry.ref}, but its score is not available: {error}"
            )
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
    """Call `submit_once` with the log beside the file, and add the outcome to `about`, its JSON, even after an error.

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
    """Send the file, or adopt a submission of it that the log lacks; return the new entry."""
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
